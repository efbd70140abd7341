"""Layers that make a vector of an image, slid over larger ones; `foveal.graph.convolutionalize` puts them in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.layers.rbf import RBF
from foveal.layers.table_conv import TableConv2d

_POSITIONS = 1024  # whose inputs are put side by side at once


class SlidingLinear(nn.Module):
    """A fully connected layer as the convolution that it is: C×M×M inputs → N kernels of C×M×M.

    Long, Shelhamer and Darrell (2015), section 3.1; Sermanet et al. (2014), section 3.5. `weight` [out, C·M·M] and
    `bias` [out] keep nn.Linear's shapes, so that a state_dict goes both ways; [N, C, *grid] → [N, out, *grid'] with
    grid' = grid - dilation (M - 1). `grid` are the sides M, one number per dimension (one to three).
    """

    def __init__(self, linear: nn.Linear, channels: int, grid: Sequence[int], dilation: Sequence[int] = ()) -> None:
        super().__init__()
        self.in_channels, self.out_channels = channels, linear.out_features
        self.kernel_size = tuple(grid)
        self.dilation = tuple(dilation) or (1,) * len(self.kernel_size)
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        if len(self.kernel_size) == 2 and x.device.type == "cpu" and not torch.is_grad_enabled():
            return self._products(x)
        conv: Any = (F.conv1d, F.conv2d, F.conv3d)[len(self.kernel_size) - 1]
        kernels = self.weight.view(self.out_channels, self.in_channels, *self.kernel_size)
        # Weights lie as in nn.Linear: a CPU is slow to multiply them with maps whose channels come last.
        result: Tensor = conv(x.contiguous(), kernels, self.bias, dilation=self.dilation)
        return result

    def _products(self, x: Tensor) -> Tensor:
        """The same as products of matrices: a convolution would lay out all weights anew, 411 MB of them in VGG-16.

        Each product is a 1x1 convolution in which the weights are the image and what the positions see the kernels,
        so that only the latter are laid out: torch's product of float32 matrices is slower on some CPUs (AMD's).
        """
        (height, width), (down, across) = self.kernel_size, self.dilation
        rows, columns = x.shape[2] - down * (height - 1), x.shape[3] - across * (width - 1)
        weights = self.weight[None, :, None].permute(0, 3, 1, 2)  # [1, C·M·M, out, 1], channels last
        result = x.new_empty(len(x), self.out_channels, rows, columns)
        step = max(1, _POSITIONS // columns)
        for image, scores in zip(x, result, strict=True):
            for top in range(0, rows, step):
                seen = F.unfold(image[:, top : top + step + down * (height - 1)], self.kernel_size, self.dilation)
                product = F.conv2d(weights, seen.t().contiguous()[:, :, None, None])  # [1, positions, out, 1]
                scores[:, top : top + step] = product[0, :, :, 0].t().reshape(self.out_channels, -1, columns)
        return result if self.bias is None else result.add_(self.bias[:, None, None])

    def extra_repr(self) -> str:
        sizes = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        return f"{sizes}, dilation={self.dilation}"


class SlidingRBF(RBF):
    """Radial basis function units at every position of a map: [N, D, *grid] → [N, C, *grid]."""

    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x.movedim(1, -1).flatten(0, -2))  # [positions, C]
        return scores.view(x.shape[0], *x.shape[2:], -1).movedim(-1, 1)


class DilatedTableConv2d(TableConv2d):
    """TableConv2d over windows with holes: [N, C, H, W] → [N, len(table), H', W']."""

    stride: int
    padding: int
    dilation: int

    @classmethod
    def of(cls, conv: TableConv2d, stride: int, dilation: int) -> DilatedTableConv2d:
        """The layer with the weights of `conv`."""
        new = cls.__new__(cls)
        new.__dict__.update(conv.__dict__)
        new.stride, new.dilation = stride, getattr(conv, "dilation", 1) * dilation
        new.padding = getattr(conv, "padding", 0) * dilation
        return new

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.dense_weight(), self.bias, self.stride, self.padding, self.dilation)


class Trim(nn.Module):
    """Leaves out the last positions of each dimension: [N, C, *grid] → [N, C, *(grid - behind)]."""

    def __init__(self, behind: Sequence[int]) -> None:
        super().__init__()
        self.behind = tuple(behind)

    def forward(self, x: Tensor) -> Tensor:
        for dim, count in enumerate(self.behind, start=2):
            x = x.narrow(dim, 0, x.shape[dim] - count)
        return x

    def extra_repr(self) -> str:
        return f"{self.behind}"
