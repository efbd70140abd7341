"""Poolings that torch lacks: over neighbouring filters' maps, of the smallest value, and of whole maps sooner."""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["max", "min", "mean"]


class CrossChannelPool(nn.Module):
    """Largest, smallest or mean of `size` neighbouring maps: [N, C, …] → [N, (C - size)/stride + 1, …], rounded down.

    Where neighbouring filters have learnt one pattern in several rotations, the largest response does not change as the
    image is rotated: an invariance that pooling over space cannot give. `stride` None is `size`; max is then maxout.
    Raises ValueError for an unknown kind and for numbers below 1.
    """

    def __init__(self, size: int, stride: int | None = None, kind: Kind = "max") -> None:
        super().__init__()
        if kind not in get_args(Kind) or size < 1 or (stride is not None and stride < 1):
            raise ValueError(f"CrossChannelPool({size}, stride={stride}, kind={kind!r}): max, min or mean of 1 or more")
        self.size, self.stride, self.kind = size, size if stride is None else stride, kind

    def forward(self, x: Tensor) -> Tensor:
        groups = x.unfold(1, self.size, self.stride)  # [N, maps, …, size]
        if self.kind == "mean":
            return groups.mean(-1)
        return groups.amax(-1) if self.kind == "max" else groups.amin(-1)

    def extra_repr(self) -> str:
        return f"size={self.size}, stride={self.stride}, kind={self.kind}"


class MinPool2d(nn.MaxPool2d):
    """The smallest value of each window, with nn.MaxPool2d's options: [N, C, H, W] → [N, C, H', W']."""

    def forward(self, input: Tensor) -> Tensor:
        options = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return -F.max_pool2d(-input, *options)


class GlobalAvgPool2d(nn.AdaptiveAvgPool2d):
    """The mean of each map: [N, C, H, W] → [N, C, 1, 1].

    nn.AdaptiveAvgPool2d(1), whose gradient has its channels first also for maps that have them last: in a residual
    network that reaches every block of the last stage through its shortcuts, and mixed layouts are slow.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, input: Tensor) -> Tensor:
        if input.stride(1) == 1:  # channels last
            return input.permute(0, 2, 3, 1).mean((1, 2))[:, :, None, None]
        return input.mean((2, 3), keepdim=True)
