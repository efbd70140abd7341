"""Euclidean radial basis function units with fixed centres."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class RBF(nn.Module):
    """Minus the squared distance to each of C fixed centres: [N, D] → scores [N, C], all <= 0.

    LeCun et al. (1998), section II.B, equation 7: y_i = sum_j (x_j - w_ij)²; the sign makes the nearest centre the
    highest score. `centres` [C, D] is a buffer: saved with the weights, never trained.
    """

    def __init__(self, centres: Tensor) -> None:
        super().__init__()
        self.centres: Tensor
        self.register_buffer("centres", centres)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = _MinusDistances.apply(x, self.centres)
        return scores

    def extra_repr(self) -> str:
        return f"{self.centres.shape[1]}, {self.centres.shape[0]}"


class _MinusDistances(torch.autograd.Function):
    """Minus the squared distances of x [N, D] to centres [C, D] without a gradient. That of x is 2 Σ_i g_i (w_i - x):
    one small product, where autograd would go over all N·C·D differences again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, centres: Tensor) -> Tensor:
        ctx.save_for_backward(x, centres)
        return -(x[:, None] - centres).square().sum(2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, centres = ctx.saved_tensors
        return 2 * (gradient @ centres - x * gradient.sum(1, keepdim=True)), None
