"""The residual networks' parameter-free shortcut."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PadShortcut(nn.Module):
    """Every `stride`-th pixel, with maps of zeros behind: [N, C, H, W] → [N, out, ceil(H/stride), ceil(W/stride)].

    He et al. (2016), section 3.3, option A. No parameters, no arithmetic. Raises ValueError for fewer maps out than in.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(f"PadShortcut cannot take maps away: {in_channels} in, {out_channels} out")
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        missing = self.out_channels - self.in_channels
        return F.pad(_thinned(x, self.stride), (0, 0, 0, 0, 0, missing))

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"


def _thinned(x: Tensor, stride: int) -> Tensor:
    """x[:, :, ::stride, ::stride]. The gradient of a slice is contiguous in the order of the axes that were sliced, and
    all that a gradient of another layout than x's meets is slow on a CPU."""
    if x.stride(1) == 1:  # channels last
        return x.permute(0, 2, 3, 1)[:, ::stride, ::stride].permute(0, 3, 1, 2)
    return x[:, :, ::stride, ::stride]
