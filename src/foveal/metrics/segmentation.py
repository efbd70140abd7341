"""How well masks agree: from the confusion matrix of their pixels, which adds up over images and processes; and at the
boundaries.

n_ij is the number of pixels of class i predicted as class j, t_i = Σ_j n_ij (Long, Shelhamer and Darrell 2015, section
4). Classes without a pixel in the truth are left out of the means over classes; all figures are in %.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

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


def boundary_scores(predicted: Tensor, truth: Tensor, classes: int, tolerance: float = 0.0075) -> Tensor:
    """F1 of each class's boundary in one image, float64 [classes], NaN for a class without one in either mask.

    Precision is the share of predicted boundary pixels with a true one not farther than `tolerance` times the image's
    diagonal, recall the reverse (Csurka, Larlus and Perronnin, BMVC 2013, section 3, with their 0.75 %). A pixel of a
    class is on its boundary when one of its four neighbours is of another; pixels whose truth is 255 are of none, in
    both masks. Averages over images are per class; sums of scores and of images that have one add up over processes.
    Masks are uint8 [H, W]; raises FovealError for masks of two shapes and a tolerance that is not above 0.
    """
    if predicted.shape != truth.shape:
        raise FovealError(f"a prediction of {tuple(predicted.shape)} for a mask of {tuple(truth.shape)}")
    if tolerance <= 0:
        raise FovealError(f"tolerance={tolerance}", "give a share of the diagonal, 0.0075 in the paper")
    radius = tolerance * math.hypot(*truth.shape)
    found, true = _boundaries(predicted.where(truth != IGNORED, truth)), _boundaries(truth)
    scores = torch.full((classes,), torch.nan, dtype=torch.float64)
    there = torch.bincount(torch.cat([found.flatten(), true.flatten()]), minlength=IGNORED + 1)[:IGNORED]
    for number in there.nonzero().flatten().tolist():
        ours, theirs = found == number, true == number
        hits = [int((a & _near(b, radius)).sum()) for a, b in ((ours, theirs), (theirs, ours))]
        precision, recall = (hit / max(int(of.sum()), 1) for hit, of in zip(hits, (ours, theirs), strict=True))
        scores[number] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return 100 * scores


def _boundaries(mask: Tensor) -> Tensor:
    """The mask's values on boundaries between classes, 255 elsewhere: uint8 [H, W]."""
    on = torch.zeros_like(mask, dtype=torch.bool)
    for dim in (0, 1):
        first, second = mask.narrow(dim, 0, mask.shape[dim] - 1), mask.narrow(dim, 1, mask.shape[dim] - 1)
        change = (first != second) & (first != IGNORED) & (second != IGNORED)
        on.narrow(dim, 0, mask.shape[dim] - 1).logical_or_(change)
        on.narrow(dim, 1, mask.shape[dim] - 1).logical_or_(change)
    return mask.where(on, torch.full_like(mask, IGNORED))


def _near(places: Tensor, radius: float) -> Tensor:
    """Where one of the places, bool [H, W], lies within `radius` pixels."""
    reach = math.floor(radius)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    disc = (offsets[:, None] ** 2 + offsets**2 <= radius**2).float()
    return conv2d(places[None, None].float(), disc[None, None], padding=reach)[0, 0] > 0.5
