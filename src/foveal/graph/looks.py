"""The arithmetic of layers with windows, stride, holes and padding given apart: what `slide` calls part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from foveal.graph.swap import strangeness
from foveal.graph.windows import ADAPTIVE, Size, Window, output_sizes, window
from foveal.layers import dilated_pool as pools
from foveal.layers.shortcut import PadShortcut
from foveal.layers.sliding import SlidingLinear
from foveal.layers.subsampling import Subsampling
from foveal.layers.table_conv import TableConv2d

Sides = list[tuple[int, int]]


@dataclass(frozen=True)
class Look:
    """How one part is looked at: one number or pair per dimension. `kernel` is the layer's own.

    `sides` are the positions to pad with, `real` those of them that the layer itself pads with, the others standing
    beyond the end because the layer rounds up.
    """

    kernel: Size
    stride: Size
    dilation: Size
    sides: Sides
    real: Sides


Rule = Callable[[Any, Tensor, Look], Tensor]


def rule(module: nn.Module, seen: Window | None) -> Rule | None:
    """The function (module, [N, C, *grid], look) → [N, C', *grid'] of a layer; None where there is no exact one.

    `seen` is the layer's window with one number per dimension.
    """
    if seen is None or seen.transposed or strangeness(module) or getattr(module, "return_indices", False):
        return None
    if getattr(module, "padding_mode", "zeros") != "zeros" and any(seen.padding):
        return None
    if getattr(module, "padding", None) == "same" and any(e % 2 == 0 for e in seen.extent):
        return None  # padded more on one side
    return next((_RULES[kind] for kind in type(module).__mro__ if kind in _RULES), None)


def window_at(module: nn.Module, size: Size, path: str) -> Window | None:
    """The window of a layer on a grid of `size`, with one number per dimension; None for one without."""
    uneven = isinstance(module, ADAPTIVE) and any(n % o for n, o in zip(size, output_sizes(module, size), strict=True))
    seen = None if uneven else window(module, size, path=path)
    return None if seen is None or len(seen.kernel) not in (1, len(size)) else seen.over(len(size))


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, look: Look, groups: int = 1) -> Tensor:
    """Convolution with zeros at the sides."""
    conv: Any = (F.conv1d, F.conv2d, F.conv3d)[len(look.kernel) - 1]
    padding: int | Size = 0
    if all(before == behind for before, behind in look.sides):
        padding = tuple(before for before, _ in look.sides)  # saves a copy
    else:
        x = pools.padded(x, look.sides)
    result: Tensor = conv(x, weight, bias, look.stride, padding, look.dilation, groups)
    return result


def _conv(module: nn.Conv2d, x: Tensor, look: Look) -> Tensor:
    return convolve(x, module.weight, module.bias, look, module.groups)


def _linear(module: SlidingLinear, x: Tensor, look: Look) -> Tensor:
    weight = module.weight.view(module.out_channels, module.in_channels, *module.kernel_size)
    return convolve(x, weight, module.bias, look)


def _table(module: TableConv2d, x: Tensor, look: Look) -> Tensor:
    return convolve(x, module.dense_weight(), module.bias, look)


def _max(module: nn.Module, x: Tensor, look: Look) -> Tensor:
    return pools.window_max(x, look.kernel, look.stride, look.dilation, look.sides)


def _mean(module: Any, x: Tensor, look: Look) -> Tensor:
    counted: Sequence[tuple[int, int]] = look.real
    if not getattr(module, "count_include_pad", True):
        counted = [(0, 0)] * len(look.kernel)
    if not getattr(module, "divisor_override", None):
        return pools.window_mean(x, look.kernel, look.stride, look.dilation, sides=look.sides, counted=counted)
    total = pools.window_sum(pools.padded(x, look.sides), look.kernel, look.stride, look.dilation)
    mean: Tensor = total / module.divisor_override
    return mean


def _subsampling(module: Subsampling, x: Tensor, look: Look) -> Tensor:
    total = pools.window_sum(x, look.kernel, look.stride, look.dilation)
    return total * module.weight[:, None, None] + module.bias[:, None, None]


def _shortcut(module: PadShortcut, x: Tensor, look: Look) -> Tensor:
    return F.pad(
        x[:, :, :: look.stride[0], :: look.stride[1]], (0, 0, 0, 0, 0, module.out_channels - module.in_channels)
    )


_RULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _conv),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _max),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _mean),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), _max),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _mean),
    SlidingLinear: _linear,
    Subsampling: _subsampling,
    TableConv2d: _table,
    PadShortcut: _shortcut,
}
