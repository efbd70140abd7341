"""Parts of an image's channels, and maps out of vectors."""

from __future__ import annotations

import math

from torch import Tensor, nn


class ChannelSlice(nn.Module):
    """`count` channels from `first` on: [N, C, H, W] → [N, count, H, W]. ValueError for numbers below 0 and 1."""

    def __init__(self, first: int, count: int) -> None:
        super().__init__()
        if first < 0 or count < 1:
            raise ValueError(f"ChannelSlice({first}, {count}): from 0 on, one or more")
        self.first, self.count = first, count

    def forward(self, x: Tensor) -> Tensor:
        return x.narrow(1, self.first, self.count)

    def extra_repr(self) -> str:
        return f"{self.first}, {self.count}"


class ToMaps(nn.Module):
    """A vector cut into maps, row by row: [N, C·H·W] → [N, C, H, W] with the `shape` (C, H, W)."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), *self.shape)

    def extra_repr(self) -> str:
        return f"{math.prod(self.shape)} → {self.shape}"
