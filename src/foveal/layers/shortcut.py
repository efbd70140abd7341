"""The residual networks' parameter-free shortcut."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Thinned(torch.autograd.Function):
    """x[:, :, ::stride, ::stride] with a gradient in the memory layout of x. Autograd's own is never channels last, and
    all that it is added to would be read against the grain: a tenth of ResNet-20's training on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> Tensor:
        last = x.is_contiguous(memory_format=torch.channels_last)
        ctx.shape, ctx.layout = x.shape, torch.channels_last if last else torch.contiguous_format
        ctx.stride = stride
        return x[:, :, ::stride, ::stride]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        whole = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=ctx.layout).zero_()
        whole[:, :, :: ctx.stride, :: ctx.stride] = gradient
        return whole, None


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
        thinned: Tensor = _Thinned.apply(x, self.stride)
        return F.pad(thinned, (0, 0, 0, 0, 0, missing))

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"
