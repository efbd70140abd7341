"""What a transform of ours is: a v2 transform that also does a whole batch at once, from numbers it is given."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from foveal.errors import FovealError

Size = int | tuple[int, int]
Fill = int | tuple[int, ...]
Target = TypeVar("Target", tv_tensors.Mask, tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)
_MOVED = tv_tensors.Mask | tv_tensors.BoundingBoxes | tv_tensors.KeyPoints


class BatchTransform(v2.Transform):  # type: ignore[misc]  # torchvision is untyped
    """A transform of uint8 images whose randomness comes from outside.

    `batch(images, u)` takes uint8 [B, C, H, W] and float32 [B, draws] in [0, 1) and treats image n with row u[n] alone:
    one image gives the same bytes in any batch. `move(target, u)` moves a mask, boxes or points as `batch` their image.
    Called on a sample the v2 way, it draws u from torch's RNG, one row for the image and all that belongs to it.
    draws: random numbers an image takes. ragged: the output's size depends on them, so images go one by one.
    outside: the value that masks get where the image has only its fill; 0, or the class that the loss ignores.
    """

    draws: int = 0
    ragged: bool = False
    _outside: int = 0  # v2's text of a transform lists the public attributes

    @property
    def outside(self) -> int:
        """The value of masks outside the image."""
        return self._outside

    @outside.setter
    def outside(self, value: int) -> None:
        self._outside = value

    @property
    def min_side(self) -> int | None:
        """Shorter side in pixels down to which decoding may reduce an image before this transform; None: not at all."""
        return None

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """uint8 [B, C, H, W] and float32 [B, draws] → uint8 [B, C, H', W']."""
        raise NotImplementedError

    def move(self, target: Target, u: Tensor) -> Target:
        """A mask [..., H, W], boxes or points as the image moves that `batch` treats with u, float32 [1, draws].

        Masks take the nearest pixel's value. Boxes become the upright boxes around what was in them, within the new
        image; what has left it keeps no area (v2.SanitizeBoundingBoxes drops those). Points may leave the image; 0 is
        the outer edge of the first pixel, and in a mirror image left_eye is still called left_eye.
        """
        raise FovealError(f"{self} cannot move a {type(target).__name__}", "write its move(target, u)")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """One row of numbers for the whole sample, from torch's RNG."""
        return {"u": torch.rand(1, self.draws)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One image uint8 [C, H, W], or several of one size [..., C, H, W] treated alike; its mask, boxes, points."""
        if isinstance(inpt, _MOVED):
            return self.move(inpt, params["u"])
        if not isinstance(inpt, Tensor) or (
            isinstance(inpt, tv_tensors.TVTensor) and type(inpt) is not tv_tensors.Image
        ):
            raise FovealError(
                f"{self} changes uint8 image tensors, masks, boxes and keypoints, not {type(inpt).__name__}",
                "use torchvision's v2 transforms for it, v2.PILToTensor for PIL images",
            )
        if inpt.dtype != torch.uint8:
            raise FovealError(f"{self} takes uint8 images, not {inpt.dtype}", "convert to float after it")
        images = inpt.as_subclass(Tensor).reshape(-1, *inpt.shape[-3:])
        result = self.batch(images, params["u"].expand(len(images), -1))
        result = result.reshape(*inpt.shape[:-3], *result.shape[-3:])
        return tv_tensors.wrap(result, like=inpt) if isinstance(inpt, tv_tensors.Image) else result

    @classmethod
    def label(cls) -> str:
        """The name in recipes: PadCrop is pad_crop."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def __str__(self) -> str:
        return f"{self.label()}({self.extra_repr()})"


class Photometric(BatchTransform):
    """A transform that changes colours and moves nothing."""

    def move(self, target: Target, u: Tensor) -> Target:
        """The mask, boxes or points as they are."""
        return target


def pair(size: Size) -> tuple[int, int]:
    """(height, width) from one number or two; FovealError unless positive."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise FovealError(f"a size of {height}x{width} pixels", "sizes are at least 1")
    return height, width


def bordered(images: Tensor, padding: int, fill: Fill) -> Tensor:
    """The images within a border of one colour: `fill` is 0 to 255, for all channels or one each."""
    values = np.array(fill, dtype=np.uint8).reshape(-1, 1, 1)
    count, channels, height, width = images.shape
    if len(values) not in (1, channels):
        raise FovealError(f"fill has {len(values)} values for images of {channels} channels")
    result = np.empty((count, channels, height + 2 * padding, width + 2 * padding), dtype=np.uint8)
    result[:] = values
    result[:, :, padding : padding + height, padding : padding + width] = images.numpy()
    return torch.from_numpy(result)


def placed(images: Tensor, corner: tuple[int, int], size: tuple[int, int], fill: Fill) -> Tensor:
    """The images on a ground of `size` (height, width) and one colour, their upper left corner at (row, column)."""
    values = torch.tensor(fill, dtype=torch.uint8).view(-1, 1, 1)
    count, channels, height, width = images.shape
    if len(values) not in (1, channels):
        raise FovealError(f"fill has {len(values)} values for images of {channels} channels")
    result = values.expand(count, channels, *size).contiguous()
    result[:, :, corner[0] : corner[0] + height, corner[1] : corner[1] + width] = images
    return result


def moved_into(target: Target, corner: tuple[int, int], size: tuple[int, int], outside: int) -> Target:
    """A mask, boxes or points as `placed` moves their image."""
    height, width = extent(target)
    rest = [corner[1], corner[0], size[1] - corner[1] - width, size[0] - corner[0] - height]
    moved: Target = functional.pad(target, rest, fill=outside)
    return moved


def check_fill(fill: Fill) -> Fill:
    """`fill` itself; FovealError unless within 0 to 255."""
    if not all(0 <= value <= 255 for value in ((fill,) if isinstance(fill, int) else fill)):
        raise FovealError(f"fill={fill}", "pixels go from 0 to 255")
    return fill


def at_most(u: Tensor, largest: int) -> Tensor:
    """Integers 0 … `largest` with equal chance from numbers in [0, 1): int64 of u's shape."""
    return (u.double() * (largest + 1)).long()


def resized(target: Target, size: tuple[int, int]) -> Target:
    """A mask, boxes or points scaled to `size`. Masks take the value at each new pixel's centre (torchvision's own
    kernel for masks looks up to half a pixel up and left of it)."""
    if isinstance(target, tv_tensors.Mask):
        planes = target.as_subclass(Tensor).reshape(-1, 1, *target.shape[-2:])
        planes = functional.resize_image(planes, list(size), interpolation=v2.InterpolationMode.NEAREST_EXACT)
        wrapped: Target = tv_tensors.wrap(planes.reshape(*target.shape[:-2], *size), like=target)
        return wrapped
    scaled: Target = functional.resize(target, list(size))
    return scaled


def extent(target: Target) -> tuple[int, int]:
    """Height and width of the image that a mask, boxes or points belong to."""
    height, width = target.shape[-2:] if isinstance(target, tv_tensors.Mask) else target.canvas_size
    return int(height), int(width)
