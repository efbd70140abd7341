"""What of an image the network is shown: crops of its input's size, at one scale or several."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from foveal.data.pipeline import LARGEST_CENTRE
from foveal.errors import FovealError
from foveal.types import Predictor, ScalingPredictor


def centre(predict: Predictor, image: Tensor, name: str) -> Tensor:
    """The central part, of the network's input size, of a decoded image once it is prepared: uint8 [C, H, W].

    Raises FovealError with the image's `name` when it is smaller than that, more than three times as large, or of
    other channels.
    """
    return grid(predict, predict.prepare(image), name, 1)[0]


def corners(predict: Predictor, prepared: Tensor, name: str) -> list[Tensor]:
    """The four corners and the centre of a prepared image, each of the network's input size. Raises as `centre`."""
    outer = grid(predict, prepared, name, 2)
    return [*outer, *grid(predict, prepared, name, 1)]


def grid(predict: Predictor, prepared: Tensor, name: str, number: int) -> list[Tensor]:
    """`number` x `number` crops of the network's input size at even distances, from corner to corner of a prepared
    image; one alone is the centre. Raises as `centre`."""
    prepared = fitting(predict, prepared, name)
    _, height, width = predict.input
    h, w = prepared.shape[-2:]
    if h > LARGEST_CENTRE * height and w > LARGEST_CENTRE * width:
        raise FovealError(
            f"{name}: prepared it is {h}x{w}, of which the network would see only the middle {height}x{width}",
            "the recipe's `prepare` fits smaller images; add a transform such as resize, or give images of that size",
        )
    places = ((top, left) for top in _places(h - height, number) for left in _places(w - width, number))
    return [prepared[:, top : top + height, left : left + width] for top, left in places]


def fitting(predict: Predictor, prepared: Tensor, name: str) -> Tensor:
    """The prepared image as a plain tensor; FovealError when the network's input does not fit into it."""
    channels, height, width = predict.input
    c, h, w = prepared.shape
    if c != channels or h < height or w < width:
        raise FovealError(
            f"{name}: prepared it is {c}x{h}x{w}, but the network sees {channels}x{height}x{width}",
            "add a transform to `prepare` that brings every image to that size, such as resize",
        )
    return prepared.as_subclass(Tensor)


def mirrored(views: Sequence[Tensor], flip: bool) -> list[Tensor]:
    """The views and, if asked for, their mirror images, left and right exchanged."""
    return [*views, *(view.flip(-1) for view in views)] if flip else list(views)


def at_scales(predict: ScalingPredictor, image: Tensor, scales: Sequence[int]) -> list[Tensor]:
    """The image prepared at each shorter side of `scales`; as the recipe does it where there is none."""
    return [predict.scaled(image, side) for side in scales] or [predict.prepare(image)]


def checked(predict: Predictor, scales: Sequence[int]) -> tuple[int, ...]:
    """Shorter sides of images as given. Raises FovealError for one that is smaller than the network's input."""
    try:
        sides = tuple(int(side) for side in scales)
    except (TypeError, ValueError) as error:
        raise FovealError(f"scales={scales!r} are no sizes", "give whole numbers of pixels, as (256, 384)") from error
    least = min(predict.input[1:])
    for side in sides:
        if side < least:
            raise FovealError(f"scales={sides}: {side} pixels are fewer than the network's {least}", "leave it out")
    return sides


def vgg_scales(predict: ScalingPredictor) -> tuple[int, ...]:
    """The test scales of VGG: {S - d, S, S + d} around the training scale S, or, where training jittered from S_min to
    S_max, {S_min, (S_min + S_max) / 2, S_max} (Simonyan and Zisserman 2015, section 4.2).

    d is their 32 pixels at an input of 224 and in proportion at others. Scales below the input, in which it would not
    fit, are left out: for a network trained on whole images of 32 pixels, {32, 36}.
    """
    least = min(predict.input[1:])
    low, high = predict.sides
    step = max(1, least // 7)
    sides = (low - step, low, low + step) if low == high else (low, (low + high) // 2, high)
    return tuple(side for side in sides if side >= least)


def _places(room: int, number: int) -> list[int]:
    """Offsets from 0 to `room` at even distances, rounded down; one alone lies in the middle."""
    return [room // 2] if number == 1 else [room * place // (number - 1) for place in range(number)]
