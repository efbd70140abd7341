"""Calibration: whether images predicted with 80 % confidence are right in 80 % of the cases (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Calibration:
    """The reliability diagram of a classifier: equal bins of its confidence, and the expected calibration error."""

    edges: Tensor  # float64 [bins + 1], 0 … 1; bin b is (edges[b], edges[b + 1]]
    counts: Tensor  # int64 [bins], images in each bin
    confidence: Tensor  # float64 [bins], mean confidence of the bin, not-a-number where it is empty
    accuracy: Tensor  # float64 [bins], share of the bin that is right, not-a-number where it is empty
    ece: float  # expected calibration error in [0, 1]


def calibration(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Calibration:
    """Compare confidence (the largest probability) with accuracy. Probabilities [N, classes] in [0, 1], labels [N].

    The expected calibration error is the mean over all images of |accuracy - confidence| of their bin (Guo et al. 2017,
    equation 3, who use 15 bins). Raises ValueError for values outside [0, 1]: scores are not probabilities.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or len(labels) == 0:
        raise ValueError(f"probabilities {tuple(probabilities.shape)} must be [N, classes], labels [N], with N > 0")
    if not bool(((probabilities >= 0) & (probabilities <= 1 + 1e-5)).all()):
        raise ValueError("probabilities must lie in 0..1; apply a softmax to scores first")
    top, predicted = probabilities.double().max(1)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    bin_of = torch.bucketize(top, edges[1:-1])  # the right edge belongs to the bin
    right = (predicted == labels).double()
    counts = torch.bincount(bin_of, minlength=bins)
    confidence = torch.bincount(bin_of, weights=top, minlength=bins) / counts
    accuracy = torch.bincount(bin_of, weights=right, minlength=bins) / counts
    gaps = (accuracy - confidence).abs().nan_to_num(0.0)
    return Calibration(edges, counts, confidence, accuracy, float((gaps * counts).sum() / len(labels)))
