"""Every window of some sizes, row by row: what detectors looked through first (Viola and Jones, CVPR 2001)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.boxes.anchors import shapes
from foveal.errors import FovealError


def sliding_windows(
    height: int,
    width: int,
    sizes: Sequence[float] = (64, 128, 256),
    ratios: Sequence[float] = (0.5, 1, 2),
    step: float = 0.25,
) -> Tensor:
    """Windows within an image of `height` × `width` pixels: float32 [K, 4], x1, y1, x2, y2.

    sizes: roots of the areas; ratios: height over width; step: how far a window moves, as a share of its sides. Larger
    windows first; those larger than the image are cut to it. The last of each row and column touches the border.
    """
    if height < 1 or width < 1 or not step > 0:
        raise FovealError(f"windows in {width} x {height} pixels by steps of {step}", "give numbers above 0")
    found = []
    for wide, high in sorted(shapes(sizes, ratios).tolist(), key=lambda shape: -shape[0] * shape[1]):
        w, h = min(wide, width), min(high, height)
        x, y = _places(width - w, w * step), _places(height - h, h * step)
        top, left = torch.meshgrid(y, x, indexing="ij")
        found.append(torch.stack((left, top, left + w, top + h), -1).view(-1, 4))
    return torch.cat(found)


def _places(room: float, step: float) -> Tensor:
    """0, step, …, with the last at `room`."""
    count = max(round(room / step), 1) + 1 if room > 0 else 1
    return torch.linspace(0, room, count)
