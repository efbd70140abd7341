"""LeNet's subsampling: a sum over a window with one trainable coefficient and one trainable bias a map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_COMPLEX = (torch.float32, torch.float64)  # the types whose pairs torch can make complex numbers of


class _Quarter(torch.autograd.Function):
    """Sums over 2x2 windows. The gradient is each sum's, four times: autograd would add up zeros for every slice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        sums = x[..., 0::2, :] + x[..., 1::2, :]
        return sums[..., 0::2] + sums[..., 1::2]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        pairs = torch.view_as_real(torch.complex(gradient, gradient)).flatten(-2)  # the fastest way to double columns
        return torch.stack((pairs, pairs), -2).flatten(-3, -2)


def _quarter(x: Tensor) -> Tensor:
    sums: Tensor = _Quarter.apply(x)
    return sums


class Subsampling(nn.Module):
    """Sum over each window, times a coefficient, plus a bias: [N, C, H, W] → [N, C, H', W'].

    LeCun et al. (1998), section II.B, layers S2 and S4: 2C parameters, `weight` [C] and `bias` [C]. With the mean in
    place of the sum, as the lectures write it, the coefficient would be kernel_size² times as large and the function
    the same. Rows and columns that fill no whole window are left out, as torch's poolings do.
    """

    def __init__(self, channels: int, kernel_size: int = 2, stride: int = 2, dilation: int = 1) -> None:
        super().__init__()
        self.channels, self.kernel_size, self.stride, self.dilation = channels, kernel_size, stride, dilation
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as mean pooling; a network's own initialisation replaces it."""
        nn.init.constant_(self.weight, 1 / self.kernel_size**2)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        halving = self.kernel_size == self.stride == 2 and self.dilation == 1 and not (x.shape[-2] | x.shape[-1]) & 1
        total = _quarter(x) if halving and x.dtype in _COMPLEX else self._sums(x)
        # not addcmul, which takes longer with coefficients that are broadcast
        return total * self.weight[:, None, None] + self.bias[:, None, None]

    def _sums(self, x: Tensor) -> Tensor:
        """Sums of strided slices, rows first: on the CPU faster than avg_pool2d or a depthwise convolution."""
        rows = self._starts(x.shape[-2])
        sums = x[..., rows[0], :]
        for row in rows[1:]:
            sums = sums + x[..., row, :]
        columns = self._starts(x.shape[-1])
        total = sums[..., columns[0]]
        for column in columns[1:]:
            total = total + sums[..., column]
        return total

    def _starts(self, size: int) -> list[slice]:
        """For each offset in the window, the slice of that offset over all windows along an axis of `size`."""
        span = self.dilation * (self.kernel_size - 1)
        length = (size - span - 1) // self.stride * self.stride + 1
        return [slice(first, first + length, self.stride) for first in range(0, span + 1, self.dilation)]

    def extra_repr(self) -> str:
        return f"{self.channels}, kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}"
