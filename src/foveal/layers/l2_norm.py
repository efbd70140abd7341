"""Normalisation of each place's vector of features to a length that is learned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ScaledL2Norm(nn.Module):
    """x / |x| over the maps at each place, times a learned scale for each map: [N, C, H, W] → the same shape.

    W. Liu, A. Rabinovich, A. Berg, «ParseNet» (2015), section 3.3; SSD puts it behind conv4_3, whose features are
    larger than those of the other layers, and starts from a scale of 20.
    """

    def __init__(self, channels: int, scale: float = 20.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.view(1, -1, 1, 1) * F.normalize(x)

    def extra_repr(self) -> str:
        return str(len(self.weight))
