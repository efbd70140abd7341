"""What each kind of layer looks through, and what it costs: the one table that every pass reads.

A new layer needs one line at the end of this file (or one call of `register` in a user's own code), and shapes, counts,
receptive fields and tables know it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from foveal.errors import FovealError
from foveal.layers.activations import Maxout, ScaledTanh, Step
from foveal.layers.alignment import CropLike, MirrorPad, ResizeLike
from foveal.layers.channels import ChannelSlice, ToMaps
from foveal.layers.contrast import LocalContrastNorm
from foveal.layers.crf import DenseCRF
from foveal.layers.dilated_pool import (
    DilatedAvgPool1d,
    DilatedAvgPool2d,
    DilatedAvgPool3d,
    DilatedMaxPool1d,
    DilatedMaxPool2d,
    DilatedMaxPool3d,
)
from foveal.layers.l2_norm import ScaledL2Norm
from foveal.layers.locally_connected import LocallyConnected2d
from foveal.layers.pooling import CrossChannelPool, GlobalAvgPool2d
from foveal.layers.rbf import RBF
from foveal.layers.shortcut import PadShortcut
from foveal.layers.sliding import DilatedTableConv2d, SlidingLinear, SlidingRBF, Trim
from foveal.layers.subsampling import Subsampling
from foveal.layers.synchronised import SynchronisedBatchNorm, SynchronisedDropout
from foveal.layers.table_conv import TableConv2d
from foveal.layers.total_dropout import TotalDropout
from foveal.layers.unpooling import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d
from foveal.layers.upsampling import BilinearUpsample, FixedUpsample, NearestUpsample, ZeroInsertion

Size = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """The sliding window of a layer: one integer per dimension of the grid (1-D, 2-D or 3-D), in input positions.

    A tuple of length one holds for every dimension, as for pointwise layers, which do not know how many there are.
    `padding` is that before the first position. `ceil`: a last, partial position counts (pooling with ceil_mode).
    `transposed`: the window is written, not read, so that the grid grows by `stride`;
    `extra` is torch's output_padding.
    """

    kernel: Size
    stride: Size
    padding: Size
    dilation: Size
    ceil: bool = False
    transposed: bool = False
    extra: Size = (0,)

    def over(self, dims: int) -> Window:
        """The same window with one number per dimension. Raises ValueError where the numbers of dimensions differ."""
        return replace(
            self,
            kernel=_broadcast(self.kernel, dims),
            stride=_broadcast(self.stride, dims),
            padding=_broadcast(self.padding, dims),
            dilation=_broadcast(self.dilation, dims),
            extra=_broadcast(self.extra, dims),
        )

    @property
    def extent(self) -> Size:
        """First to last position that the window touches, the holes included: (kernel - 1) dilation + 1."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def positions(self, size: Size) -> tuple[float, ...]:
        """(W - F + 2P)/S + 1 per dimension, before rounding: a fraction where the stride does not divide."""
        w = self.over(len(size))
        return tuple((n + 2 * p - e) / s + 1 for n, e, s, p in zip(size, w.extent, w.stride, w.padding, strict=True))

    def output(self, size: Size) -> Size:
        """The size of the output grid for an input grid of `size`; zero or less where the window does not fit."""
        w = self.over(len(size))
        if w.transposed:
            each = zip(size, w.extent, w.stride, w.padding, w.extra, strict=True)
            return tuple((n - 1) * s - 2 * p + e + x for n, e, s, p, x in each)
        return tuple(_fit(n, e, s, p, w.ceil) for n, e, s, p in zip(size, w.extent, w.stride, w.padding, strict=True))


POINTWISE = Window((1,), (1,), (0,), (1,))

WindowRule = Callable[[Any], Window | None]
MacsRule = Callable[[Any, Size, Size], int]


@dataclass(frozen=True)
class _Rule:
    window: WindowRule
    macs: MacsRule | None


_RULES: dict[type[nn.Module], _Rule] = {}


def register(*types: type[nn.Module], macs: MacsRule | None = None) -> Callable[[WindowRule], WindowRule]:
    """Say what layers of `types` look through: `register(MyPool)(lambda layer: Window((2,), (2,), (0,), (1,)))`.

    The function gets the layer and returns its Window, POINTWISE, or None for a layer that sees its whole input
    (Flatten, Linear, adaptive pooling). `macs(layer, input, output)` gives the multiply-adds of one sample from the
    shapes without the batch; it must be given for layers with weight matrices or filters. A registered layer is a leaf
    of every trace.
    """

    def enter(rule: WindowRule) -> WindowRule:
        _RULES.update(dict.fromkeys(types, _Rule(rule, macs)))
        return rule

    return enter


def known(module: nn.Module) -> bool:
    """Whether the layer, or a class that it derives from, is registered."""
    return _rule(module) is not None


def window(module: nn.Module, size: Size | None = None, *, path: str = "") -> Window | None:
    """The window of a layer; None where it sees the whole grid of its input (Flatten, Linear, adaptive pooling).

    With the `size` of the input grid, an adaptive pooling has a window too, if the output size divides it.
    Raises FovealError for a layer that is not registered; `path` is its name for the message.
    """
    rule = _rule(module)
    if rule is None:
        raise unregistered(module, path)
    if size is not None and isinstance(module, ADAPTIVE):
        return _adaptive(module, size, path)
    return rule.window(module)


def macs(module: nn.Module, input: Size, output: Size, *, path: str = "") -> int:
    """Multiply-adds of the layer for one sample of shape `input`; biases, activations, pooling and norms count nothing.

    Raises FovealError for a layer that is not registered, or that has weights and no rule for them.
    """
    rule = _rule(module)
    if rule is None:
        raise unregistered(module, path)
    if rule.macs is not None:
        return rule.macs(module, input, output)
    if any(p.dim() > 1 for p in module.parameters()):
        raise FovealError(
            f"the multiply-adds of {_named(module, path)} are unknown",
            f"give them: foveal.graph.windows.register({type(module).__name__}, macs=…)(…)",
        )
    return 0


def unregistered(module: nn.Module, path: str) -> FovealError:
    """The error for a layer that no pass can see through."""
    return FovealError(
        f"{_named(module, path)} is unknown: foveal cannot tell what it looks at",
        f"register it: foveal.graph.windows.register({type(module).__name__})(lambda layer: Window(…) or POINTWISE)",
    )


def output_sizes(module: nn.Module, size: Size) -> Size:
    """The grid that an adaptive pooling makes of a grid of `size`: its own setting, None standing for «as it is»."""
    wanted: Any = module.output_size
    wanted = wanted if isinstance(wanted, tuple) else (wanted,) * len(size)
    return tuple(n if o is None else o for o, n in zip(wanted, size, strict=True))


def registered(module: nn.Module) -> type[nn.Module] | None:
    """The layer's class, or the nearest one that it derives from, that is in the table."""
    return next((kind for kind in type(module).__mro__ if kind in _RULES), None)


def _rule(module: nn.Module) -> _Rule | None:
    kind = registered(module)
    return None if kind is None else _RULES[kind]


def _named(module: nn.Module, path: str) -> str:
    return f"layer '{path}' ({type(module).__name__})" if path else f"the layer {type(module).__name__}"


def _broadcast(numbers: Size, dims: int) -> Size:
    if len(numbers) not in (1, dims):
        raise ValueError(f"a {len(numbers)}-D window on a {dims}-D grid")
    return numbers * dims if len(numbers) == 1 else numbers


def _fit(size: int, extent: int, stride: int, padding: int, ceil: bool) -> int:
    room = size + 2 * padding - extent
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count  # no window starts in the padding behind


def _conv(conv: nn.Conv2d) -> Window:
    return Window(conv.kernel_size, conv.stride, _padding(conv), conv.dilation)


def _padding(conv: nn.Conv2d) -> Size:
    if conv.padding == "same":  # torch puts the odd one behind
        return tuple(d * (k - 1) // 2 for k, d in zip(conv.kernel_size, conv.dilation, strict=True))
    return (0,) * len(conv.kernel_size) if isinstance(conv.padding, str) else conv.padding


def _transposed(conv: Any) -> Window:
    numbers = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    return Window(*numbers, transposed=True, extra=conv.output_padding)


def _pool(dims: int) -> WindowRule:
    def rule(pool: Any) -> Window:
        def each(numbers: int | Iterable[int]) -> Size:
            return (numbers,) * dims if isinstance(numbers, int) else tuple(numbers)

        kernel, dilation = each(pool.kernel_size), each(getattr(pool, "dilation", 1))
        return Window(kernel, each(pool.stride), each(pool.padding), dilation, pool.ceil_mode)

    return rule


def _adaptive(module: nn.Module, size: Size, path: str) -> Window:
    wanted = output_sizes(module, size)
    if any(n % o for n, o in zip(size, wanted, strict=True)):
        raise FovealError(
            f"{_named(module, path)} cuts {'x'.join(map(str, size))} into {'x'.join(map(str, wanted))} uneven windows",
            "choose an input size whose grid here is a multiple of the output",
        )
    cell = tuple(n // o for n, o in zip(size, wanted, strict=True))
    return Window(cell, cell, (0,) * len(size), (1,) * len(size))


def _conv_macs(conv: nn.Conv2d, input: Size, output: Size) -> int:
    return math.prod(output) * conv.in_channels // conv.groups * math.prod(conv.kernel_size)


def _transposed_macs(conv: nn.ConvTranspose2d, input: Size, output: Size) -> int:
    return math.prod(input) * conv.out_channels // conv.groups * math.prod(conv.kernel_size)


def _linear_macs(linear: nn.Linear, input: Size, output: Size) -> int:
    return math.prod(output) * linear.in_features


def _table_macs(conv: TableConv2d, input: Size, output: Size) -> int:
    return math.prod((input if conv.transposed else output)[1:]) * conv.weight.numel()


def _unshared_macs(layer: LocallyConnected2d, input: Size, output: Size) -> int:
    return layer.weight.numel()


def _distance_macs(rbf: RBF, input: Size, output: Size) -> int:
    return rbf.centres.numel()


def _table(conv: TableConv2d) -> Window:
    extra = (conv.stride - 1 if conv.transposed else 0,) * 2
    numbers = ((conv.kernel_size,) * 2, (conv.stride,) * 2, (conv.padding,) * 2, (1, 1))
    return Window(*numbers, transposed=conv.transposed, extra=extra)


def _valid(layer: Subsampling | LocallyConnected2d) -> Window:
    """Square and unpadded, in two dimensions."""
    stride, dilation = getattr(layer, "stride", 1), getattr(layer, "dilation", 1)
    return Window((layer.kernel_size,) * 2, (stride,) * 2, (0, 0), (dilation,) * 2)


def _contrast(norm: LocalContrastNorm) -> Window:
    """Mean and deviation look one behind the other. The image's mean deviation, a floor for all, is left aside."""
    reach = (norm.size // 2) * (2 if norm.subtractive and norm.divisive else 1)
    return Window((2 * reach + 1,) * 2, (1, 1), (reach,) * 2, (1, 1))


def _sparse(pool: DilatedMaxPool2d) -> Window:
    return Window(pool.kernel_size, pool.stride, pool.padding, pool.dilation)


def _sparse_table(conv: DilatedTableConv2d) -> Window:
    return Window((conv.kernel_size,) * 2, (conv.stride,) * 2, (conv.padding,) * 2, (conv.dilation,) * 2)


def _slid(linear: SlidingLinear) -> Window:
    ones = (1,) * len(linear.kernel_size)
    return Window(linear.kernel_size, ones, (0,) * len(ones), linear.dilation)


def _slid_macs(linear: SlidingLinear, input: Size, output: Size) -> int:
    return math.prod(output[1:]) * linear.weight.numel()


def _slid_distance_macs(rbf: SlidingRBF, input: Size, output: Size) -> int:
    return math.prod(output[1:]) * rbf.centres.numel()


def _unpool(layer: MaxUnpool2d) -> Window:
    return Window(layer.kernel_size, layer.stride, layer.padding, layer.dilation, transposed=True)


def _interpolated(layer: FixedUpsample) -> Window:
    return Window(
        tuple(layer.kernel.shape), (layer.factor,), (layer.padding,), (1,), transposed=True, extra=(layer.extra,)
    )


def _crf_macs(crf: DenseCRF, input: Size, output: Size) -> int:
    """The mixing of labels, once an iteration; the lattice's sums are none of a matrix."""
    return crf.iterations * math.prod(output) * input[0]


def _every(shortcut: PadShortcut) -> Window:
    return Window((1, 1), (shortcut.stride,) * 2, (0, 0), (1, 1))


def _cut(crop: CropLike) -> Window | None:
    """A negative padding; the centre's offset is known only with both sizes."""
    return None if crop.offset is None else Window((1, 1), (1, 1), (-crop.offset,) * 2, (1, 1))


def _mirrored(pad: MirrorPad) -> Window:
    """What is mirrored is seen as padding."""
    return Window((1, 1), (1, 1), (pad.border,) * 2, (1, 1))


def _pointwise(layer: nn.Module) -> Window:
    return POINTWISE


def _whole(layer: nn.Module) -> None:
    return None


ADAPTIVE = (
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    GlobalAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)

GUIDED = (MaxUnpool1d, MaxUnpool2d, MaxUnpool3d, CropLike, ResizeLike, DenseCRF)
"""Layers whose values are those of their first input; the second says where they go or how large the result is."""

register(nn.Conv1d, nn.Conv2d, nn.Conv3d, macs=_conv_macs)(_conv)
register(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, macs=_transposed_macs)(_transposed)
register(nn.Linear, macs=_linear_macs)(_whole)
register(nn.MaxPool1d, nn.AvgPool1d)(_pool(1))
register(nn.MaxPool2d, nn.AvgPool2d)(_pool(2))
register(nn.MaxPool3d, nn.AvgPool3d)(_pool(3))
register(*ADAPTIVE, nn.Flatten, nn.Upsample)(_whole)
register(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish)(_pointwise)
register(nn.Tanh, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, nn.Softmax, nn.LogSoftmax, nn.Softmax2d)(_pointwise)
register(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LocalResponseNorm)(_pointwise)
register(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Identity)(_pointwise)
register(Step, ScaledTanh, Maxout, CrossChannelPool, SynchronisedBatchNorm, SynchronisedDropout)(_pointwise)
register(LocalContrastNorm)(_contrast)
register(Subsampling)(_valid)
register(TableConv2d, macs=_table_macs)(_table)
register(LocallyConnected2d, macs=_unshared_macs)(_valid)
register(PadShortcut)(_every)
register(RBF, macs=_distance_macs)(_whole)
register(DilatedMaxPool1d, DilatedMaxPool2d, DilatedMaxPool3d)(_sparse)
register(DilatedAvgPool1d, DilatedAvgPool2d, DilatedAvgPool3d)(_sparse)
register(DilatedTableConv2d, macs=_table_macs)(_sparse_table)
register(SlidingLinear, macs=_slid_macs)(_slid)
register(MaxUnpool1d, MaxUnpool2d, MaxUnpool3d)(_unpool)
register(ZeroInsertion, NearestUpsample, BilinearUpsample)(_interpolated)
register(SlidingRBF, macs=_slid_distance_macs)(_pointwise)
register(Trim, TotalDropout, ChannelSlice, ScaledL2Norm)(_pointwise)
register(CropLike)(_cut)
register(MirrorPad)(_mirrored)
register(ResizeLike, ToMaps)(_whole)
register(DenseCRF, macs=_crf_macs)(_whole)
