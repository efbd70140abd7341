"""Exported detectors find in onnxruntime what they find here, on photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foveal.boxes.heatmaps import peaks
from foveal.boxes.merge import fixed_merge
from foveal.boxes.pooling import roi_max_pool
from foveal.data.image import load_image
from foveal.errors import FovealError
from foveal.exporting import onnx
from foveal.models import create
from foveal.models.detect.export import Exportable

Case = tuple[tuple[int, int], dict[str, Any]]  # size of the images, options
PYRAMID = {"encoder": "resnet18", "width": 8, "maps": 16, "hidden": 32, "sizes": (8, 16, 32, 64, 96), "proposals": 60}
WINDOWS = {"trunk": "5-1-2Conv8 (ReLU) → 2-2MaxPool → 3-1Conv16 (ReLU) → 2-2MaxPool → FC32 (ReLU)", "side": 32}
SMALL: dict[str, Case] = {
    "ssd_resnet": ((96, 128), {"width": 8, "maps": 16, "sides": (8, 16, 32, 64, 96), "score": 0.2}),
    "mask_rcnn": ((96, 128), PYRAMID),
    # A hundred windows an image: of thousands, rounding decides which of two pairs merges first.
    "overfeat_detector": ((96, 128), WINDOWS | {"hidden": (32, 32), "scales": (1.0,), "score": 0.258}),
}
LARGE: dict[str, Case] = {
    "ssd300": ((300, 300), {}),
    "ssd512": ((512, 512), {}),
    "faster_rcnn": ((160, 224), {}),
    "faster_rcnn_fpn": ((160, 224), PYRAMID),
    "keypoint_rcnn": ((160, 224), PYRAMID),
    "fast_rcnn": ((160, 224), {"encoder": "resnet18", "width": 8, "hidden": 32, "windows": 100, "proposals": "single"}),
    "rcnn": ((160, 224), {"classifier": "resnet20", "size": 32, "context": 4, "windows": 100, "proposals": "single"}),
    "yolov1": ((448, 448), {"width": 0.25}),
    "fast_yolo": ((448, 448), {"width": 0.5}),
    "yolov3": ((160, 224), {"width": 8}),
    "fcn_detector": ((160, 224), {}),
    "sliding_window": ((160, 224), WINDOWS),
    "overfeat_localiser": ((160, 224), WINDOWS | {"joining": "suppress", "hidden": (32, 32), "per_class": True}),
    "overfeat_detector": ((160, 224), WINDOWS | {"joining": "suppress", "hidden": (32, 32)}),
}


def lively(model: nn.Module) -> Any:
    """Weights that keep signals alive, and scores and boxes that differ from place to place."""
    torch.manual_seed(0)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if any(part in name for part in ("confidence", "cls_score", "location", "bbox_pred", "deltas", "output")):
                nn.init.normal_(layer.weight, std=0.05)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.weight, 0.5)
    return model.eval()


def photographs(folder: Path, size: tuple[int, int], count: int = 2) -> Tensor:
    """Pictures of blood cells, float32 [count, 3, *size] with about zero mean."""
    files = sorted((folder / "JPEGImages").glob("*.jpg"))[:count]
    images = torch.stack([load_image(file, mode="RGB") for file in files]).float() / 128 - 1.3
    return nn.functional.interpolate(images, size, mode="bilinear", antialias=True)


def compared(wanted: list[dict[str, Tensor]], found: dict[str, Tensor], size: tuple[int, int]) -> None:
    """The first of the found are the wanted ones, to 1e-4; of the rest the scores are 0. Equal scores are in any
    order."""
    assert sum(len(one["scores"]) for one in wanted) > 5
    for i, one in enumerate(wanted):
        count = len(one["scores"])
        assert not found["scores"][i, count:].any()
        torch.testing.assert_close(found["scores"][i, :count], one["scores"], rtol=0, atol=1e-4)
        near = (found["boxes"][i, :count] - one["boxes"]).abs().amax(1) <= 1e-4 * max(size)
        if "masks" in one:
            torch.testing.assert_close(found["masks"][i, :count], one["masks"], rtol=0, atol=1e-4)
        if "keypoints" in one:
            torch.testing.assert_close(
                peaks(found["heat"][i, :count], one["boxes"]), one["keypoints"], rtol=0, atol=0.1
            )
        same = near & (found["labels"][i, :count] == one["labels"])
        tied = torch.cat((one["scores"].diff().abs() < 1e-6, torch.tensor([False])))
        tied = tied | tied.roll(1)
        assert (same | tied).all()


def looked_at() -> Tensor:
    """Windows of which no two cover the same places of a map of stride 16, or their scores would tie: [56, 4]."""
    corners = torch.cartesian_prod(torch.arange(0, 112, 16), torch.arange(0, 64, 16)).repeat(2, 1)
    sides = torch.tensor([48, 96]).repeat_interleave(28)[:, None]
    return torch.cat((corners, corners + sides), 1) + torch.rand(56, 4, generator=torch.Generator().manual_seed(0)) * 6


def exported(name: str, size: tuple[int, int], options: dict[str, Any], images: Tensor, folder: Path) -> None:
    torch.manual_seed(0)  # for what `lively` leaves as it is
    detector = lively(create(name, num_classes=3, **options))
    whole = Exportable(detector)
    windows = (looked_at().expand(len(images), -1, -1),) if hasattr(detector, "search") else ()
    inputs = dict(zip(("images", "windows"), (images, *windows), strict=False))
    assert onnx.write(whole, inputs, folder / "detector.onnx")[:3] == ("boxes", "scores", "labels")
    with torch.inference_mode():
        wanted = detector.detect(images, *map(list, windows))
        compared(wanted, whole(*inputs.values()), size)
    compared(wanted, onnx.run(folder / "detector.onnx", inputs), size)


@pytest.mark.parametrize("name", SMALL)
def test_small_detectors_in_onnxruntime(name: str, real_data: Callable[[str], Path], tmp_path: Path) -> None:
    size, options = SMALL[name]
    exported(name, size, options, photographs(real_data("bccd"), size), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_the_papers_detectors_in_onnxruntime(name: str, real_data: Callable[[str], Path], tmp_path: Path) -> None:
    size, options = LARGE[name]
    exported(name, size, options, photographs(real_data("bccd"), size, 1), tmp_path)


def test_merging_in_onnxruntime(tmp_path: Path) -> None:
    """Sets of many boxes in crowds, of none, of one, and of boxes that are all the same."""

    class Merge(nn.Module):
        def forward(self, boxes: Tensor, scores: Tensor) -> dict[str, Tensor]:
            return dict(zip(("merged", "sums"), fixed_merge(boxes, scores, 0.5, 0.2), strict=True))

    random = torch.Generator().manual_seed(0)
    low = torch.rand(4, 6, 1, 2, generator=random) * 300 + torch.randn(4, 6, 10, 2, generator=random) * 5
    boxes = torch.cat((low, low + 40 + torch.rand(low.shape, generator=random) * 20), 3).flatten(1, 2)
    boxes[3] = boxes[3, 0]
    scores = torch.rand(4, 60, generator=random)
    scores[1] = 0.2
    scores[2, 1:], scores[2, 0] = 0, 0.7
    onnx.write(Merge(), {"boxes": boxes, "scores": scores}, tmp_path / "merge.onnx")
    inputs = {"boxes": boxes.flip(1), "scores": scores.flip(1)}  # not those that it was written with
    found, wanted = onnx.run(tmp_path / "merge.onnx", inputs), Merge()(**inputs)
    assert (wanted["sums"] > 0).sum(1).tolist()[1:] == [0, 1, 1] and 6 <= (wanted["sums"][0] > 0).sum() < 30
    torch.testing.assert_close(found["sums"], wanted["sums"], rtol=0, atol=1e-5)
    here = wanted["sums"] > 0
    torch.testing.assert_close(found["merged"][here], wanted["merged"][here], rtol=0, atol=1e-3)


def test_pooling_by_maximum_in_onnxruntime(tmp_path: Path) -> None:
    class Pool(nn.Module):
        def forward(self, maps: Tensor) -> dict[str, Tensor]:
            return {"pooled": roi_max_pool(maps, [corners, corners[:3]], (3, 4), 4)}

    random = torch.Generator().manual_seed(0)
    corners = torch.rand(20, 4, generator=random) * 80
    corners[:, 2:] = corners[:, :2] + torch.rand(20, 2, generator=random) * 60
    maps = torch.randn(2, 5, 24, 20, generator=random)
    onnx.write(Pool().eval(), {"maps": maps}, tmp_path / "pool.onnx")
    torch.testing.assert_close(onnx.run(tmp_path / "pool.onnx", {"maps": maps})["pooled"], Pool()(maps)["pooled"])


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    class Strange(nn.Module):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"found": images if images.sum() > 0 else -images}

    with pytest.raises(FovealError, match="Strange cannot be exported"):
        onnx.write(Strange(), {"images": torch.ones(1, 3, 4, 4)}, tmp_path / "strange.onnx")
    with pytest.raises(FovealError, match="is no folder"):
        onnx.write(Strange(), {"images": torch.ones(1, 3, 4, 4)}, tmp_path / "none" / "strange.onnx")
    with pytest.raises(FovealError, match="Linear cannot be exported: what it computes depends on the image"):
        Exportable(nn.Linear(2, 2))
