"""The distortions of a lens: barrel, pincushion, and stretching in one direction."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from foveal.data.transforms.base import BatchTransform, Target, extent
from foveal.data.transforms.geometry import sampled
from foveal.errors import FovealError

KINDS = ("barrel", "pincushion", "horizontal", "vertical")
_ALONG = 17  # points on each side of a box that are followed through the lens
_ROUNDS = 30  # of Newton's iteration, which meets the last bit in fewer


class LensDistortion(BatchTransform):
    """One of: barrel, pincushion, a horizontal stretch, a vertical stretch, with equal chance, by a random degree.

    The four kinds are those of Deep Image (Wu, Yan, Shan, Dang and Sun 2015); formulas and ranges are ours. The radial
    kinds follow r_in = r_out (a + b r_out²), with r in half diagonals, and k drawn evenly from 0 to `strength`: barrel
    has a = 1/(1 + k) and b = k/(1 + k), so that the corners stay and the centre is magnified; pincushion has a = 1 and
    b = -k, so that the centre stays and the corners are magnified. A stretch is by a factor drawn evenly from 1 to
    1 + `stretch`. So the image always fills its frame, and nothing comes from outside it.
    """

    draws = 2

    def __init__(self, strength: float = 0.25, stretch: float = 0.25) -> None:
        super().__init__()
        if not 0 < strength <= 0.3:
            raise FovealError(
                f"lens_distortion(strength={strength})", "give 0 to 0.3: beyond a third the corners would fold"
            )
        if stretch <= 0:
            raise FovealError(f"lens_distortion(stretch={stretch})", "give a share above 0, such as 0.25")
        self.strength, self.stretch = strength, stretch

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return sampled(images, _grid([self.coefficients(row) for row in u.tolist()], *images.shape[-2:]))

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        row = self.coefficients(u[0].tolist())
        height, width = extent(target)
        if isinstance(target, tv_tensors.Mask):
            x, y = _grid([row], height, width)[0].unbind(2)
            column = ((x + 1) * width / 2).floor().long().clamp(0, width - 1)
            line = ((y + 1) * height / 2).floor().long().clamp(0, height - 1)
            moved: Target = tv_tensors.wrap(target.as_subclass(Tensor)[..., line, column], like=target)
            return moved
        if isinstance(target, tv_tensors.KeyPoints):
            points = _forward(target.as_subclass(Tensor).double().reshape(-1, 2), row, height, width)
            bent: Target = tv_tensors.wrap(points.to(target.dtype).reshape(target.shape), like=target)
            return bent
        return _around(target, row)

    def coefficients(self, row: list[float]) -> tuple[float, float, float]:
        """(ax, ay, b) of x_in = x_out (ax + b r²), y_in = y_out (ay + b r²), from two numbers in [0, 1)."""
        kind, degree = KINDS[int(len(KINDS) * row[0])], row[1]
        k, narrow = self.strength * degree, 1 / (1 + self.stretch * degree)
        return {
            "barrel": (1 / (1 + k), 1 / (1 + k), k / (1 + k)),
            "pincushion": (1.0, 1.0, -k),
            "horizontal": (narrow, 1.0, 0.0),
            "vertical": (1.0, narrow, 0.0),
        }[kind]


def _grid(rows: list[tuple[float, float, float]], height: int, width: int) -> Tensor:
    """Where each pixel comes from, (x, y) in -1 … 1 over the image: float32 [B, H, W, 2]."""
    ax, ay, b = torch.tensor(rows).view(len(rows), 3, 1, 1).unbind(1)
    x = ((torch.arange(width) + 0.5) * 2 / width - 1).view(1, 1, width)
    y = ((torch.arange(height) + 0.5) * 2 / height - 1).view(1, height, 1)
    square = (x * width).square() + (y * height).square()
    square = b * (square / (width * width + height * height))  # b r², [B, H, W]
    return torch.stack((x * (ax + square), y * (ay + square)), dim=3)


def _forward(points: Tensor, row: tuple[float, float, float], height: int, width: int) -> Tensor:
    """Where points (x, y) of the image, float64 [N, 2] in pixels, come to lie; outside the frame at most at r = 1."""
    ax, ay, b = row
    centre = torch.tensor((width / 2, height / 2), dtype=torch.float64)
    offset = points - centre
    if b == 0:
        stretched: Tensor = offset / torch.tensor((ax, ay), dtype=torch.float64) + centre
        return stretched
    there = offset.norm(dim=1, keepdim=True) / centre.norm()
    wanted = there.clamp_max(ax + b)  # what lies beyond comes from no r of 1 or less
    r = wanted.clone()
    for _ in range(_ROUNDS):
        r -= (r * (ax + b * r * r) - wanted) / (ax + 3 * b * r * r)
    bent: Tensor = offset * (r / there.clamp_min(1e-12)) + centre
    return bent


def _around(boxes: tv_tensors.BoundingBoxes, row: tuple[float, float, float]) -> tv_tensors.BoundingBoxes:
    """The upright boxes around the curved outlines that the boxes' sides become."""
    if tv_tensors.is_rotated_bounding_format(boxes.format):
        raise FovealError(f"a lens bends boxes of format {boxes.format.name}", "give upright boxes, such as XYXY")
    height, width = extent(boxes)
    corners = functional.convert_bounding_box_format(boxes, new_format="XYXY").as_subclass(Tensor).double()
    left, top, right, bottom = corners.view(-1, 4, 1).unbind(1)  # [N, 1] each
    share = torch.linspace(0, 1, _ALONG, dtype=torch.float64)
    along, down = left + (right - left) * share, top + (bottom - top) * share  # [N, _ALONG]
    x = torch.stack((along, along, left.expand_as(down), right.expand_as(down)), 1)
    y = torch.stack((top.expand_as(along), bottom.expand_as(along), down, down), 1)
    moved = _forward(torch.stack((x, y), -1).reshape(-1, 2), row, height, width).view(len(corners), -1, 2)
    around = torch.cat((moved.amin(1), moved.amax(1)), 1)
    if not boxes.is_floating_point():
        around = around.round()
    result = tv_tensors.BoundingBoxes(around.to(boxes.dtype), format="XYXY", canvas_size=(height, width))
    clamped = functional.clamp_bounding_boxes(result)
    converted: tv_tensors.BoundingBoxes = functional.convert_bounding_box_format(clamped, new_format=boxes.format)
    return converted
