"""Transforms that change scale: bilinear with antialiasing, as torchvision's and Pillow's resize."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from foveal.data.transforms.base import (
    BatchTransform,
    Fill,
    Size,
    Target,
    at_most,
    check_fill,
    extent,
    moved_into,
    pair,
    placed,
    resized,
)
from foveal.errors import FovealError


class Resize(BatchTransform):
    """Scale so that the shorter side is `side` pixels; the longer side is rounded down."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side, _ = pair(side)

    @property
    def min_side(self) -> int:
        """The side itself."""
        return self.side

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H', W'] with min(H', W') = side."""
        return _resized(images, _shorter_to(images.shape[-2:], self.side))

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        return resized(target, _shorter_to(extent(target), self.side))


class ResizeExact(BatchTransform):
    """Scale to `height` x `width` pixels whatever the shape was: the image's proportions change."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = pair((height, width))

    @property
    def min_side(self) -> int:
        """The larger of height and width."""
        return max(self.height, self.width)

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, height, width]."""
        return _resized(images, (self.height, self.width))

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        return resized(target, (self.height, self.width))


class Letterbox(BatchTransform):
    """Scale until the whole image fits into `height` x `width` pixels, in its proportions, and fill what is left.

    The image stands in the middle; what is around it has colour `fill`. Detectors with an input of fixed size see
    objects in their true shape so.
    """

    def __init__(self, height: int, width: int, fill: Fill = 0) -> None:
        super().__init__()
        self.height, self.width = pair((height, width))
        self.fill = check_fill(fill)

    @property
    def min_side(self) -> int:
        """The larger of height and width: so no side comes out too small."""
        return max(self.height, self.width)

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, height, width]."""
        size = self._size(images.shape[-2:])
        return placed(_resized(images, size), self._corner(size), (self.height, self.width), self.fill)

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        size = self._size(extent(target))
        return moved_into(resized(target, size), self._corner(size), (self.height, self.width), self.outside)

    def _size(self, image: Sequence[int]) -> tuple[int, int]:
        factor = min(self.height / image[0], self.width / image[1])
        return max(1, round(image[0] * factor)), max(1, round(image[1] * factor))

    def _corner(self, size: tuple[int, int]) -> tuple[int, int]:
        return (self.height - size[0]) // 2, (self.width - size[1]) // 2


class ZoomOut(BatchTransform):
    """With chance `p`, make the image smaller by a factor drawn evenly from 1 to `most`, and put it anywhere.

    SSD's "expansion" (Liu et al., ECCV 2016, section 3.6: a canvas of up to 16 times the area, so 4 times the side),
    without the larger canvas: the image keeps its size, and is scaled once. Around it is colour `fill`.
    """

    draws = 4

    def __init__(self, most: float = 4, p: float = 0.5, fill: Fill = 0) -> None:
        super().__init__()
        if most < 1 or not 0 <= p <= 1:
            raise FovealError(f"zoom_out(most={most}, p={p})", "most is a factor of 1 or more, p a chance")
        self.most, self.p, self.fill = most, p, check_fill(fill)

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        size = (images.shape[-2], images.shape[-1])
        result = []
        for image, row in zip(images[:, None], u, strict=True):
            small, corner = self._place(size, row)
            result.append(image if small == size else placed(_resized(image, small), corner, size, self.fill))
        return torch.cat(result)

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        size = extent(target)
        small, corner = self._place(size, u[0])
        return target if small == size else moved_into(resized(target, small), corner, size, self.outside)

    def _place(self, size: tuple[int, int], row: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
        """The smaller size, and where its upper left corner goes."""
        chance, share, down, right = row.tolist()
        factor = 1 + (self.most - 1) * share if chance < self.p else 1.0
        small = max(1, round(size[0] / factor)), max(1, round(size[1] / factor))
        return small, (int(down * (size[0] - small[0] + 1)), int(right * (size[1] - small[1] + 1)))


class ScaleJitter(BatchTransform):
    """Scale so that the shorter side is a whole number of pixels drawn evenly from `low` to `high`.

    VGG (Simonyan and Zisserman 2015, section 3.1: [256, 512]) and ResNet (He et al. 2016, section 3.4: [256, 480]).
    """

    draws = 1
    ragged = True

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        if not 1 <= low <= high:
            raise FovealError(f"scale_jitter({low}, {high})", "give the smaller side first, at least 1")
        self.low, self.high = low, high

    @property
    def min_side(self) -> int:
        """The largest side drawn."""
        return self.high

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H', W'], one size for all: images of one batch share the first row of u."""
        return _resized(images, _shorter_to(images.shape[-2:], self._side(u)))

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        return resized(target, _shorter_to(extent(target), self._side(u)))

    def _side(self, u: Tensor) -> int:
        return self.low + int(at_most(u[0, 0], self.high - self.low))


class RandomResizedCrop(BatchTransform):
    """A window of random area and proportions, scaled to `size` (side, or height and width).

    The window takes a share of the area drawn evenly from `scale`, with width/height drawn evenly in its logarithm from
    `ratio`; after ten draws that do not fit, the largest centred window within `ratio`. Szegedy et al., "Going deeper
    with convolutions" (2015), section 6; drawn as torchvision's RandomResizedCrop does.
    """

    _tries = 10
    draws = 2 * _tries + 2

    def __init__(
        self, size: Size, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
    ) -> None:
        super().__init__()
        if not (0 < scale[0] <= scale[1] <= 1 and 0 < ratio[0] <= ratio[1]):
            raise FovealError(
                f"random_resized_crop(scale={scale}, ratio={ratio})",
                "scale is a range within 0..1 and ratio a positive range, smaller number first",
            )
        self.size, self.scale, self.ratio = pair(size), scale, ratio

    @property
    def min_side(self) -> int:
        """Where the smallest window drawn still has `size`, so that none is enlarged for want of pixels."""
        narrowest = min(self.ratio[0], 1 / self.ratio[1])
        return math.ceil(max(self.size) / math.sqrt(self.scale[0] * narrowest))

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, *size]."""
        height, width = images.shape[-2:]
        result = images.new_empty(len(images), images.shape[1], *self.size)
        for n, row in enumerate(u.tolist()):
            top, left, h, w = self.window(height, width, row)
            result[n] = _resized(images[n : n + 1, :, top : top + h, left : left + w], self.size)[0]
        return result

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        cropped: Target = functional.crop(target, *self.window(*extent(target), u[0].tolist()))
        return resized(cropped, self.size)

    def window(self, height: int, width: int, row: list[float]) -> tuple[int, int, int, int]:
        """(top, left, height, width) of the window in an image of `height` x `width`, from `draws` numbers."""
        low, high = self.scale
        narrow, wide = math.log(self.ratio[0]), math.log(self.ratio[1])
        for share, proportion in zip(row[0 : 2 * self._tries : 2], row[1 : 2 * self._tries : 2], strict=True):
            area = height * width * (low + (high - low) * share)
            ratio = math.exp(narrow + (wide - narrow) * proportion)
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(row[-2] * (height - h + 1)), int(row[-1] * (width - w + 1)), h, w
        w, h = width, height
        if width / height < self.ratio[0]:
            h = round(width / self.ratio[0])
        elif width / height > self.ratio[1]:
            w = round(height * self.ratio[1])
        return (height - h) // 2, (width - w) // 2, h, w


def _shorter_to(image: Sequence[int], side: int) -> tuple[int, int]:
    height, width = image
    if height <= width:
        return side, max(1, side * width // height)
    return max(1, side * height // width), side


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[-2:] == torch.Size(size):
        return images
    result: Tensor = functional.resize(images, list(size), antialias=True)
    return result
