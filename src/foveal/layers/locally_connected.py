"""Convolution's windows without convolution's shared weights: one bank of filters for each position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocallyConnected2d(nn.Module):
    """Own filters at every position: [N, in, H, W] → [N, out, H', W'] with H' = (H - k)/stride + 1, rounded down.

    Taigman et al. (2014), section 3, layers L4 to L6: for images that are aligned, so that a position means a place of
    the face. `weight` [H'W', out, in·k·k] holds the filters position by position, row by row, each in the order of
    nn.Conv2d's (input map, row, column); `bias` [out, H', W'] is one number for each unit. Multiply-adds are as many as
    weights, one for each. No padding. `input_size` (H, W) is part of the layer: forward takes no other (RuntimeError).
    Raises ValueError for a window that does not fit.
    """

    def __init__(
        self, in_channels: int, out_channels: int, input_size: tuple[int, int], kernel_size: int, stride: int = 1
    ) -> None:
        super().__init__()
        if not 1 <= kernel_size <= min(input_size) or stride < 1:
            size = "x".join(map(str, input_size))
            raise ValueError(f"a {kernel_size}x{kernel_size} window, stride {stride}, on {size}")
        self.in_channels, self.out_channels, self.input_size = in_channels, out_channels, input_size
        self.kernel_size, self.stride = kernel_size, stride
        height, width = ((n - kernel_size) // stride + 1 for n in input_size)
        self.output_size = (height, width)
        self.weight = nn.Parameter(torch.empty(height * width, out_channels, in_channels * kernel_size**2))
        self.bias = nn.Parameter(torch.empty(out_channels, height, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ±1/sqrt(fan-in), torch's habit; a network's own initialisation replaces it."""
        bound = self.weight.shape[2] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        patches = F.unfold(x, self.kernel_size, stride=self.stride)  # [N, in·k·k, H'W']
        sums = torch.bmm(self.weight, patches.permute(2, 1, 0))  # [H'W', out, N]
        return sums.permute(2, 1, 0).reshape(-1, *self.bias.shape) + self.bias

    def extra_repr(self) -> str:
        sizes = f"{self.in_channels}, {self.out_channels}, input_size={self.input_size}"
        return f"{sizes}, kernel_size={self.kernel_size}, stride={self.stride}"
