"""VGG's crops on a grid at several scales, alone and together with the dense evaluation.

K. Simonyan, A. Zisserman, «Very deep convolutional networks for large-scale image recognition», ICLR 2015, sections 3.2
and 4.3: 5 x 5 crops and their mirror images at three scales, 150 in all. The two complement each other, since a crop is
surrounded by zeros where the dense evaluation sees the rest of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from foveal.errors import FovealError
from foveal.protocols._scoring import Figures, figures, posteriors
from foveal.protocols._views import at_scales, checked, mirrored, vgg_scales
from foveal.protocols._views import grid as crops
from foveal.protocols.dense import multi_scale
from foveal.types import DensePredictor, ScalingPredictor


def multi_crop(
    predict: ScalingPredictor,
    dataset: Any,
    *,
    grid: int = 5,
    scales: Sequence[int] | None = None,
    flip: bool = True,
    batch_size: int = 256,
) -> Figures:
    """Average the softmax over `grid` x `grid` crops and their mirror images at each scale.

    The `scales` are those of `multi_scale` unless given; with `scales=()` the image is prepared as the recipe does it.
    `batch_size` counts crops. Yields and raises as `center_crop`.
    """
    if not isinstance(grid, int) or grid < 1:
        raise FovealError(f"grid={grid} holds no crop", "give a whole number of at least 1")
    sides = vgg_scales(predict) if scales is None else checked(predict, scales)

    def look(image: Tensor, name: str) -> Sequence[Tensor]:
        prepared = at_scales(predict, image, sides)
        return mirrored([crop for whole in prepared for crop in crops(predict, whole, name, grid)], flip)

    views = grid * grid * max(1, len(sides)) * (2 if flip else 1)
    yield from figures(*posteriors(predict, dataset, look, predict, batch_size=batch_size, views=views))


def multi_crop_dense(
    predict: DensePredictor,
    dataset: Any,
    *,
    grid: int = 5,
    scales: Sequence[int] | None = None,
    flip: bool = True,
    batch_size: int = 64,
) -> Figures:
    """Average the probabilities of `multi_crop` and `multi_scale` at the same scales. Yields and raises as they do."""
    options: dict[str, Any] = {"scales": scales, "flip": flip, "batch_size": batch_size}
    cropped = dict(multi_crop(predict, dataset, grid=grid, **options))
    slid = dict(multi_scale(predict, dataset, **options))
    p, y = (cropped["probabilities"] + slid["probabilities"]) / 2, slid["labels"]
    assert isinstance(p, Tensor) and isinstance(y, Tensor)
    yield from figures(p, y)
