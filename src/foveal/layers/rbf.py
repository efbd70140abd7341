"""Euclidean radial basis function units with fixed centres."""

from __future__ import annotations

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
        return -(x[:, None] - self.centres).square().sum(2)

    def extra_repr(self) -> str:
        return f"{self.centres.shape[1]}, {self.centres.shape[0]}"
