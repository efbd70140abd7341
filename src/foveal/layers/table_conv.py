"""Convolution in which each output map sees only the input maps that a connection table lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TableConv2d(nn.Module):
    """Valid convolution, stride 1, between listed pairs of maps: [N, C, H, W] → [N, len(table), H-k+1, W-k+1].

    LeCun et al. (1998), section II.B and table I, layer C3. `table[o]` lists the input maps that output map o reads.
    `weight` [connections, k, k] holds one kernel for each listed pair, in the table's order, `bias` [len(table)] one
    number a map: no parameter exists for a pair that is not listed. Raises ValueError for a map that does not exist or
    is listed twice.
    """

    def __init__(self, in_channels: int, table: Sequence[Sequence[int]], kernel_size: int) -> None:
        super().__init__()
        for row in table:
            if not row or len(set(row)) != len(row) or not all(0 <= i < in_channels for i in row):
                raise ValueError(f"table row {tuple(row)}: each of 0..{in_channels - 1} at most once, and at least one")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, len(table), kernel_size
        self.table = tuple(tuple(row) for row in table)
        pairs = [o * in_channels + i for o, row in enumerate(self.table) for i in row]
        self.register_buffer("pairs", torch.tensor(pairs))  # places of the kernels in the dense weight
        self.weight = nn.Parameter(torch.empty(len(pairs), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(self.out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ±1/sqrt(fan-in of each map), torch's habit; a network's own initialisation replaces it."""
        for kernels, bias, fan_in in self.maps():
            nn.init.uniform_(kernels, -(fan_in**-0.5), fan_in**-0.5)
            nn.init.uniform_(bias, -(fan_in**-0.5), fan_in**-0.5)

    @torch.no_grad()
    def maps(self) -> list[tuple[Tensor, Tensor, int]]:
        """For each output map: views of its kernels [len(row), k, k] and of its bias [1], and its number of inputs."""
        kernels = torch.split(self.weight, [len(row) for row in self.table])
        return [
            (k, self.bias[o : o + 1], len(row) * self.kernel_size**2)
            for o, (k, row) in enumerate(zip(kernels, self.table, strict=True))
        ]

    def dense_weight(self) -> Tensor:
        """The weight of the equal full convolution, [out, in, k, k], zero for pairs that are not listed."""
        size = self.kernel_size
        dense = self.weight.new_zeros(self.out_channels * self.in_channels, size, size)
        filled = dense.index_copy(0, cast(Tensor, self.pairs), self.weight)
        return filled.view(self.out_channels, self.in_channels, size, size)

    def forward(self, x: Tensor) -> Tensor:
        # One dense convolution with zeros: far faster than sixteen small ones, and equal to them.
        return F.conv2d(x, self.dense_weight(), self.bias)

    def extra_repr(self) -> str:
        sizes = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        return f"{sizes}, connections={len(self.weight)}"
