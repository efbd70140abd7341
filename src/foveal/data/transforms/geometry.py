"""Where pixels go without a change of scale: pad, crop, flip, and the affine warp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from foveal.data.transforms.base import (
    BatchTransform,
    Fill,
    Size,
    Target,
    at_most,
    bordered,
    check_fill,
    extent,
    pair,
)
from foveal.errors import FovealError


class Pad(BatchTransform):
    """A border of `padding` pixels on each side, of colour `fill` (0 to 255, or one value a channel)."""

    def __init__(self, padding: int, fill: Fill = 0) -> None:
        super().__init__()
        if padding < 0:
            raise FovealError(f"pad({padding}) would cut", "use center_crop")
        self.padding, self.fill = padding, check_fill(fill)

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H + 2·padding, W + 2·padding]."""
        return bordered(images, self.padding, self.fill)

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        return _padded(target, self.padding, self.outside)


class CenterCrop(BatchTransform):
    """The centre of `size` (side, or height and width) pixels; an odd rest is left over at the bottom and right."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = pair(size)

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, *size]. FovealError for a smaller image."""
        height, width = self.size
        top, left = self._place(images.shape[-2:])
        return images[:, :, top : top + height, left : left + width]

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        return _cropped(target, *self._place(extent(target)), self.size)

    def _place(self, image: Sequence[int]) -> tuple[int, int]:
        down, right = _room(self, image, self.size)
        return down // 2, right // 2


class RandomCrop(BatchTransform):
    """A window of `size` (side, or height and width) anywhere in the image, with equal chance for each place."""

    draws = 2

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = pair(size)

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, *size]. FovealError for a smaller image."""
        return _windows(images, *self._places(images.shape[-2:], u), self.size)

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        top, left = self._places(extent(target), u)
        return _cropped(target, int(top), int(left), self.size)

    def _places(self, image: Sequence[int], u: Tensor) -> tuple[Tensor, Tensor]:
        down, right = _room(self, image, self.size)
        return at_most(u[:, 0], down), at_most(u[:, 1], right)


class CornerCrop(BatchTransform):
    """A window of `size` in one of the four corners or in the centre, with equal chance.

    With `flip`, the larger of the augmentations in Chatfield, Simonyan, Vedaldi and Zisserman, "Return of the devil in
    the details" (BMVC 2014): 224 × 224 crops of images whose shorter side is 256.
    """

    draws = 1

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = pair(size)

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, *size]. FovealError for a smaller image."""
        return _windows(images, *self._places(images.shape[-2:], u), self.size)

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        top, left = self._places(extent(target), u)
        return _cropped(target, int(top), int(left), self.size)

    def _places(self, image: Sequence[int], u: Tensor) -> tuple[Tensor, Tensor]:
        down, right = _room(self, image, self.size)
        places = torch.tensor([(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)])
        top, left = places[at_most(u[:, 0], 4)].unbind(1)
        return top, left


class PadCrop(BatchTransform):
    """Pad by `padding` pixels of colour `fill`, then crop the old size anywhere.

    The augmentation of ResNet on CIFAR-10 (He et al. 2016, section 4.2: "4 pixels are padded on each side, and a 32×32
    crop is randomly sampled"); together with `flip`.
    """

    draws = 2

    def __init__(self, padding: int, fill: Fill = 0) -> None:
        super().__init__()
        if padding < 1:
            raise FovealError(f"pad_crop({padding}) moves nothing", "give at least 1 pixel")
        self.padding, self.fill = padding, check_fill(fill)

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        p, (height, width) = self.padding, images.shape[-2:]
        padded = bordered(images, p, self.fill)
        return _windows(padded, at_most(u[:, 0], 2 * p), at_most(u[:, 1], 2 * p), (height, width))

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        top, left = at_most(u[0, :2], 2 * self.padding).tolist()
        return _cropped(_padded(target, self.padding, self.outside), top, left, extent(target))


class Flip(BatchTransform):
    """Mirror left and right, with chance `p`."""

    draws = 1

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise FovealError(f"flip(p={p})", "a chance lies between 0 and 1")
        self.p = p

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        chosen = (u[:, 0] < self.p).nonzero().flatten()
        result = images.contiguous().numpy().copy()
        result[chosen.numpy()] = images.index_select(0, chosen).flip(-1).numpy()  # faster than index_copy
        return torch.from_numpy(result)

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        if float(u[0, 0]) >= self.p:
            return target
        if isinstance(target, tv_tensors.KeyPoints):  # torchvision's kernel mirrors numbers of pixels, not places
            width = extent(target)[1]
            points = target.as_subclass(Tensor) * torch.tensor((-1.0, 1.0)) + torch.tensor((float(width), 0.0))
            mirrored: Target = tv_tensors.wrap(points, like=target)
            return mirrored
        moved: Target = functional.horizontal_flip(target)
        return moved


class Affine(BatchTransform):
    """Turn, shift, scale and shear at random, in one bilinear warp about the image's centre.

    degrees: turned by up to this angle either way. shift: moved by up to this share of the height and width either way.
    scale: enlarged by a factor in 1 ± scale, or in the range (low, high). shear: sheared along x by up to this angle.
    Each number is uniform in its range. What comes from outside the image has colour `fill`. Parameters and directions
    are those of torchvision's v2.functional.affine.
    """

    draws = 5

    def __init__(
        self,
        degrees: float = 0,
        shift: float = 0,
        scale: float | tuple[float, float] = 0,
        shear: float = 0,
        fill: int = 0,
    ) -> None:
        super().__init__()
        low, high = scale if isinstance(scale, tuple) else (1 - scale, 1 + scale)
        if not 0 < low <= high:
            raise FovealError(f"affine(scale={scale})", "give a share like 0.1, or a range like (0.9, 1.1)")
        if not (degrees >= 0 and shift >= 0 and 0 <= shear < 90):
            raise FovealError(f"affine(degrees={degrees}, shift={shift}, shear={shear})", "give ranges, not negative")
        self.degrees, self.shift, self.scale, self.shear, self.fill = degrees, shift, (low, high), shear, fill
        check_fill(fill)

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return warp(images, self._motions(images.shape[-2:], u), self.fill)

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        return warp_target(target, Motion(*self._motions(extent(target), u)[0].tolist()), self.outside)

    def _motions(self, image: Sequence[int], u: Tensor) -> Motions:
        height, width = image
        low, high = self.scale
        angle, right, down, size, shear = u.numpy().astype(np.float64).T
        columns = (
            self.degrees * (2 * angle - 1),
            self.shift * width * (2 * right - 1),
            self.shift * height * (2 * down - 1),
            low + (high - low) * size,
            self.shear * (2 * shear - 1),
        )
        return np.stack(columns, 1)


class Rotation(BatchTransform):
    """Turn by a whole number of degrees from -`degrees` to `degrees` except 0, about the image's centre.

    Deep Image (Wu, Yan, Shan, Dang and Sun 2015) counts 20 rotations, as 10 degrees either way make; it does not say
    which. What comes from outside the image has colour `fill`.
    """

    draws = 1

    def __init__(self, degrees: int = 10, fill: int = 0) -> None:
        super().__init__()
        if degrees != int(degrees) or not 1 <= degrees <= 180:
            raise FovealError(f"rotation({degrees})", "give a whole number from 1 to 180, or use affine(degrees=…)")
        self.degrees, self.fill = int(degrees), fill
        check_fill(fill)

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return warp(images, self._motions(u), self.fill)

    def move(self, target: Target, u: Tensor) -> Target:
        """As `batch`."""
        return warp_target(target, self._motions(u)[0], self.outside)

    def _motions(self, u: Tensor) -> list[Motion]:
        choices = [*range(-self.degrees, 0), *range(1, self.degrees + 1)]
        return [Motion(choices[i], 0, 0, 1, 0) for i in at_most(u[:, 0], len(choices) - 1).tolist()]


class Motion(NamedTuple):
    """One affine motion: degrees clockwise, pixels right and down, factor of size, degrees of shear along x."""

    degrees: float
    right: float
    down: float
    factor: float
    shear: float


Motions = NDArray[np.float64]  # [B, 5]: rows of the numbers of a Motion


def _inverses(motions: Motions, height: int, width: int) -> Motions:
    """The rows (a, b, c, d, e, f) of the ways back, float64 [B, 6]: x' = a x + b y + c and y' = d x + e y + f in
    coordinates that go from -1 to 1 over the image."""
    degrees, right, down, factor, shear = motions.T
    # Python's functions: vectorised ones may differ in the last bit between a batch's body and its tail.
    angles, shears = [list(map(math.radians, column.tolist())) for column in (degrees, shear)]
    cosine, sine, slope = (
        np.array(list(map(function, numbers)))
        for function, numbers in ((math.cos, angles), (math.sin, angles), (math.tan, shears))
    )
    xx, xy = (cosine - slope * sine) / factor, (sine + slope * cosine) / factor
    yx, yy = -sine / factor, cosine / factor
    x, y = -(xx * right + xy * down), -(yx * right + yy * down)
    return np.stack((xx, xy * height / width, x * 2 / width, yx * width / height, yy, y * 2 / height), 1)


def warp(images: Tensor, motions: Motions | Sequence[Motion], fill: int = 0) -> Tensor:
    """Move image n by motions[n], about its centre: uint8 [B, C, H, W] → uint8 [B, C, H, W], bilinear.

    Each result pixel is fetched from where the inverse map leads: x_in = A⁻¹ (x_out - shift) with
    A = rotation · shear · factor.
    """
    count, _, height, width = images.shape
    rows = np.asarray(motions, dtype=np.float64).reshape(count, len(Motion._fields))
    matrix = torch.from_numpy(_inverses(rows, height, width).astype(np.float32))
    # The place (x, y) as the complex number x + iy: one pass over the grid, where two coordinates would take three.
    across, down, start = torch.complex(matrix[:, :3], matrix[:, 3:]).view(count, 3, 1, 1).unbind(1)
    x = ((torch.arange(width) + 0.5) * 2 / width - 1).view(1, 1, width)
    y = ((torch.arange(height) + 0.5) * 2 / height - 1).view(1, height, 1)
    grid = torch.view_as_real(across * x + (down * y + start))
    return sampled(images, grid, fill)


def warp_target(target: Target, motion: Motion, outside: int = 0) -> Target:
    """A mask, boxes or points moved as `warp` moves their image."""
    options = {"translate": [motion.right, motion.down], "scale": motion.factor, "shear": [motion.shear, 0.0]}
    nearest = v2.InterpolationMode.NEAREST
    moved: Target = functional.affine(target, motion.degrees, interpolation=nearest, fill=outside, **options)
    return moved


def sampled(images: Tensor, grid: Tensor, fill: int = 0) -> Tensor:
    """uint8 [B, C, H, W] fetched, bilinear, from `grid`: float32 [B, H', W', 2] of (x, y) in -1 … 1 over the image."""
    values = images.float()
    if fill:
        values -= fill
    moved = grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if fill:
        moved += fill
    return moved.round_().to(torch.uint8)


def _room(step: BatchTransform, image: Sequence[int], size: tuple[int, int]) -> tuple[int, int]:
    """Pixels by which an image (height, width) exceeds `size`."""
    down, right = image[0] - size[0], image[1] - size[1]
    if down < 0 or right < 0:
        raise FovealError(
            f"{step}: the image is only {image[0]}x{image[1]}",
            f"put resize({max(size)}) or pad(…) before it",
        )
    return down, right


def _windows(images: Tensor, top: Tensor, left: Tensor, size: tuple[int, int]) -> Tensor:
    """The window of `size` at (top[n], left[n]) of image n, all channels at once: [B, C, H, W] → [B, C, *size]."""
    source = images.numpy()
    result = np.empty((*source.shape[:2], *size), dtype=np.uint8)
    height, width = size
    for n, (y, x) in enumerate(zip(top.tolist(), left.tolist(), strict=True)):
        result[n] = source[n, :, y : y + height, x : x + width]  # whole rows: faster than a gather
    return torch.from_numpy(result)


def _cropped(target: Target, top: int, left: int, size: tuple[int, int]) -> Target:
    cropped: Target = functional.crop(target, top, left, *size)
    return cropped


def _padded(target: Target, padding: int, outside: int) -> Target:
    padded: Target = functional.pad(target, [padding], fill=outside)
    return padded
