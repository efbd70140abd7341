"""How well masks agree, from the confusion matrix of their pixels alone, so that it adds up over images and processes.

n_ij is the number of pixels of class i predicted as class j, t_i = Σ_j n_ij (Long, Shelhamer and Darrell 2015, section
4). Classes without a pixel in the truth are left out of the means over classes; all figures are in %.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.types import IGNORED


def pixel_confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """True class by row, predicted class by column, int64 [classes, classes], of uint8 masks of one shape.

    Pixels whose truth is 255 are not counted. FovealError for a predicted or a true number that is no class.
    """
    if predicted.shape != truth.shape:
        raise FovealError(f"a prediction of {tuple(predicted.shape)} for a mask of {tuple(truth.shape)}")
    counted = truth != IGNORED
    found, true = predicted[counted].long(), truth[counted].long()
    if len(true) and (int(true.max()) >= classes or int(found.max()) >= classes):
        raise FovealError(f"a mask of class {max(int(true.max()), int(found.max()))}, but there are {classes} classes")
    return torch.bincount(true * classes + found, minlength=classes * classes).reshape(classes, classes)


def pixel_accuracy(confusion: Tensor) -> float:
    """Σ_i n_ii / Σ_i t_i: the share of all pixels."""
    return 100 * float(confusion.trace()) / max(int(confusion.sum()), 1)


def class_accuracies(confusion: Tensor) -> Tensor:
    """n_ii / t_i of each class, float64 [classes], NaN for a class without a pixel."""
    return 100 * confusion.diagonal().double() / confusion.sum(1)


def class_ious(confusion: Tensor) -> Tensor:
    """n_ii / (t_i + Σ_j n_ji - n_ii), intersection over union, of each class: float64 [classes], NaN for a class that
    has no pixel in the truth."""
    hits, true, found = confusion.diagonal().double(), confusion.sum(1).double(), confusion.sum(0).double()
    return torch.where(true > 0, 100 * hits / (true + found - hits), torch.nan)


def mean_accuracy(confusion: Tensor) -> float:
    """The mean of the classes' accuracies."""
    return float(class_accuracies(confusion).nanmean())


def mean_iu(confusion: Tensor) -> float:
    """The mean of the classes' intersections over unions."""
    return float(class_ious(confusion).nanmean())


def frequency_weighted_iu(confusion: Tensor) -> float:
    """The same, each class weighted by its share of the pixels, t_i / Σ_k t_k."""
    true = confusion.sum(1).double()
    return float((true / true.sum() * class_ious(confusion)).nansum())
