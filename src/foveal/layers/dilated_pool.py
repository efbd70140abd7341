"""Pooling over windows with holes, in one to three dimensions; `foveal.graph.dilate` puts them where strides were.

H. Li, R. Zhao, X. Wang, «Highly efficient forward and backward propagation of convolutional neural networks for
pixelwise classification», arXiv 1412.4526, section 3.2: d-regularly sparse pooling kernels. nn.MaxPool2d refuses a
padding above half the kernel, which a dilated window may need, and nn.AvgPool2d has no dilation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sides = Sequence[tuple[int, int]]
"""Positions added before and behind, per dimension of the grid."""


def padded(x: Tensor, sides: Sides, value: float = 0.0) -> Tensor:
    """[N, C, *grid] → the same with `value` added at the sides; x itself where nothing is to be added."""
    if not any(before or behind for before, behind in sides):
        return x
    return F.pad(x, [n for side in reversed(sides) for n in side], value=value)


def window_max(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], sides: Sides
) -> Tensor:
    """Largest value of each window, [N, C, *grid] → [N, C, *grid']; positions at the sides are never the largest."""
    x = padded(x, sides, float("-inf"))
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _folded(x, kernel, stride, dilation, torch.maximum)  # faster on the CPU
    # torch's own kernel, as in undilated pooling: of equal values the same one then gets the gradient.
    pool: Any = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    result: Tensor = pool(x, tuple(kernel), tuple(stride), dilation=tuple(dilation))
    return result


def window_sum(x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """Sum of each window, [N, C, *grid] → [N, C, *grid']."""
    return _folded(x, kernel, stride, dilation, torch.add)


def _folded(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    join: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Each window joined to one value, dimension after dimension, as moved slices of the whole map."""
    for dim, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True), start=2):
        reach = (x.shape[dim] - (k - 1) * d - 1) // s * s + 1
        if reach < 1:
            raise RuntimeError(f"a window of {(k - 1) * d + 1} positions on {x.shape[dim]}")
        slices = [x[(slice(None),) * dim + (slice(j * d, j * d + reach, s),)] for j in range(k)]
        x = reduce(join, slices)
    return x


def window_mean(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    *,
    sides: Sides,
    counted: Sides,
) -> Tensor:
    """Mean of each window, [N, C, *grid] → [N, C, *grid'].

    `sides` are zeros to add; the part of them that stands in `counted` belongs to the positions that are divided by.
    """
    total = window_sum(padded(x, sides), kernel, stride, dilation)
    if list(counted) == list(sides):
        return total / math.prod(kernel)
    grid = [n + before + behind for n, (before, behind) in zip(x.shape[2:], counted, strict=True)]
    rest = [(a - b, c - d) for (a, c), (b, d) in zip(sides, counted, strict=True)]
    return total / window_sum(padded(x.new_ones(1, 1, *grid), rest), kernel, stride, dilation)


class _DilatedPool(nn.Module):
    """Numbers of the window, one per dimension."""

    dims: int

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        behind: int | Sequence[int] = 0,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = self._each(kernel_size), self._each(stride)
        self.padding, self.dilation, self.behind = self._each(padding), self._each(dilation), self._each(behind)

    def _each(self, numbers: int | Sequence[int]) -> tuple[int, ...]:
        return (numbers,) * self.dims if isinstance(numbers, int) else tuple(numbers)

    @property
    def sides(self) -> list[tuple[int, int]]:
        """Positions added to the grid."""
        return [(p, p + b) for p, b in zip(self.padding, self.behind, strict=True)]

    def extra_repr(self) -> str:
        numbers = f"{self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}"
        return numbers + (f", behind={self.behind}" if any(self.behind) else "")


class _DilatedMaxPool(_DilatedPool):
    def forward(self, x: Tensor) -> Tensor:
        return window_max(x, self.kernel_size, self.stride, self.dilation, self.sides)


class _DilatedAvgPool(_DilatedPool):
    def __init__(self, *numbers: int | Sequence[int], count_include_pad: bool = True, **named: Any) -> None:
        super().__init__(*numbers, **named)
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        counted = [(p, p) if self.count_include_pad else (0, 0) for p in self.padding]
        return window_mean(x, self.kernel_size, self.stride, self.dilation, sides=self.sides, counted=counted)


class DilatedMaxPool1d(_DilatedMaxPool):
    """Maximum over windows with holes, [N, C, L] → [N, C, L']; as DilatedMaxPool2d."""

    dims = 1


class DilatedMaxPool2d(_DilatedMaxPool):
    """Maximum over windows with holes: [N, C, H, W] → [N, C, H', W'] with H' = (H + 2p + b - (k-1)d - 1)/s + 1.

    `padding` p of any size, of minus infinity; `behind` b: so much more of it below and at the right, for poolings that
    round up (ceil_mode). One number holds for both dimensions. Raises RuntimeError where the window does not fit.
    """

    dims = 2


class DilatedMaxPool3d(_DilatedMaxPool):
    """Maximum over windows with holes, [N, C, D, H, W] → [N, C, D', H', W']; as DilatedMaxPool2d."""

    dims = 3


class DilatedAvgPool1d(_DilatedAvgPool):
    """Mean over windows with holes, [N, C, L] → [N, C, L']; as DilatedAvgPool2d."""

    dims = 1


class DilatedAvgPool2d(_DilatedAvgPool):
    """Mean over windows with holes: [N, C, H, W] → [N, C, H', W'] with H' as for DilatedMaxPool2d.

    The padding's zeros are divided by as well, unless `count_include_pad` is False; those `behind` never are.
    """

    dims = 2


class DilatedAvgPool3d(_DilatedAvgPool):
    """Mean over windows with holes, [N, C, D, H, W] → [N, C, D', H', W']; as DilatedAvgPool2d."""

    dims = 3
