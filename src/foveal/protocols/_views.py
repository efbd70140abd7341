"""What of a prepared image the network is shown."""

from __future__ import annotations

from torch import Tensor

from foveal.errors import FovealError
from foveal.types import Predictor


def centre(predict: Predictor, image: Tensor, name: str) -> Tensor:
    """The central part, of the network's input size, of a decoded image once it is prepared: uint8 [C, H, W].

    Raises FovealError with the image's `name` when it is smaller than that, or has other channels.
    """
    prepared = predict.prepare(image).as_subclass(Tensor)
    channels, height, width = predict.input
    c, h, w = prepared.shape
    if c != channels or h < height or w < width:
        raise FovealError(
            f"{name}: prepared it is {c}x{h}x{w}, but the network sees {channels}x{height}x{width}",
            "add a transform to `prepare` that brings every image to that size, such as resize",
        )
    top, left = (h - height) // 2, (w - width) // 2
    return prepared[:, top : top + height, left : left + width]
