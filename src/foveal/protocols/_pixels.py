"""What protocols for masks share: counting pixels over a set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def counted(
    label: Callable[[Tensor], Tensor], dataset: Any, classes: int, *, boundary: float, batch_size: int
) -> Iterator[tuple[str, Tensor | float]]:
    """What `label`, uint8 [C, H, W] → uint8 [H, W], is worth on `dataset`, by name, as `whole_image` yields it."""
    if len(dataset) == 0:
        raise FovealError("there is no image to evaluate on", "choose a split that is not empty")
    total = torch.zeros(classes, classes, dtype=torch.int64)
    each: list[float] = []
    edges, having = torch.zeros(classes, dtype=torch.float64), torch.zeros(classes, dtype=torch.int64)
    for samples in ahead(range(len(dataset)), dataset.__getitem__, batch_size):
        for image, mask in samples:
            found, true = label(image), mask.as_subclass(Tensor)
            confusion = pixel_confusion(found, true, classes)
            if boundary:
                scores = boundary_scores(found, true, classes, boundary)
                edges += scores.nan_to_num()
                having += ~scores.isnan()
            each.append(mean_iu(confusion))
            total += confusion
    yield "confusion", total
    yield "image_iu", torch.tensor(each, dtype=torch.float64)
    yield "pixel_accuracy", pixel_accuracy(total)
    yield "mean_accuracy", mean_accuracy(total)
    yield "mean_iu", mean_iu(total)
    yield "frequency_weighted_iu", frequency_weighted_iu(total)
    if boundary:
        yield "class_boundary_f1", edges / having
        yield "boundary_f1", float((edges / having).nanmean())
