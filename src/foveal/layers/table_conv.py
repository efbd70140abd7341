"""Convolution in which each output map sees only the input maps that a connection table lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight


class _Convolution(torch.autograd.Function):
    """F.conv2d on a CPU, with the gradients of `convolution_gradients`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, window: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window = window  # stride and padding
        return F.conv2d(x, weight, bias, *window)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x, _, to_bias, _ = ctx.needs_input_grad
        return *convolution_gradients(x, weight, gradient, (to_x, to_bias), ctx.window), None


def convolution_gradients(
    x: Tensor, weight: Tensor, gradient: Tensor, wanted: tuple[bool, bool], window: tuple[int, int] = (1, 0)
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Gradients of x (in its layout), weight and bias of F.conv2d, for few channels on a CPU.

    There the weights' gradient is found faster with channels last, and that of the input without. wanted:
    whether that of x and that of the bias are, else they are None. window: stride and padding.
    """
    to_x = to_bias = None
    if wanted[0]:
        planes = weight.contiguous(), gradient.contiguous()
        if window == (1, 0):  # as a convolution of its own it is faster
            edge = weight.shape[2] - 1, weight.shape[3] - 1
            to_x = F.conv2d(planes[1], planes[0].flip(2, 3).transpose(0, 1).contiguous(), padding=edge)
        else:
            to_x = conv2d_input(x.shape, *planes, *window)  # type: ignore[no-untyped-call]
        if not x.is_contiguous():
            to_x = to_x.contiguous(memory_format=torch.channels_last)
    last = [t.contiguous(memory_format=torch.channels_last) for t in (x, gradient)]
    to_weight = conv2d_weight(last[0], weight.shape, last[1], *window)  # type: ignore[no-untyped-call]
    if wanted[1]:
        to_bias = last[1].permute(0, 2, 3, 1).sum(0).sum((0, 1))  # faster than in one step
    return to_x, to_weight, to_bias


class TableConv2d(nn.Module):
    """Convolution between listed pairs of maps, [N, C, H, W] → [N, len(table), H-k+1, W-k+1] without the options.

    LeCun et al. (1998), section II.B and table I, layer C3. `table[o]` lists the input maps that output map o reads.
    `weight` [connections, k, k] holds one kernel for each listed pair, in the table's order, `bias` [len(table)] one
    number a map: no parameter exists for a pair that is not listed. `stride`, `padding` and `bias` are nn.Conv2d's;
    `transposed` makes it nn.ConvTranspose2d with output_padding = stride - 1: grids grow by the stride. Raises
    ValueError for a map that does not exist or is listed twice.
    """

    def __init__(
        self,
        in_channels: int,
        table: Sequence[Sequence[int]],
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        *,
        transposed: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        for row in table:
            if not row or len(set(row)) != len(row) or not all(0 <= i < in_channels for i in row):
                raise ValueError(f"table row {tuple(row)}: each of 0..{in_channels - 1} at most once, and at least one")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, len(table), kernel_size
        self.stride, self.padding, self.transposed = stride, padding, transposed
        self.table = tuple(tuple(row) for row in table)
        pairs = [o * in_channels + i for o, row in enumerate(self.table) for i in row]
        self.register_buffer("pairs", torch.tensor(pairs))  # places of the kernels in the dense weight
        self.weight = nn.Parameter(torch.empty(len(pairs), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(self.out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ±1/sqrt(fan-in of each map), torch's habit; a network's own initialisation replaces it."""
        for tensors, fan_in in self.maps():
            for tensor in tensors:
                nn.init.uniform_(tensor, -(fan_in**-0.5), fan_in**-0.5)

    @torch.no_grad()
    def maps(self) -> list[tuple[tuple[Tensor, ...], int]]:
        """For each output map: views of its kernels [len(row), k, k] and, if there is one, of its bias [1]; its number
        of inputs."""
        kernels = torch.split(self.weight, [len(row) for row in self.table])
        return [
            ((k,) if self.bias is None else (k, self.bias[o : o + 1]), len(row) * self.kernel_size**2)
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
        if self.transposed:
            weight = self.dense_weight().transpose(0, 1)
            return F.conv_transpose2d(x, weight, self.bias, self.stride, self.padding, self.stride - 1)
        if x.device.type == "cpu" and x.is_contiguous() and not torch.is_autocast_enabled("cpu"):
            y: Tensor = _Convolution.apply(x, self.dense_weight(), self.bias, (self.stride, self.padding))
            return y
        return F.conv2d(x, self.dense_weight(), self.bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        sizes = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        return f"{sizes}, connections={len(self.weight)}"
