"""Images and their targets go through a pipeline together: the same place, whatever makes the batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from foveal.data.dataset import VisionSet
from foveal.data.formats import masks as masks_format
from foveal.data.frame import frame
from foveal.data.loader import Loader
from foveal.data.open import open_data, readable
from foveal.data.pipeline import Pipeline
from foveal.errors import FovealError
from foveal.types import IGNORED, Batch

STEPS = ("affine(20, 0.1, 0.2)", "random_crop((20, 24))", "flip", "color_jitter(0.2, 0.2, 0.2)")


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    masks_format.example(tmp_path / "squares")
    return tmp_path / "squares"


def batches(squares: Path, **options: Any) -> list[Batch]:
    images = open_data(squares, "train")
    images = images.select([i % 3 for i in range(12)])
    pipeline = Pipeline(("resize_exact(30, 40)",), STEPS, (3, 20, 24), seed=3)
    with Loader(images, pipeline, 4, seed=3, train=True, **options) as loader:
        return [batch for epoch in (0, 1) for batch in loader.batches(epoch)]


def test_masks_move_with_their_images(squares: Path) -> None:
    """The square is bright and the ground dark, so the mask can be read off the image, but for its edges."""
    for images, targets, _ in batches(squares):
        assert images.shape[1:] == (3, 20, 24) and targets.shape[1:] == (20, 24) and targets.dtype == torch.uint8
        counted = targets != IGNORED
        bright = images.float().mean(1) > 110
        agreeing = (bright == (targets == 1)) & counted
        assert agreeing.sum() / counted.sum() > 0.93
        assert (images[(~counted)[:, None].expand_as(images)] < 40).all()  # outside there is only fill, and edges


@pytest.mark.parametrize("options", [{"cache": False, "workers": 0}, {"cache": False, "workers": 2}, {"cache": True}])
def test_batches_do_not_depend_on_who_makes_them(squares: Path, options: dict[str, Any]) -> None:
    for found, expected in zip(batches(squares, **options), batches(squares), strict=True):
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)


class _Boxes(VisionSet):
    """One bright rectangle an image, with its box."""

    task: ClassVar[str] = "detect"
    corners = torch.tensor([[4.0, 6.0, 20.0, 18.0], [10.0, 2.0, 26.0, 20.0], [0.0, 0.0, 8.0, 8.0]])

    def __len__(self) -> int:
        return len(self.corners)

    def load(self, i: int, min_side: int | None = None) -> Tensor:
        left, top, right, bottom = self.corners[i].int().tolist()
        image = torch.zeros(3, 24, 32, dtype=torch.uint8)
        image[:, top:bottom, left:right] = 200
        return image

    def target(self, i: int) -> dict[str, Tensor]:
        boxes = tv_tensors.BoundingBoxes(self.corners[i : i + 1], format="XYXY", canvas_size=(24, 32))
        return {"boxes": boxes, "labels": torch.tensor([i])}

    def name(self, i: int) -> str:
        return f"rectangle {i}"

    def verify(self, i: int) -> str | None:
        return None

    def select(self, indices: Sequence[int] | Tensor, split: str | None = None) -> _Boxes:
        return self

    @property
    def strata(self) -> Tensor:
        return torch.zeros(len(self), dtype=torch.int64)

    def signature(self) -> bytes:
        return b""


def test_boxes_move_with_their_images_and_leave_with_their_labels() -> None:
    pipeline = Pipeline(("resize_exact(48, 64)",), ("random_crop((24, 32))", "flip"), (3, 24, 32), seed=1)
    seen = []
    with Loader(_Boxes(("a", "b", "c"), "train"), pipeline, 3, seed=1, train=True) as loader:
        for epoch in range(12):
            for images, targets, indices in loader.batches(epoch):
                for image, target, i in zip(images, targets, indices.tolist(), strict=True):
                    bright = (image[0] > 100).nonzero()
                    seen.append(len(target["boxes"]))
                    assert len(target["boxes"]) == len(target["labels"])
                    if len(target["boxes"]):
                        assert target["labels"].tolist() == [i]
                        left, top, right, bottom = target["boxes"][0].tolist()
                        assert abs(bright[:, 0].min() - top) <= 1 and abs(bright[:, 0].max() + 1 - bottom) <= 1
                        assert abs(bright[:, 1].min() - left) <= 1 and abs(bright[:, 1].max() + 1 - right) <= 1
                    else:
                        assert len(bright) <= 40  # at most a blurred edge
    assert {0, 1} <= set(seen)


def test_a_frame_leads_back_to_the_original() -> None:
    pipeline = Pipeline(("resize_exact(60, 40)", "pad(5)"), (), (3, 70, 50))
    found = frame(pipeline, 30, 80)
    assert found.size == (70, 50) and found.scale == pytest.approx((0.5, 2)) and found.shift == pytest.approx((5, 5))
    assert found.boxes(torch.tensor([[5.0, 5.0, 45.0, 65.0]])).tolist() == [pytest.approx([0, 0, 80, 30])]
    assert found.boxes(torch.tensor([[0.0, 0.0, 50.0, 70.0]])).tolist() == [pytest.approx([0, 0, 80, 30])]
    grid = found.grid(70, 50)[0]
    assert tuple(grid.shape) == (30, 80, 2)
    assert (grid[0, 0] + 1).tolist() == pytest.approx([2 * (5 + 0.25) / 50, 2 * (5 + 1) / 70])


def test_a_wrong_mask_is_named_before_training(squares: Path) -> None:
    (squares / "classes.txt").write_text("ground\n", encoding="utf-8")
    with pytest.raises(FovealError, match="one class only"):
        open_data(squares, "train")
    (squares / "classes.txt").write_text("ground\nsquare\n", encoding="utf-8")
    mask = squares / "train" / "masks" / "1.png"
    Image.fromarray(np.full((24, 32), 7, np.uint8)).save(mask)
    with pytest.raises(FovealError, match=r"1\.png: value 7, but the 2 classes are 0 to 1 and ignored is 2, 255"):
        readable(open_data(squares, "train"))
    Image.fromarray(np.zeros((24, 30), np.uint8)).save(mask)
    with pytest.raises(FovealError, match=r"1\.png: the mask is 30 x 24, its image 32 x 24"):
        readable(open_data(squares, "train"))
    mask.unlink()
    with pytest.raises(FovealError, match=r"1\.png has no mask"):
        open_data(squares, "train")


def test_masks_in_colours_need_a_table(squares: Path) -> None:
    for file in squares.glob("*/masks/*.png"):
        Image.fromarray(np.full((24, 32, 3), 9, np.uint8)).save(file)
    with pytest.raises(FovealError, match="a mask in colours, but nothing says which colour is which class"):
        readable(open_data(squares, "train"))
    (squares / "colours.txt").write_text("9 9 9 ground\n1 2 3 square\n0 0 0 void\n", encoding="utf-8")
    found, bad = readable(open_data(squares, "train"))
    assert not bad and found.classes == ("ground", "square") and int(found.target(0).max()) == 0
    (squares / "colours.txt").write_text("9 9 8 ground\n1 2 3 square\n", encoding="utf-8")
    with pytest.raises(FovealError, match=r"0\.png: colour \(9, 9, 9\) is that of no class"):
        readable(open_data(squares, "train"))


def test_data_of_another_task_are_refused(squares: Path) -> None:
    with pytest.raises(FovealError, match="holds masks, and classes of images are wanted"):
        open_data(squares, "train", task="classify")
