"""How well scores rank the images of a class before the others: average precision, class by class."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from foveal.errors import FovealError, unknown
from foveal.metrics.boxes import precision_recall
from foveal.metrics.voc import Method, average_precision
from foveal.types import IGNORED


def presence_precisions(scores: Tensor, labels: Tensor, method: str = "11_point") -> Tensor:
    """Average precision of each class in %, float64 [classes], of scores [N, classes] and tags uint8 [N, classes].

    Images whose tag is 255 are left out of their class's ranking; equal scores stay in the images' order. NaN for a
    class that no image has. method: see `foveal.metrics.voc.average_precision`. FovealError for an unknown one.
    """
    if method not in get_args(Method):
        raise unknown("method", method, get_args(Method))
    found = [_precision(s, tags, method) for s, tags in zip(scores.double().T, labels.T, strict=True)]
    return torch.tensor(found, dtype=torch.float64)


def mean_precision(each: Tensor) -> float:
    """The mean over the classes that occur. FovealError where none does."""
    if bool(each.isnan().all()):
        raise FovealError("no image has any of the classes", "choose a split that shows some")
    return float(each.nanmean())


def _precision(scores: Tensor, tags: Tensor, method: str) -> float:
    counted = tags != IGNORED
    order = scores[counted].argsort(descending=True, stable=True)
    right = (tags[counted][order] == 1).numpy()
    wanted = int(right.sum())
    precision, recall = precision_recall(right, ~right, wanted)
    chosen: Method = "area" if method == "area" else "11_point"
    return 100 * average_precision(precision, recall, chosen) if wanted else float("nan")
