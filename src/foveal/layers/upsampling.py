"""Upsampling as convolution: zeros between the positions, nearest and bilinear interpolation, and learned kernels.

V. Dumoulin, F. Visin, «A guide to convolution arithmetic for deep learning», arXiv 1603.07285, chapter 4; J. Long,
E. Shelhamer, T. Darrell, «Fully convolutional networks for semantic segmentation», CVPR 2015, section 3.3: each of them
is a transposed convolution of stride f, fixed or learned, and differs in the kernel alone.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def bilinear_kernel(factor: int) -> Tensor:
    """The triangle that interpolates along one dimension, float64 [2f - f mod 2], where positions are pixels' centres.

    f = 2: 1/4, 3/4, 3/4, 1/4. In two dimensions the kernel is the outer product of two, in three of three. Raises
    ValueError for a factor below 1.
    """
    size = 2 * _whole(factor) - factor % 2
    distance = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs()
    return 1 - distance / factor


@torch.no_grad()
def init_bilinear(conv: nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d) -> None:
    """Start a transposed convolution as bilinear interpolation of each map by itself; biases become 0.

    Raises ValueError unless it has as many maps out as in, and the kernel and padding of a whole factor (see
    `bilinear_transposed`).
    """
    factors = conv.stride
    sizes = tuple(2 * f - f % 2 for f in factors)
    if conv.in_channels != conv.out_channels or conv.kernel_size != sizes:
        raise ValueError(
            f"bilinear interpolation by {factors} needs a kernel of {sizes} and as many maps out as in, not "
            f"{conv.kernel_size}, {conv.in_channels} → {conv.out_channels}"
        )
    kernel = reduce(torch.multiply, torch.meshgrid([bilinear_kernel(f) for f in factors], indexing="ij"))
    conv.weight.zero_()
    group = conv.out_channels // conv.groups
    for i in range(conv.in_channels):
        conv.weight[i, i % group] = kernel.to(conv.weight)
    if conv.bias is not None:
        conv.bias.zero_()


def bilinear_transposed(
    channels: int, factor: int, *, dims: int = 2, groups: int = 1
) -> nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d:
    """FCN's learned upsampling: [N, C, H, W] → [N, C, f·H, f·W], bilinear interpolation to begin with.

    An ordinary transposed convolution without bias, kernel 2f - f mod 2 and stride f, which training changes; each of
    its maps may read all others (groups=1) or itself alone (groups=channels). Beyond the borders it sees zeros.
    `weight.requires_grad_(False)` makes it the paper's fixed upsampling.
    """
    kinds: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    padding = math.ceil((factor - 1) / 2)
    conv: nn.ConvTranspose2d = kinds[dims - 1](
        channels, channels, 2 * factor - factor % 2, factor, padding, groups=groups, bias=False
    )
    init_bilinear(conv)
    return conv


class FixedUpsample(nn.Module):
    """A fixed kernel, the same for every map, as a transposed convolution of stride `factor`: [N, C, *grid] → larger.

    One to three dimensions. The kernel is a buffer that no checkpoint holds: the factor says it all.
    `padding` positions are left out at each side of the result, and `extra` zeros added behind. `around` positions are
    first repeated at each border.
    """

    def __init__(self, factor: int, kernel: Tensor, padding: int = 0, extra: int = 0, around: int = 0) -> None:
        super().__init__()
        self.factor, self.padding, self.extra, self.around = factor, padding, extra, around
        self.kernel: Tensor
        self.register_buffer("kernel", kernel.to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        dims = x.dim() - 2
        if self.around:
            x = F.pad(x, (self.around,) * 2 * dims, mode="replicate")
        kernel = self.kernel.to(x.dtype)
        for _ in range(dims - 1):
            kernel = kernel[..., None] * self.kernel.to(x.dtype)
        conv: Any = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dims - 1]
        padding = self.padding + self.around * self.factor
        # Depthwise with one kernel for all: the maps are a batch.
        y: Tensor = conv(x.flatten(0, 1)[:, None], kernel[None, None], None, self.factor, padding, self.extra)
        return y.view(*x.shape[:2], *y.shape[2:])

    def extra_repr(self) -> str:
        return f"{self.factor}"


class Interpolation(nn.Module):
    """What a transposed convolution does that `init_bilinear` has started, all along its kernel: [N, C, H, W] →
    [N, C, f·(H - 1) + 2f - f mod 2, …]. It is bilinear interpolation, zeros beyond the borders, in much less time."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = _whole(factor)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=self.factor, mode="bilinear", align_corners=False)
        cut = (self.factor + 1) // 2
        return wide[:, :, cut:-cut, cut:-cut]

    def extra_repr(self) -> str:
        return f"{self.factor}"


class ZeroInsertion(FixedUpsample):
    """Zeros between the positions: [N, C, H, W] → [N, C, f·H, f·W], whose every f-th value from the first is the map's.

    A convolution behind it is a transposed convolution. Raises ValueError for a factor below 1.
    """

    def __init__(self, factor: int) -> None:
        super().__init__(_whole(factor), torch.ones(1), extra=factor - 1)


class NearestUpsample(FixedUpsample):
    """Every value f times in each dimension, the kernel all ones: [N, C, H, W] → [N, C, f·H, f·W].

    Raises ValueError for a factor below 1.
    """

    def __init__(self, factor: int) -> None:
        super().__init__(_whole(factor), torch.ones(factor))


class BilinearUpsample(FixedUpsample):
    """Bilinear interpolation (linear, trilinear), border values repeated outwards: [N, C, H, W] → [N, C, f·H, f·W].

    Positions are pixels' centres, as in nn.Upsample with align_corners=False, which it equals. `corners`: positions are
    points; the values stay where they are, with f - 1 between: → [N, C, f·(H - 1) + 1, …], as align_corners=True of
    that size. Raises ValueError for a factor below 1.
    """

    def __init__(self, factor: int, *, corners: bool = False) -> None:
        if corners:
            rise = torch.arange(1, _whole(factor) + 1, dtype=torch.float64) / factor
            super().__init__(factor, torch.cat((rise, rise[:-1].flip(0))), padding=factor - 1)
        else:
            super().__init__(factor, bilinear_kernel(factor), padding=math.ceil((factor - 1) / 2), around=1)
        self.corners = corners

    def extra_repr(self) -> str:
        return super().extra_repr() + (", corners=True" if self.corners else "")


def _whole(factor: int) -> int:
    if factor < 1:
        raise ValueError(f"upsampling by {factor}: a whole number from 1")
    return factor
