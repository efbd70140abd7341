"""Distances of two rows of features: Euclidean, cosine, and DeepFace's two that are learned from pairs.

Y. Taigman, M. Yang, M. Ranzato, L. Wolf, «DeepFace», CVPR 2014, section 4: the weighted χ² distance
Σ wᵢ (fᵢ - gᵢ)² / (fᵢ + gᵢ), whose weights a linear support vector machine learns, and the Siamese metric
Σ αᵢ |fᵢ - gᵢ|, whose weights minimise the cross-entropy of telling same from different.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from torch import Tensor

from foveal.errors import FovealError, unknown

Name = Literal["euclidean", "cosine", "chi_square", "siamese"]
NAMES: tuple[str, ...] = get_args(Name)
_TINY = 1e-12


@dataclass(frozen=True)
class Metric:
    """A distance of rows [N, D] and [N, D]: float64 [N]. `weights` float64 [D] are those of a learned one."""

    name: str
    weights: Tensor | None = None

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        if self.name == "cosine":
            return 1 - torch.nn.functional.cosine_similarity(left.double(), right.double())
        if self.name == "euclidean":
            apart: Tensor = torch.linalg.vector_norm(left.double() - right.double(), dim=1)
            return apart
        assert self.weights is not None  # `learn` gives them
        return _TERMS[self.name](left, right) @ self.weights


def learn(name: str, left: Tensor, right: Tensor, same: Tensor, *, strength: float = 1.0) -> Metric:
    """The metric called `name`, its weights learned from pairs of rows [N, D] and bool [N] where it has any.

    `strength` is scikit-learn's C, the inverse of the regularisation. Weights may be negative, as in the paper. Raises
    FovealError for an unknown name, for χ² of features below 0, and for pairs of one kind only.
    """
    if name not in NAMES:
        raise unknown("metric", name, NAMES)
    if name not in _TERMS:
        return Metric(name)
    if not bool(same.any()) or bool(same.all()):
        raise FovealError(f"{name} learns from pairs of the same identity and of different ones", "give both kinds")
    terms = _TERMS[name](left, right).numpy()
    scale = np.maximum(terms.std(0), _TINY)  # so that one strength suits features of any size
    svm = LinearSVC(C=strength, random_state=0, max_iter=10_000)
    learner = svm if name == "chi_square" else LogisticRegression(C=strength, max_iter=1000)
    learner.fit(terms / scale, (~same).numpy())
    return Metric(name, torch.from_numpy(learner.coef_[0] / scale).double())


def _chi_square(left: Tensor, right: Tensor) -> Tensor:
    if float(min(left.min(), right.min())) < 0:
        raise FovealError("χ² compares features of at least 0", "name a layer=… behind a ReLU, or another metric")
    left, right = left.double(), right.double()
    return (left - right).square() / (left + right).clamp_min(_TINY)


def _absolute(left: Tensor, right: Tensor) -> Tensor:
    return (left.double() - right.double()).abs()


_TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"chi_square": _chi_square, "siamese": _absolute}
