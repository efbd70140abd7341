"""OverFeat's evaluation: six scales, each with the last pooling at all of its offsets.

P. Sermanet et al., «OverFeat: integrated recognition, localization and detection using convolutional networks», ICLR
2014, section 3.3, figure 3 and table 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from foveal.errors import FovealError
from foveal.protocols._scoring import Figures, figures, posteriors
from foveal.protocols._views import fitting, mirrored
from foveal.types import DensePredictor, ScalingPredictor

Size = tuple[int, int]

SCALES = ((245, 245), (281, 317), (317, 389), (389, 461), (425, 497), (461, 569))
"""Height and width of table 5, for the accurate network with its input of 221: maps before the last pooling of
17x17, 20x23, 23x29, 29x35, 32x38 (the table prints 32x35, from which its own 18x24 does not follow) and 35x44, and
scores at 3x3, 6x9, 9x15, 15x21, 18x24 and 21x30 positions."""
_INPUT = 221


def overfeat(
    predict: DensePredictor,
    dataset: Any,
    *,
    scales: Sequence[Size] | None = None,
    flip: bool = True,
    batch_size: int = 64,
) -> Figures:
    """Of each class the largest probability over all positions, averaged over the scales and mirror images.

    `scales` are heights and widths, by default `SCALES` in proportion to the network's input. The image is enlarged
    until it covers that size (upright images: width and height exchanged) and cut to its centre; the network slides
    over it with its last pooling at each offset, so that positions lie as close as that pooling's windows. The averages
    are scaled to sum 1. `batch_size` counts images of the size of the network's input. Yields and raises as `dense`.

    The paper leaves open whether scores or probabilities are pooled; here the softmax is taken at each position first,
    so that the classes compete where they are seen.
    """
    sizes = _proportional(predict) if scales is None else _checked(predict, scales)

    def look(image: Tensor, name: str) -> Sequence[Tensor]:
        whole = [fitting(predict, _covering(predict, image, size), name) for size in sizes]
        return mirrored(whole, flip)

    def forward(images: Tensor) -> Tensor:
        return predict.maps(images, offsets=True).softmax(1).amax((2, 3))  # [B, classes]

    views = len(sizes) * (2 if flip else 1)
    largest, labels = posteriors(predict, dataset, look, forward, batch_size=batch_size, views=views)
    yield from figures(largest / largest.sum(1, keepdim=True), labels)


def _proportional(predict: ScalingPredictor) -> list[Size]:
    _, height, width = predict.input
    return [(round(h * height / _INPUT), round(w * width / _INPUT)) for h, w in SCALES]


def _checked(predict: ScalingPredictor, scales: Sequence[Size]) -> list[Size]:
    try:
        sizes = [(int(h), int(w)) for h, w in scales]
    except (TypeError, ValueError) as error:
        raise FovealError(
            f"scales={scales!r} are no sizes", "give heights and widths, as ((245, 245), (281, 317))"
        ) from error
    least = min(predict.input[1:])
    for size in sizes or [(0, 0)]:
        if min(size) < least:
            raise FovealError(f"scales={scales!r}: the network's input is {least} pixels", "give larger sizes")
    return sizes


def _covering(predict: ScalingPredictor, image: Tensor, size: Size) -> Tensor:
    """The image prepared as small as it covers `size`, its long side along the image's, cut to its centre."""
    short, long = sorted(size)
    side = short
    shown = predict.scaled(image, side)
    while (factor := max(short / min(shown.shape[1:]), long / max(shown.shape[1:]))) > 1:
        side = math.ceil(side * factor)
        shown = predict.scaled(image, side)
    height, width = (short, long) if shown.shape[1] <= shown.shape[2] else (long, short)
    top, left = (shown.shape[1] - height) // 2, (shown.shape[2] - width) // 2
    return shown[:, top : top + height, left : left + width]
