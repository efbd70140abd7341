"""Masks and keypoints of two-stage detectors: what their branches learn from, and what is made of their answers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from foveal.boxes.heatmaps import cells, peaks
from foveal.boxes.pasting import cut_out
from foveal.contracts import check_model
from foveal.errors import FovealError
from foveal.models import create
from foveal.tasks import detect

LIGHT = {
    "encoder": "resnet18", "width": 8, "maps": 16, "hidden": 32, "proposals": 40, "sizes": (8, 16, 32, 64, 128),
}  # fmt: skip


def light(num_classes: int = 3, keypoints: int = 4) -> Any:
    return create("keypoint_rcnn", num_classes=num_classes, keypoints=keypoints, heat_maps=16, **LIGHT)


def test_keypoint_rcnn_keeps_the_contract() -> None:
    report = check_model(partial(light, keypoints=3), (3, 64, 96))
    assert report.passed, report.text()


def test_parameters_are_torchvisions() -> None:
    with torch.device("meta"):
        model = create("keypoint_rcnn", frozen=True)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 59_137_258
    assert sum(p.numel() for p in model.parameters()) == 59_190_378


def test_masks_are_cut_out_of_their_boxes() -> None:
    random = torch.Generator().manual_seed(1)
    masks = torch.rand(3, 40, 60, generator=random) < 0.5
    corner = torch.randint(0, 20, (7, 2), generator=random)
    boxes = torch.cat((corner, corner + 2 * torch.randint(3, 10, (7, 2), generator=random)), 1).float()
    which = torch.tensor([2, 0, 0, 2, 1, 2, 0])
    found = cut_out(masks, boxes, which, 2)
    for (left, top, right, bottom), k, cells_ in zip(boxes.int().tolist(), which.tolist(), found, strict=True):
        inside = masks[k, top:bottom, left:right].float()
        x, y = (right - left) // 2, (bottom - top) // 2
        quarters = [inside[:y, :x], inside[:y, x:], inside[y:, :x], inside[y:, x:]]
        # samples lie between pixels, so that a border may take half of its neighbour's
        assert (cells_.flatten() - torch.stack([part.mean() for part in quarters])).abs().max() < 0.3
    naive = [cut_out(masks[k][None], box[None], torch.zeros(1).long(), 2) for box, k in zip(boxes, which, strict=True)]
    torch.testing.assert_close(found, torch.cat(naive))


def test_a_keypoint_is_a_cell_of_its_box() -> None:
    boxes = torch.tensor([[10.0, 20.0, 38.0, 76.0]])
    points = torch.tensor([[[10.2, 20.9, 2.0], [38.0, 76.0, 1.0], [24.0, 48.0, 0.0], [9.0, 30.0, 2.0]]])
    assert cells(points, boxes, 56).tolist() == [[0, 56 * 56 - 1, -1, -1]]


def test_a_peak_is_found_where_the_cell_was_learned() -> None:
    random = torch.Generator().manual_seed(0)
    corner = torch.rand(20, 2, generator=random) * 100
    boxes = torch.cat((corner, corner + 20 + torch.rand(20, 2, generator=random) * 150), 1)
    points = boxes[:, None, :2] + torch.rand(20, 3, 2, generator=random) * (boxes[:, None, 2:] - boxes[:, None, :2])
    points = torch.cat((points, torch.ones(20, 3, 1)), -1)
    maps = torch.zeros(20, 3, 56 * 56).scatter(2, cells(points, boxes, 56)[..., None], 9.0).unflatten(2, (56, 56))
    found = peaks(maps, boxes)
    cell = (boxes[:, None, 2:] - boxes[:, None, :2]) / 56
    assert ((found[..., :2] - points[..., :2]).abs() <= 1.5 * cell.clamp_min(1)).all()
    assert ((found[..., 2] > 0) & (found[..., 2] <= 1)).all()
    assert peaks(maps[:0], boxes[:0]).shape == (0, 3, 3)


def test_a_peak_has_the_probability_of_its_cell() -> None:
    maps = torch.randn(1, 2, 56, 56, generator=torch.Generator().manual_seed(0))
    found = peaks(maps, torch.tensor([[8.0, 4.0, 64.0, 60.0]]))  # a pixel a cell
    torch.testing.assert_close(found[..., 2], maps.flatten(2).softmax(2).amax(2))
    place = maps.flatten(2).argmax(2)
    torch.testing.assert_close(found[..., :2], torch.stack((place % 56 + 8.5, place // 56 + 4.5), -1))


def test_other_keypoints_than_the_networks_are_refused() -> None:
    target = {"boxes": torch.tensor([[1.0, 1.0, 40.0, 40.0]]), "labels": torch.tensor([0])}
    with pytest.raises(FovealError, match="keypoint_rcnn learns from keypoints"):
        light().losses(torch.zeros(1, 3, 64, 64), [target])
    with pytest.raises(FovealError, match="5 keypoints, the network 4"):
        light().losses(torch.zeros(1, 3, 64, 64), [{**target, "keypoints": torch.zeros(1, 5, 3)}])
    with pytest.raises(FovealError, match="give 1 or more"):
        light(keypoints=0)


def test_no_keypoint_no_loss() -> None:
    target = {"boxes": torch.tensor([[1.0, 1.0, 40.0, 40.0]]), "labels": torch.tensor([0])}
    terms = light().losses(torch.zeros(1, 3, 64, 64), [{**target, "keypoints": torch.zeros(1, 4, 3)}])
    assert float(terms["keypoints"].detach()) == 0 and terms["keypoints"].requires_grad


def test_crowds_teach_nothing() -> None:
    class Listener(torch.nn.Module):
        def losses(self, images: Any, targets: Any) -> Any:
            self.heard = targets
            return {}

    model = Listener()
    target = {"boxes": torch.rand(3, 4), "labels": torch.arange(3), "crowd": torch.tensor([False, True, False])}
    detect.losses(model, torch.zeros(2, 3, 8, 8), [target, {"boxes": torch.rand(1, 4), "proposals": torch.rand(7, 4)}])
    assert model.heard[0]["labels"].tolist() == [0, 2] and len(model.heard[1]["proposals"]) == 7
