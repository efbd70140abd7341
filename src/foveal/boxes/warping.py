"""Windows of an image cut out and brought to one size: R-CNN's three ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.boxes.coding import to_centre
from foveal.errors import FovealError, unknown

Shape = Literal["warp", "square", "tight"]
SHAPES = ("warp", "square", "tight")


def warped(
    images: Tensor, boxes: Sequence[Tensor], size: tuple[int, int], *, context: int = 16, shape: Shape = "warp"
) -> Tensor:
    """The windows [K, 4] of each image, float [N, C, H, W], at `size` (rows, columns): [windows, C, *size].

    R. Girshick et al., «Rich feature hierarchies», CVPR 2014, appendix A. Around the window `context` pixels of the
    result show what is beside it. shape: "warp" stretches the window to the size; "square" cuts the tightest square
    around it, in its proportions; "tight" the same square, without what is beside window and context. What lies outside
    the image is 0, which is the mean of normalised images. Bilinear, without smoothing, as in the paper's code. The
    windows of image 0 come first. Raises FovealError for another shape and a context that leaves no room.
    """
    if shape not in SHAPES:
        raise unknown("shape of windows", shape, SHAPES)
    if not 0 <= 2 * context < min(size):
        raise FovealError(f"context={context} on windows of {size[0]} x {size[1]}", "it takes less than half a side")
    parts = [_of_one(image, own, size, context, shape) for image, own in zip(images, boxes, strict=True)]
    return torch.cat(parts)


def _of_one(image: Tensor, boxes: Tensor, size: tuple[int, int], context: int, shape: str) -> Tensor:
    box = to_centre(boxes.to(image))  # [K, 4]
    centre, sides = box[:, :2], box[:, 2:]
    inner = image.new_tensor((size[1] - 2 * context, size[0] - 2 * context))
    pixels = sides / inner  # of the image, in one of the result
    if shape != "warp":
        pixels = pixels.amax(1, keepdim=True).expand(-1, 2)
    columns, rows = (torch.arange(n, device=image.device, dtype=image.dtype) + 0.5 - n / 2 for n in size[::-1])
    x, y = columns * pixels[:, :1], rows * pixels[:, 1:]  # [K, columns], [K, rows], from the window's centre
    height, width = image.shape[-2:]
    across = 2 * (x + centre[:, :1]) / width - 1
    down = 2 * (y + centre[:, 1:]) / height - 1
    count = len(boxes)
    grid = torch.stack((across[:, None].expand(-1, size[0], -1), down[:, :, None].expand(-1, -1, size[1])), -1)
    cut = F.grid_sample(image.expand(count, -1, -1, -1), grid, padding_mode="zeros", align_corners=False)
    if shape == "tight":
        reach = sides / 2 + context * pixels
        shown = (x.abs() <= reach[:, :1])[:, None, None] & (y.abs() <= reach[:, 1:])[:, None, :, None]
        cut = cut * shown
    return cut
