"""Local contrast normalisation: what a neighbourhood has in common is taken away, in mean and in spread."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalContrastNorm(nn.Module):
    """h = (h - mean) / deviation over the neighbourhood in space and all maps: [N, C, H, W] → the same shape.

    Jarrett, Kavukcuoglu, Ranzato, LeCun (2009), section 3.1: the weights of the neighbourhood are a Gaussian window of
    `size` x `size` (odd), its standard deviation a quarter of that, over all maps, with sum 1. Subtractive: each value
    less the weighted mean around it. Divisive: divided by the weighted deviation σ around it (the root of the weighted
    mean square of what the subtraction leaves), but at least by `floor`, by default the image's mean of σ. At the
    borders the weights inside the image alone count, and sum to 1 there too. No parameters.
    Raises ValueError for an even size, and where neither part is asked for.
    """

    window: Tensor

    def __init__(
        self, size: int = 9, *, subtractive: bool = True, divisive: bool = True, floor: float | None = None
    ) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(f"size={size}: a neighbourhood has a middle, so give an odd number")
        if not (subtractive or divisive):
            raise ValueError("subtractive=False and divisive=False leave nothing to do")
        self.size, self.subtractive, self.divisive, self.floor = size, subtractive, divisive, floor
        offsets = torch.arange(size, dtype=torch.float32) - size // 2
        gaussian = torch.exp(-(offsets**2) / (2 * (size / 4) ** 2))
        self.register_buffer("window", gaussian / gaussian.sum(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        coverage = self._sums(torch.ones_like(x[:1, :1]))  # below 1 at the borders
        if self.subtractive:
            x = x - self._sums(x.mean(1, keepdim=True)) / coverage
        if not self.divisive:
            return x
        variance = self._sums(x.square().mean(1, keepdim=True)) / coverage
        tiny = torch.finfo(x.dtype).tiny  # of a flat image; the root's derivative at 0 is infinite
        deviation = torch.sqrt(variance.clamp_min(tiny))
        if self.floor is not None:
            return x / deviation.clamp_min(self.floor)
        return x / torch.maximum(deviation, deviation.mean((2, 3), keepdim=True))

    def _sums(self, x: Tensor) -> Tensor:
        """Weighted sums of one map, [N, 1, H, W]: the window is the product of its rows and columns."""
        window, pad = self.window.to(x.dtype), self.size // 2
        rows = F.conv2d(x, window.view(1, 1, -1, 1), padding=(pad, 0))
        return F.conv2d(rows, window.view(1, 1, 1, -1), padding=(0, pad))

    def extra_repr(self) -> str:
        parts = f"subtractive={self.subtractive}, divisive={self.divisive}, floor={self.floor}"
        return f"size={self.size}, {parts}"
