"""Verification: whether two images show the same identity, told by a distance and a threshold.

G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller, «Labeled Faces in the Wild», UMass technical report 07-49, 2007:
ten folds of pairs; the threshold is chosen on nine and tested on the tenth; the mean accuracy with its standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from foveal.errors import FovealError


@dataclass(frozen=True)
class Roc:
    """The curve of a distance: at threshold t the pairs of a distance of at most t are called the same.

    `thresholds`, `false_accepts` (share of different pairs called the same) and `true_accepts` (share of the same) are
    float64 [T], rising from a point where nothing is accepted. `area` is that below the curve; `equal_error` the rate
    at which false accepts and false rejects are equally frequent, between two thresholds by linear interpolation.
    """

    thresholds: Tensor
    false_accepts: Tensor
    true_accepts: Tensor
    area: float
    equal_error: float

    def points(self, most: int = 300) -> tuple[list[float], list[float]]:
        """False and true accepts at no more than `most` thresholds, evenly spaced, and at both ends: for drawing."""
        last = len(self.thresholds) - 1
        chosen = torch.linspace(0, last, min(most, last + 1), dtype=torch.float64).round().long()
        return self.false_accepts[chosen].tolist(), self.true_accepts[chosen].tolist()

    def true_accept_at(self, false_accept: float) -> float:
        """The largest share of same pairs accepted while at most this share of different ones is."""
        return float(self.true_accepts[self.false_accepts <= false_accept].max())


def roc(distances: Tensor, same: Tensor) -> Roc:
    """The curve of distances [N] of pairs that are the same or not (bool [N]). FovealError unless both kinds occur."""
    if not bool(same.any()) or bool(same.all()):
        raise FovealError("verification needs pairs of the same identity and of different ones", "give both")
    values, order = distances.double().sort(stable=True)
    hits = same[order].double()
    last = torch.cat((values[1:] != values[:-1], torch.ones(1, dtype=torch.bool)))  # equal distances go together
    zero = torch.zeros(1, dtype=torch.float64)
    true = torch.cat((zero, (hits.cumsum(0) / hits.sum())[last]))
    false = torch.cat((zero, ((1 - hits).cumsum(0) / (1 - hits).sum())[last]))
    thresholds = torch.cat((torch.full((1,), -math.inf, dtype=torch.float64), values[last]))
    return Roc(thresholds, false, true, float(torch.trapezoid(true, false)), _equal_error(false, true))


def _equal_error(false: Tensor, true: Tensor) -> float:
    above = false - (1 - true)  # rises from -1 to 1
    i = int((above >= 0).nonzero()[0])
    share = float(-above[i - 1] / (above[i] - above[i - 1]))
    return float(false[i - 1] + share * (false[i] - false[i - 1]))


def best_threshold(distances: Tensor, same: Tensor) -> float:
    """The threshold with the most pairs right, in the middle between two distances; the lowest of several."""
    values, order = distances.double().sort(stable=True)
    hits = same[order].long()
    right = torch.cat((torch.zeros(1, dtype=torch.int64), (2 * hits - 1).cumsum(0)))  # against accepting nothing
    possible = torch.cat((torch.ones(1, dtype=torch.bool), values[1:] != values[:-1], torch.ones(1, dtype=torch.bool)))
    right[~possible] = right.min() - 1
    i = int(right.argmax())
    if i == 0:
        return float(values[0]) - 1.0
    if i == len(values):
        return float(values[-1]) + 1.0
    return float(values[i - 1] + values[i]) / 2


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracies of the folds in %, each at the threshold that was best on the others; mean ± standard error."""

    folds: tuple[float, ...]
    thresholds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the folds, in %."""
        return sum(self.folds) / len(self.folds)

    @property
    def standard_error(self) -> float:
        """The folds' standard deviation (n - 1) over √n, in points: LFW's report, equations 1 and 2."""
        n, mean = len(self.folds), self.mean
        return math.sqrt(sum((fold - mean) ** 2 for fold in self.folds) / (n - 1)) / math.sqrt(n)


def accuracy_by_fold(distances: Tensor, same: Tensor, folds: Tensor) -> FoldAccuracy:
    """LFW's figure, of distances [N], bool [N] and the number of each pair's fold, int64 [N]."""
    there = torch.unique(folds).tolist()
    if len(there) < 2:
        raise FovealError("all pairs are of one fold, so none are left to choose a threshold on", "make two or more")
    accuracies, thresholds = [], []
    for fold in there:
        mine = folds == fold
        threshold = best_threshold(distances[~mine], same[~mine])
        right = (distances[mine].double() <= threshold) == same[mine]
        accuracies.append(100 * float(right.double().mean()))
        thresholds.append(threshold)
    return FoldAccuracy(tuple(accuracies), tuple(thresholds))
