"""Whole images, each pixel compared at the image's own size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.metrics.segmentation import (
    boundary_scores,
    frequency_weighted_iu,
    mean_accuracy,
    mean_iu,
    pixel_accuracy,
    pixel_confusion,
)
from foveal.protocols._ahead import ahead

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
    if len(dataset) == 0:
        raise FovealError("there is no image to evaluate on", "choose a split that is not empty")
    classes = len(predict.classes)
    total = torch.zeros(classes, classes, dtype=torch.int64)
    each: list[float] = []
    edges, counted = torch.zeros(classes, dtype=torch.float64), torch.zeros(classes, dtype=torch.int64)
    for samples in ahead(range(len(dataset)), dataset.__getitem__, batch_size):
        for image, mask in samples:
            found, true = predict.labels(image), mask.as_subclass(Tensor)
            confusion = pixel_confusion(found, true, classes)
            if boundary:
                scores = boundary_scores(found, true, classes, boundary)
                edges += scores.nan_to_num()
                counted += ~scores.isnan()
            each.append(mean_iu(confusion))
            total += confusion
    yield "confusion", total
    yield "image_iu", torch.tensor(each, dtype=torch.float64)
    yield "pixel_accuracy", pixel_accuracy(total)
    yield "mean_accuracy", mean_accuracy(total)
    yield "mean_iu", mean_iu(total)
    yield "frequency_weighted_iu", frequency_weighted_iu(total)
    if boundary:
        yield "class_boundary_f1", edges / counted
        yield "boundary_f1", float((edges / counted).nanmean())
