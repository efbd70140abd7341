"""Where a pixel of the prepared image lies in the original: what is found there is told in the original's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision import tv_tensors

from foveal.data.pipeline import Pipeline
from foveal.data.transforms import BatchTransform
from foveal.errors import FovealError


@dataclass(frozen=True)
class Frame:
    """An upright map from an original of `height` x `width` pixels: prepared = original * scale + shift, (x, y) each.

    `size` is the prepared (height, width).
    """

    height: int
    width: int
    size: tuple[int, int]
    scale: tuple[float, float]
    shift: tuple[float, float]

    def boxes(self, prepared: Tensor) -> Tensor:
        """Boxes of the prepared image in the original's pixels, cut to it: float32 [K, 4] → float32 [K, 4]."""
        return self.within(prepared.reshape(-1, 2, 2)).flatten(1)

    def points(self, prepared: Tensor) -> Tensor:
        """Points (x, y) of the prepared image in the original's pixels, not cut: float32 [..., 2] → the same."""
        scale, shift = (torch.tensor(pair, dtype=torch.float32) for pair in (self.scale, self.shift))
        return (prepared - shift.to(prepared.device)) / scale.to(prepared.device)

    def within(self, prepared: Tensor) -> Tensor:
        """`points`, cut to the original."""
        limits = torch.tensor((self.width, self.height), dtype=torch.float32, device=prepared.device)
        return torch.minimum(self.points(prepared).clamp(min=0), limits)

    def grid(self, height: int, width: int, rows: range | None = None) -> Tensor:
        """Where each of the original's pixels lies in a map of the prepared image, `height` x `width` and centred in
        it, as `grid_sample` wants it: float32 [1, H, W, 2]; with `rows` only those of the original's."""
        wanted = torch.arange(rows.start, rows.stop) if rows is not None else torch.arange(self.height)
        x = (torch.arange(self.width) + 0.5) * self.scale[0] + self.shift[0] - (self.size[1] - width) / 2
        y = (wanted + 0.5) * self.scale[1] + self.shift[1] - (self.size[0] - height) / 2
        down, across = torch.meshgrid(2 * y / height - 1, 2 * x / width - 1, indexing="ij")
        return torch.stack([across, down], -1)[None]


def frame(pipeline: Pipeline, height: int, width: int) -> Frame:
    """What the deterministic steps of test do to an image of `height` x `width`.

    Found by sending a box in the middle along. Raises FovealError for a step that is not upright or not known to move
    boxes, such as a foreign transform.
    """
    corners = [width / 4, height / 4, 3 * width / 4, 3 * height / 4]
    box = tv_tensors.BoundingBoxes(torch.tensor([corners]), format="XYXY", canvas_size=(height, width))
    moved = box
    for step in pipeline.steps(train=False):
        if not isinstance(step, BatchTransform):
            raise FovealError(f"{step} in prepare or test: nothing says where it moves a pixel", "move it to augment")
        moved = step.move(moved, torch.empty(1, 0))
    left, top, right, bottom = moved.as_subclass(Tensor)[0].tolist()
    scale = (right - left) / (width / 2), (bottom - top) / (height / 2)
    if min(scale) <= 0:
        raise FovealError(f"of an image of {width} x {height} the steps of prepare leave nothing", "resize it instead")
    shift = left - scale[0] * width / 4, top - scale[1] * height / 4
    rows, columns = moved.canvas_size
    return Frame(height, width, (int(rows), int(columns)), scale, shift)
