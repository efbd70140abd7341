"""Whole images, each pixel compared at the image's own size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from foveal.protocols._pixels import counted

TASK = "segment"


def whole_image(
    predict: Any, dataset: Any, *, boundary: float = 0.0, batch_size: int = 8
) -> Iterator[tuple[str, Tensor | float]]:
    """Evaluate a segmenter on every image of `dataset`, whose items are (uint8 [C, H, W], mask uint8 [H, W]).

    `predict.labels(image)` gives the class of every pixel in the image's own size, uint8 [H, W]; pixels whose mask is
    255 are not counted. Yields, as (name, value): ("confusion", int64 [classes, classes]: true class by row) and
    ("image_iu", float64 [N]: the mean IU of each image, in %), then, in %, ("pixel_accuracy"), ("mean_accuracy"),
    ("mean_iu") and ("frequency_weighted_iu"). With `boundary`, a share of the diagonal such as 0.0075, also
    ("class_boundary_f1", float64 [classes]: mean over the images that have the class) and ("boundary_f1"), their mean.
    `batch_size` images are decoded ahead.

    Raises FovealError for an empty set.
    """
    yield from counted(predict.labels, dataset, len(predict.classes), boundary=boundary, batch_size=batch_size)
