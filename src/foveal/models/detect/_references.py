"""The reference boxes of a detector for images of any size: made from the sizes of its maps when it runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foveal.boxes.anchors import anchors


class References(nn.Module):
    """Maps, and the images they are of → all reference boxes, float32 [R, 4], level by level.

    shapes: widths and heights in pixels [K_i, 2] of the boxes about each place of a level; strides: pixels between its
    places, None for image size over map size, rounded down. offset and whole: see `boxes.anchors.anchors`.
    """

    def __init__(
        self, shapes: Sequence[Tensor], strides: Sequence[int] | None, *, offset: float = 0.0, whole: bool = True
    ) -> None:
        super().__init__()
        self.counts = tuple(len(level) for level in shapes)
        self.strides, self.offset, self.whole = strides, offset, whole
        for i, level in enumerate(shapes):
            self.register_buffer(f"shapes{i}", level, persistent=False)

    def forward(self, maps: Sequence[Tensor], images: Tensor) -> list[Tensor]:
        levels = []
        for i, level in enumerate(maps):
            rows, columns = level.shape[2:]
            height, width = images.shape[2:]
            stride = (height // rows, width // columns) if self.strides is None else (self.strides[i],) * 2
            shapes = self.get_buffer(f"shapes{i}")
            levels.append(anchors(rows, columns, stride, shapes, offset=self.offset, whole=self.whole))
        return levels


def by_place(map: Tensor, values: int) -> Tensor:
    """Predictions of a map, [N, K * values, h, w] → [N, h * w * K, values], in the order of the references."""
    return map.permute(0, 2, 3, 1).reshape(len(map), -1, values)


def joined(maps: Sequence[Tensor], values: int) -> Tensor:
    """The same of several maps, one level behind the other: float32 [N, R, values]."""
    return torch.cat([by_place(map, values) for map in maps], 1).float()
