"""A random view of an image: enlarged, turned, sheared, cut and mirrored in one look at its pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision import tv_tensors

from foveal.data.transforms.base import BatchTransform, Size, Target, check_fill, extent, pair
from foveal.data.transforms.geometry import sampled
from foveal.errors import FovealError


class RandomView(BatchTransform):
    """A window of `size` (side, or height and width) of the image enlarged, turned, sheared and mirrored at random.

    scale: the image is enlarged by a factor drawn evenly in its logarithm from (low, high). degrees, shear: turned, and
    sheared along x, by up to these angles either way, about the window's centre. flip: the chance of a mirror image.
    The window lies anywhere in the enlarged image, or, where that is smaller, the image anywhere in the window; what
    comes from outside has colour `fill`, and masks get the class that is ignored.

    Each result pixel is fetched once from the original, bilinear, masks from the nearest pixel: nothing is computed
    outside the window, and nothing interpolated twice. Nothing is averaged either, so that factors far below 1/2 skip
    pixels: put a resize before it.
    """

    draws = 6

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (0.75, 1.5),
        *,
        degrees: float = 0,
        shear: float = 0,
        flip: float = 0.5,
        fill: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < scale[0] <= scale[1]:
            raise FovealError(f"random_view(scale={scale})", "give two factors, the smaller first, such as (0.5, 2)")
        if not (degrees >= 0 and 0 <= shear < 90 and 0 <= flip <= 1):
            raise FovealError(
                f"random_view(degrees={degrees}, shear={shear}, flip={flip})",
                "angles are ranges, not negative, and flip a chance",
            )
        check_fill(fill)
        self.size, self.scale, self.degrees, self.shear, self.flip = pair(size), scale, degrees, shear, flip
        self.fill = fill

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, *size]."""
        views = [self._view(images.shape[-2:], row) for row in u.tolist()]
        return torch.cat([self._fetched(image[None], view) for image, view in zip(images, views, strict=True)])

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        view = self._view(extent(target), u[0].tolist())
        if isinstance(target, tv_tensors.Mask):
            return self._masked(target, view)
        if isinstance(target, tv_tensors.KeyPoints):
            points = view.forth(target.as_subclass(Tensor).double(), self.size).to(target.dtype)
            moved_points: Target = tv_tensors.wrap(points, like=target, canvas_size=self.size)
            return moved_points
        corners = target.as_subclass(Tensor)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        moved = view.forth(corners.double(), self.size)
        boxes = torch.cat([moved.amin(1), moved.amax(1)], 1).to(target.dtype)
        wrapped: Target = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=self.size)
        return wrapped

    def _view(self, image: Sequence[int], row: list[float]) -> _View:
        """Where the window lies in an image of (height, width), from `draws` numbers."""
        low, high = (math.log(factor) for factor in self.scale)
        factor = math.exp(low + (high - low) * row[0])
        angle = math.radians(self.degrees * (2 * row[1] - 1))
        slope = math.tan(math.radians(self.shear * (2 * row[2] - 1)))
        height, width = self.size
        y = row[3] * (factor * image[0] - height) + height / 2  # in the enlarged image
        x = row[4] * (factor * image[1] - width) + width / 2
        side = -1 if row[5] < self.flip else 1
        cosine, sine = math.cos(angle), math.sin(angle)
        matrix = (
            side * (cosine - slope * sine) / factor,
            (sine + slope * cosine) / factor,
            side * -sine / factor,
            cosine / factor,
        )
        return _View(*matrix, x / factor, y / factor)

    def _fetched(self, image: Tensor, view: _View) -> Tensor:
        height, width = image.shape[-2:]
        x, y = view.places(self.size)  # [h, w] each, pixels of the image
        # Only the part that is looked at becomes float. Beyond a border of one pixel nothing is read.
        left, right = max(int(x.min()) - 1, 0), min(int(x.max()) + 2, width)
        top, bottom = max(int(y.min()) - 1, 0), min(int(y.max()) + 2, height)
        if left >= right or top >= bottom:
            return image.new_full((1, image.shape[1], *self.size), self.fill)
        grid = torch.stack(((x - left) * (2 / (right - left)) - 1, (y - top) * (2 / (bottom - top)) - 1), -1)
        return sampled(image[..., top:bottom, left:right], grid[None].float(), self.fill)

    def _masked(self, mask: Target, view: _View) -> Target:
        height, width = mask.shape[-2:]
        x, y = (places.floor().long() for places in view.places(self.size))
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        flat = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).flatten()
        found = mask.as_subclass(Tensor).reshape(*mask.shape[:-2], -1)[..., flat].reshape(*mask.shape[:-2], *x.shape)
        moved = torch.where(inside, found, torch.full((), self.outside, dtype=found.dtype))
        wrapped: Target = tv_tensors.wrap(moved, like=mask)
        return wrapped


class _View(NamedTuple):
    """The original's place of a window's: [x, y] = [[xx, xy], [yx, yy]] · (place - the window's centre) + centre."""

    xx: float
    xy: float
    yx: float
    yy: float
    x: float
    y: float

    def places(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Where the centre of each pixel of the window comes from: x and y, float64 [h, w], pixels of the original."""
        height, width = size
        across = torch.arange(width, dtype=torch.float64) + (0.5 - width / 2)
        down = (torch.arange(height, dtype=torch.float64) + (0.5 - height / 2))[:, None]
        return self.xx * across + (self.xy * down + self.x), self.yx * across + (self.yy * down + self.y)

    def forth(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        """Where points (x, y) of the original, float64 [..., 2], lie in the window."""
        determinant = self.xx * self.yy - self.xy * self.yx
        x, y = points[..., 0] - self.x, points[..., 1] - self.y
        across = (self.yy * x - self.xy * y) / determinant
        down = (self.xx * y - self.yx * x) / determinant
        return torch.stack((across + size[1] / 2, down + size[0] / 2), -1)
