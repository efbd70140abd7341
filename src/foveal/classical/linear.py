"""Linear classifiers on features: one against the rest by hinge, by ranking hinge, or logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from torch import Tensor

from foveal.errors import FovealError, unknown

Loss = Literal["hinge", "ranking", "logistic"]
_PAIRS = 200_000  # pairs of a class and the rest that a ranking learns from at most


@dataclass(frozen=True)
class Linear:
    """A score per class: weights float64 [C, D], bias float64 [C]."""

    weights: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Scores float64 [N, C] of features [N, D]."""
        return features.double() @ self.weights.T + self.bias


def fit_linear(
    features: Tensor, labels: Tensor, loss: str = "hinge", *, strength: float = 1.0, seed: int = 0
) -> Linear:
    """A linear classifier of rows float32 [N, D] and class numbers int64 [N], by scikit-learn.

    hinge: one against the rest, squared hinge. ranking: per class w·(p - n) ≥ 1 - ξ for every positive p and negative
    n, as Chatfield et al. 2014 (about 2.7 points of mAP more); it orders the images of a class, has no bias, and of
    more than 200,000 pairs takes as many at random by `seed`. logistic: one softmax of all classes. `strength` is C,
    the inverse of the regularisation. Raises FovealError for an unknown loss, less than two classes and a class number
    without an image.
    """
    if loss not in get_args(Loss):
        raise unknown("loss", loss, get_args(Loss))
    rows, numbers = features.double().numpy(), labels.numpy()
    classes = int(numbers.max(initial=-1)) + 1
    absent = sorted(set(range(classes)) - set(numbers.tolist()))
    if classes < 2 or absent:
        raise FovealError(f"a classifier needs images of two classes, and of class {absent[:1] or 1}", "give some")
    if loss == "logistic":
        learner = LogisticRegression(C=strength, max_iter=2000).fit(rows, numbers)
        weights, bias = learner.coef_, learner.intercept_
        if classes == 2:
            weights, bias = np.concatenate((-weights, weights)), np.concatenate((-bias, bias))
        return Linear(torch.from_numpy(weights), torch.from_numpy(bias))
    one = _ranking if loss == "ranking" else _hinge
    found = [one(rows, numbers == label, strength, seed) for label in range(classes)]
    return Linear(torch.from_numpy(np.stack([w for w, _ in found])), torch.tensor([b for _, b in found]).double())


def _hinge(rows: np.ndarray, mine: np.ndarray, strength: float, seed: int) -> tuple[np.ndarray, float]:
    learner = LinearSVC(C=strength, random_state=seed, max_iter=10_000).fit(rows, mine)
    return learner.coef_[0], float(learner.intercept_[0])


def _ranking(rows: np.ndarray, mine: np.ndarray, strength: float, seed: int) -> tuple[np.ndarray, float]:
    """A machine that tells p - n from n - p, through the origin."""
    positive, negative = np.flatnonzero(mine), np.flatnonzero(~mine)
    pairs = np.arange(len(positive) * len(negative))
    random = np.random.RandomState(seed)
    if len(pairs) > _PAIRS:
        pairs = random.choice(pairs, _PAIRS, replace=False)
    apart = rows[positive[pairs // len(negative)]] - rows[negative[pairs % len(negative)]]
    signs = np.where(np.arange(len(apart)) % 2 == 0, 1.0, -1.0)  # both kinds, of which the machine needs each
    learner = LinearSVC(C=strength, fit_intercept=False, loss="hinge", random_state=seed, max_iter=10_000)
    learner.fit(apart * signs[:, None], signs)
    return learner.coef_[0], 0.0
