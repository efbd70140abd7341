"""LeNet's subsampling: a sum over a window with one trainable coefficient and one trainable bias a map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
        # Sums of strided slices, rows first: on the CPU twice as fast as avg_pool2d or a depthwise convolution.
        rows = self._starts(x.shape[-2])
        sums = x[..., rows[0], :]
        for row in rows[1:]:
            sums = sums + x[..., row, :]
        columns = self._starts(x.shape[-1])
        total = sums[..., columns[0]]
        for column in columns[1:]:
            total = total + sums[..., column]
        return torch.addcmul(self.bias[:, None, None], total, self.weight[:, None, None])

    def _starts(self, size: int) -> list[slice]:
        """For each offset in the window, the slice of that offset over all windows along an axis of `size`."""
        span = self.dilation * (self.kernel_size - 1)
        length = (size - span - 1) // self.stride * self.stride + 1
        return [slice(first, first + length, self.stride) for first in range(0, span + 1, self.dilation)]

    def extra_repr(self) -> str:
        return f"{self.channels}, kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}"
