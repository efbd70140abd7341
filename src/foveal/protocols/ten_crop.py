"""AlexNet's protocol: four corners and the centre, and their mirror images.

A. Krizhevsky, I. Sutskever, G. Hinton, «ImageNet classification with deep convolutional neural networks», NIPS 2012,
section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from foveal.protocols._scoring import Figures, figures, posteriors
from foveal.protocols._views import at_scales, checked, corners, mirrored
from foveal.types import ScalingPredictor


def ten_crop(
    predict: ScalingPredictor, dataset: Any, *, scale: int | None = None, flip: bool = True, batch_size: int = 256
) -> Figures:
    """Average the softmax over the corners and the centre of every image and their mirror images.

    The image is prepared as the recipe does it, or with its shorter side at `scale` pixels: networks trained on whole
    images, such as those for CIFAR, see ten times the same without it. Without `flip` five crops are shown, for
    pictures such as digits that mean something else in a mirror. `batch_size` counts crops. Yields and raises as
    `center_crop`.
    """
    scales = checked(predict, () if scale is None else (scale,))

    def look(image: Tensor, name: str) -> Sequence[Tensor]:
        (prepared,) = at_scales(predict, image, scales)
        return mirrored(corners(predict, prepared, name), flip)

    yield from figures(*posteriors(predict, dataset, look, predict, batch_size=batch_size, views=10 if flip else 5))
