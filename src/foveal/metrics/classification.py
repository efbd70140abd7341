"""Metrics of classifiers: pure functions of probabilities or scores [N, classes] and labels [N]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = torch.finfo(torch.float32).tiny


def top_k_error(scores: Tensor, labels: Tensor, k: int = 1) -> float:
    """Percentage of images whose label is not among the `k` best scores. Scores [N, classes], labels int64 [N].

    Ties are decided by the class number, the lower first, as `argmax` does: a network whose scores are all equal is
    thus right on class 0 only, and never by the accident of a sort. With `k` >= classes the error is 0.
    """
    return 100.0 * float(top_k_wrong(scores, labels, k).double().mean())


def top_k_wrong(scores: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    """For each image whether its label is not among the `k` best scores, bool [N]; ties as in `top_k_error`.

    A score that is not a number is worse than any other.
    """
    _check(scores, labels)
    scores = torch.where(scores.isnan(), -torch.inf, scores)
    own = scores.gather(1, labels[:, None])  # [N, 1]
    lower = torch.arange(scores.shape[1], device=scores.device)[None] < labels[:, None]
    ahead = (scores > own) | ((scores == own) & lower)
    return ahead.sum(1) >= k


def cross_entropy(probabilities: Tensor, labels: Tensor) -> float:
    """Mean of -log p(label) in nats; probabilities below float32's smallest normal number count as that number."""
    _check(probabilities, labels)
    own = probabilities.gather(1, labels[:, None]).double()
    return float(-own.clamp_min(_TINY).log().mean())


def confusion_matrix(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How often each class was taken for which: int64 [classes, classes], true class by row, predicted by column."""
    if predicted.shape != labels.shape or labels.ndim != 1:
        raise ValueError(f"predicted {tuple(predicted.shape)} and labels {tuple(labels.shape)} must both be [N]")
    for name, values in (("predicted", predicted), ("labels", labels)):
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < classes:
            raise ValueError(f"{name} holds {int(values.min())}..{int(values.max())}, beyond 0..{classes - 1}")
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class PerClass:
    """Per class, float64 [classes] in [0, 1]; not-a-number where there is nothing to divide by."""

    precision: Tensor  # of the images predicted as this class, the share that is of it
    recall: Tensor  # of the images of this class, the share that was predicted so
    f1: Tensor  # harmonic mean of the two
    support: Tensor  # images of this class, int64


def per_class(confusion: Tensor) -> PerClass:
    """Precision, recall, F1 and support of every class, from the confusion matrix [classes, classes].

    What cannot be computed is not-a-number, not 0: a class without images has no recall, one never predicted has no
    precision. F1 = 2 TP / (2 TP + FP + FN) is defined as soon as the class was either there or predicted.
    """
    hits = confusion.diagonal().double()
    support, predicted = confusion.sum(1), confusion.sum(0)
    return PerClass(hits / predicted, hits / support, 2 * hits / (support + predicted), support)


def most_confused(confusion: Tensor, count: int) -> list[tuple[int, int, int]]:
    """The `count` most frequent mistakes as (true class, predicted class, images), most frequent first."""
    wrong = confusion.clone()
    wrong.fill_diagonal_(0)
    order = wrong.flatten().argsort(descending=True, stable=True)[:count]
    classes = len(confusion)
    pairs = ((int(i) // classes, int(i) % classes, int(wrong.flatten()[i])) for i in order)
    return [pair for pair in pairs if pair[2] > 0]


def _check(scores: Tensor, labels: Tensor) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or len(labels) == 0:
        raise ValueError(
            f"scores {tuple(scores.shape)} must be [N, classes] and labels {tuple(labels.shape)} [N], N > 0"
        )
