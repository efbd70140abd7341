"""The detectors against what their papers say of them; types and structure are the contract's."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foveal import catalog
from foveal.boxes import anchors
from foveal.boxes.pasting import pasted
from foveal.contracts import check_model
from foveal.errors import FovealError
from foveal.graph.receptive_field import receptive_field
from foveal.graph.table import show
from foveal.models import create
from foveal.models.detect._references import References


def on_meta(name: str, **options: Any) -> Any:
    with torch.device("meta"):
        return create(name, **options).eval()


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def shapes(maps: tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    return [tuple(map.shape[1:]) for map in maps]


def light(name: str, num_classes: int = 3) -> Any:
    return create(
        name, num_classes=num_classes, encoder="resnet18", width=8, maps=16, hidden=32, proposals=40,
        sizes=(8, 16, 32, 64, 128),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "size", "maps", "boxes"),
    [
        ("ssd300", 300, [(512, 38), (1024, 19), (512, 10), (256, 5), (256, 3), (256, 1)], 8_732),
        ("ssd512", 512, [(512, 64), (1024, 32), (512, 16), (256, 8), (256, 4), (256, 2), (256, 1)], 24_564),
    ],
)
def test_layers_and_default_boxes_of_ssd(name: str, size: int, maps: list[tuple[int, int]], boxes: int) -> None:
    model, images = on_meta(name), torch.empty(2, 3, size, size, device="meta")
    assert shapes(model.backbone(images)) == [(channels, side, side) for channels, side in maps]
    raw = model(images)
    assert raw.deltas.shape == (2, boxes, 4) and raw.logits.shape == (2, boxes, 21) and raw.boxes.shape == (boxes, 4)


@pytest.mark.parametrize("boxes", [anchors.ssd300(), anchors.ssd512()])
def test_default_boxes_are_those_of_the_paper(boxes: anchors.DefaultBoxes) -> None:
    references = References([boxes.shapes(k) for k in range(len(boxes.maps))], boxes.steps, offset=0.5, whole=False)
    maps = [torch.empty(1, 1, side, side) for side in boxes.maps]
    found = torch.cat(references(maps, torch.empty(1, 3, boxes.size, boxes.size)))
    torch.testing.assert_close(found, boxes(), rtol=0, atol=1e-4)


def test_parameters_of_torchvisions_detectors() -> None:
    assert parameters(on_meta("ssd300", num_classes=90)) == 35_641_826
    for name in ("faster_rcnn_fpn", "mask_rcnn"):
        facts = catalog.facts(name)
        assert facts is not None
        assert parameters(on_meta(name, frozen=True)) == facts.published["parameters_frozen"]


def test_the_table_of_a_detector_shows_its_backbone() -> None:
    table = show("ssd300")
    assert table.parameters == 26_285_486
    assert table.rows[0].name == "conv1_1" and table.rows[-1].output == (256, 1, 1)
    assert "the detector's backbone" in str(table)


def test_context_gives_fine_maps_a_larger_field() -> None:
    fields = []
    for context in (False, True):
        model = on_meta("ssd_resnet", num_classes=3, width=8, maps=16, context=context)
        found = receptive_field(model.backbone, (3, 256, 256))
        fields.append(max(max(field.size) for path, field in found.items() if "conv3_2" in path or "output.0" in path))
    assert fields[1] > fields[0]


def test_yolov3_keeps_the_contract() -> None:
    report = check_model(partial(create, "yolov3", width=4), (3, 64, 96), num_classes=3)
    assert report.passed, report.text()


def test_yolo_keeps_the_contract() -> None:
    report = check_model(partial(create, "fast_yolo", width=1 / 16), (3, 448, 448), num_classes=3)
    assert report.passed, report.text()


@pytest.mark.parametrize("name", ["yolov1", "fast_yolo"])
def test_yolo_answers_for_49_cells(name: str) -> None:
    model = on_meta(name)
    assert shapes((model.backbone(torch.empty(1, 3, 448, 448, device="meta")),)) == [(1024, 7, 7)]
    assert model.head[-1].out_features == 7 * 7 * 30


def test_yolo_learns_the_first_of_objects_that_share_a_cell() -> None:
    model: Any = create("fast_yolo", num_classes=2, width=1 / 16)
    boxes = torch.tensor([[10.0, 10.0, 50.0, 60.0], [12.0, 8.0, 40.0, 50.0]])
    images = torch.zeros(1, 3, 448, 448)
    both, first = (
        model.eval().losses(images, [{"boxes": boxes[:k], "labels": torch.tensor([0, 1])[:k]}]) for k in (2, 1)
    )
    torch.testing.assert_close(both, first)


def test_yolo_takes_one_size() -> None:
    with pytest.raises(FovealError, match="448x448, not 64x96"):
        create("fast_yolo", width=1 / 16)(torch.zeros(1, 3, 64, 96))


def test_yolov3_predicts_three_boxes_at_each_of_three_scales() -> None:
    maps = on_meta("yolov3").backbone(torch.empty(1, 3, 416, 416, device="meta"))
    assert shapes(maps) == [(255, 13, 13), (255, 26, 26), (255, 52, 52)]


@pytest.mark.parametrize("name", ["faster_rcnn_fpn", "mask_rcnn"])
def test_two_stage_detectors_keep_the_contract(name: str) -> None:
    report = check_model(partial(light, name), (3, 64, 96))
    assert report.passed, report.text()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("ssd300", {"boxes": "cocoa"}, "boxes of SSD 'cocoa'"),
        ("ssd_resnet", {"encoder": "resnet19"}, "resnet18"),
        ("ssd_resnet", {"sides": (10, 5, 20, 30, 40)}, "five rising sizes"),
        ("ssd_resnet", {"score": 1.5}, "between 0 and 1"),
        ("yolov3", {"width": 5}, "even number of maps"),
        ("yolov3", {"priors": (((1, 2),),)}, "three shapes"),
        ("faster_rcnn", {"encoder": "resnet18"}, "encoder of faster_rcnn"),
        ("faster_rcnn_fpn", {"sizes": (8, 16)}, "five rising sizes"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(FovealError, match=said):
        on_meta(name, **options)


def test_masks_are_pasted_where_their_boxes_are() -> None:
    masks = torch.ones(2, 28, 28)
    masks[1, :, 14:] = 0  # the left half of the second box
    boxes = torch.tensor([[2.0, 3.0, 8.0, 9.0], [0.0, 0.0, 10.0, 4.0]])
    found = pasted(masks, boxes, 12, 16) >= 0.5
    wanted = torch.zeros(2, 12, 16, dtype=torch.bool)
    wanted[0, 3:9, 2:8] = True
    wanted[1, 0:4, 0:5] = True
    assert torch.equal(found, wanted)


def test_mask_rcnn_asks_for_masks() -> None:
    target = {"boxes": torch.tensor([[1.0, 1.0, 9.0, 9.0]]), "labels": torch.tensor([0])}
    with pytest.raises(FovealError, match="learns from masks"):
        light("mask_rcnn").losses(torch.zeros(1, 3, 64, 64), [target])
