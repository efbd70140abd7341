"""The reference boxes of detectors: Faster R-CNN's and FPN's anchors, SSD's default boxes, YOLO's cells and priors.

All are x1, y1, x2, y2 in pixels of the network's input, float32. Order: by row, by column, then by shape, as a feature
map [N, shapes * k, rows, columns] gives its predictions after permute(0, 2, 3, 1).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.boxes.coding import to_corners
from foveal.errors import FovealError

YOLOV3_PRIORS = (
    ((10, 13), (16, 30), (33, 23)),  # stride 8: width, height in pixels of a 416 × 416 input
    ((30, 61), (62, 45), (59, 119)),  # stride 16
    ((116, 90), (156, 198), (373, 326)),  # stride 32
)


def shapes(sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Widths and heights [len(ratios) * len(sizes), 2]: for each ratio height/width all sizes, the root of the area.

    Faster R-CNN (Ren et al., NIPS 2015, 3.1.1) has sizes 128, 256, 512 and ratios 1:2, 1:1, 2:1; FPN one size a level.
    """
    if not sizes or not ratios or min(sizes) <= 0 or min(ratios) <= 0:
        raise FovealError(f"anchors of sizes {tuple(sizes)} and ratios {tuple(ratios)}", "give numbers above 0")
    root = torch.tensor(ratios, dtype=torch.float32).sqrt()[:, None]  # [ratios, 1]
    side = torch.tensor(sizes, dtype=torch.float32)
    return torch.stack(((side / root).flatten(), (side * root).flatten()), 1)


def anchors(
    rows: int, columns: int, stride: tuple[int, int], shapes: Tensor, *, offset: float = 0.0, whole: bool = True
) -> Tensor:
    """Each of `shapes` [K, 2] about each place of a map: [rows * columns * K, 4].

    stride: pixels between rows and between columns. offset: where the first centre lies, in strides: 0 in Faster
    R-CNN's and torchvision's code, 0.5 in the cell's middle. whole: corners are rounded about the centre, as in
    both.
    """
    half = shapes / 2
    base = torch.cat((-half, half), 1)
    if whole:
        base = base.round()
    down = (torch.arange(rows, device=base.device, dtype=base.dtype) + offset) * stride[0]
    right = (torch.arange(columns, device=base.device, dtype=base.dtype) + offset) * stride[1]
    y, x = torch.meshgrid(down, right, indexing="ij")
    centres = torch.stack((x, y, x, y), -1).view(-1, 1, 4)
    return (centres + base).view(-1, 4)


class DefaultBoxes:
    """SSD's default boxes (Liu et al., ECCV 2016, 2.2) of an input of `size` × `size` pixels.

    maps: rows (and columns) of each prediction layer; sides: the smaller square of each, in pixels, and one more for
    the last one's larger square √(s s'); ratios: beside 1, of each layer, each together with its inverse; steps: pixels
    between centres. `ssd300()` and `ssd512()` are those of the paper's code.
    """

    def __init__(
        self,
        size: int,
        maps: Sequence[int],
        sides: Sequence[float],
        ratios: Sequence[Sequence[int]],
        steps: Sequence[int],
    ) -> None:
        if not len(maps) == len(sides) - 1 == len(ratios) == len(steps):
            raise FovealError(
                f"default boxes of {len(maps)} maps, {len(sides)} sides, {len(ratios)} ratios, {len(steps)} steps",
                "give one of each a map, and one side more",
            )
        self.size, self.maps, self.sides = size, tuple(maps), tuple(sides)
        self.ratios, self.steps = tuple(tuple(row) for row in ratios), tuple(steps)

    @property
    def counts(self) -> tuple[int, ...]:
        """Boxes about each place, layer by layer: 4 or 6."""
        return tuple(2 + 2 * len(row) for row in self.ratios)

    def __call__(self, *, clip: bool = False) -> Tensor:
        """All default boxes, [8732, 4] for SSD300, layer by layer.

        clip: no side is longer than the image, as torchvision has them; the paper's code has no such bound.
        """
        boxes = torch.cat([self._layer(k) for k in range(len(self.maps))])
        if clip:
            boxes[:, 2:] = boxes[:, 2:].clamp_max(self.size)
        return to_corners(boxes)

    def shapes(self, k: int) -> Tensor:
        """Widths and heights of the boxes about each place of layer k, in pixels: [4 or 6, 2]."""
        side, larger = self.sides[k], math.sqrt(self.sides[k] * self.sides[k + 1])
        wide = [(side, side), (larger, larger)]
        for ratio in self.ratios[k]:
            root = math.sqrt(ratio)
            wide += [(side * root, side / root), (side / root, side * root)]
        return torch.tensor(wide, dtype=torch.float32)

    def _layer(self, k: int) -> Tensor:
        # The centre is (i + 0.5) / f_k of the image with f_k = size / step, not always the number of rows
        places = [(i + 0.5) * self.steps[k] for i in range(self.maps[k])]
        wide = self.shapes(k).tolist()
        rows = [(x, y, w, h) for y, x in itertools.product(places, places) for w, h in wide]
        return torch.tensor(rows, dtype=torch.float32)


def ssd300() -> DefaultBoxes:
    """The 8,732 default boxes of SSD300: conv4_3 has scale 0.1, the others 0.2 to 0.9 (section 3.1)."""
    return DefaultBoxes(
        300,
        (38, 19, 10, 5, 3, 1),
        (30, 60, 111, 162, 213, 264, 315),
        ((2,), *[(2, 3)] * 3, (2,), (2,)),
        (8, 16, 32, 64, 100, 300),
    )


def ssd512() -> DefaultBoxes:
    """The 24,564 default boxes of SSD512: conv4_3 has scale 0.07, the others 0.15 to 0.9."""
    sides = (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6)
    return DefaultBoxes(
        512, (64, 32, 16, 8, 4, 2, 1), sides, ((2,), *[(2, 3)] * 4, (2,), (2,)), (8, 16, 32, 64, 128, 256, 512)
    )


def cells(rows: int, columns: int) -> Tensor:
    """Column and row of each cell of a grid, [rows * columns, 2]: what YOLO's predictions are relative to."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack((x, y), -1).view(-1, 2).float()
