"""What of a prepared image the network is shown."""

from __future__ import annotations

from torch import Tensor

from foveal.errors import FovealError
from foveal.types import Predictor

_LARGEST = 3  # sides of the input; a centre smaller than a third of the image is no view of it


def centre(predict: Predictor, image: Tensor, name: str) -> Tensor:
    """The central part, of the network's input size, of a decoded image once it is prepared: uint8 [C, H, W].

    Raises FovealError with the image's `name` when it is smaller than that, more than three times as large, or of
    other channels.
    """
    prepared = predict.prepare(image).as_subclass(Tensor)
    channels, height, width = predict.input
    c, h, w = prepared.shape
    if c != channels or h < height or w < width:
        raise FovealError(
            f"{name}: prepared it is {c}x{h}x{w}, but the network sees {channels}x{height}x{width}",
            "add a transform to `prepare` that brings every image to that size, such as resize",
        )
    if h > _LARGEST * height and w > _LARGEST * width:
        raise FovealError(
            f"{name}: prepared it is {h}x{w}, of which the network would see only the middle {height}x{width}",
            "the recipe's `prepare` fits smaller images; add a transform such as resize, or give images of that size",
        )
    top, left = (h - height) // 2, (w - width) // 2
    return prepared[:, top : top + height, left : left + width]
