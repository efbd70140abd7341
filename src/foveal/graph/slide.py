"""A classifier at every position of an image, exactly as if each patch had been cut out and given to it."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from foveal.errors import FovealError
from foveal.graph.convolutionalize import ELEMENTWISE
from foveal.graph.looks import Look, convolve, rule, window_at
from foveal.graph.patches import OWN_FIRST, SHARED, Axis, Patches, Want
from foveal.graph.shapes import check_input, ghost, shapes, text
from foveal.graph.swap import strangeness
from foveal.graph.trace import trace
from foveal.graph.windows import Size, Window
from foveal.layers.synchronised import SynchronisedDropout

_IN_PLACE = (operator.iadd, "add_")
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class Slider:
    """A traced network, ready for images: `Slider(model, input)(images)`. The model's own weights are used.

    `stride` is one number or one per dimension, in pixels. Raises FovealError for what `trace` and `shapes` refuse and
    for a network whose output for one patch is no vector.
    """

    def __init__(self, model: nn.Module, input: Size, stride: int | Size = 1) -> None:
        check_input(input)
        dims = len(input) - 1
        self.input, self.size = input, input[1:]
        self.stride = (stride,) * dims if isinstance(stride, int) else tuple(stride)
        if not dims or len(self.stride) != dims or any(not isinstance(n, int) or n < 1 for n in self.stride):
            raise FovealError(f"stride={stride!r} for patches of {text(input)}", "give a whole number of pixels from 1")
        last = shapes(model, input)[-1]
        if any(n != 1 for n in last.output[1:]):
            raise FovealError(
                f"the network makes {text(last.output)} of a patch of {text(input)}, not one vector of scores",
                "give the patch for which the map has one position, as input=(C, h, w)",
            )
        self.graph = trace(model)
        for node in self.graph.graph.nodes:
            if node.target in _IN_PLACE and len(node.args[0].users) > 1:
                raise FovealError(
                    f"the join '{node.meta['path']}' changes a map in place that is used elsewhere too", "write x + y"
                )

    def __call__(self, images: Tensor) -> Tensor:
        """images [N, C, *grid] → scores [N, classes, *positions], differentiable. Patch i starts at pixel i · stride.

        Raises FovealError for images that are smaller than a patch.
        """
        return self._run(images, self.graph)[0]

    def memory(self, grid: Size, itemsize: int = 4) -> int:
        """Bytes of the values that are alive at once, about, for one image of `grid` positions."""
        image = torch.empty((1, self.input[0], *grid), device="meta")
        with torch.no_grad():
            return self._run(image, fx.GraphModule(_meta(self.graph), self.graph.graph))[1] * itemsize // 4

    def _run(self, images: Tensor, graph: fx.GraphModule) -> tuple[Tensor, int]:
        if images.dim() != len(self.input) + 1 or images.shape[1] != self.input[0]:
            raise FovealError(
                f"images of shape {text(tuple(images.shape))} for patches of {text(self.input)}",
                "give a batch with as many channels: [N, C, H, W]",
            )
        if any(n < p for n, p in zip(images.shape[2:], self.size, strict=True)):
            raise FovealError(
                f"an image of {text(tuple(images.shape[1:]))} holds no patch of {text(self.input)}",
                "give a larger one, or pad it",
            )
        patches = Patches.of(images, self.size, self.stride)
        interpreter = _Interpreter(graph)
        scores = interpreter.run(patches)
        counts = [axis.count for axis in patches.axes]
        return scores.reshape(len(images), *counts, -1).movedim(-1, 1), interpreter.peak


def slide(model: nn.Module, images: Tensor, input: Size, stride: int | Size = 1) -> Tensor:
    """The network's scores at every patch of the images, equal to patch by patch, to rounding, and differentiable.

    images [N, C, H, W] with patches of shape `input` = (C, h, w), `stride` pixels apart → [N, classes, H', W'] with
    H' = (H - h)/stride + 1, rounded down; position (i, j) is `model(images[:, :, i·stride : i·stride + h, …])`.
    Sequences and volumes likewise. Any traceable network: padding, poolings that round up, unshared filters, adaptive
    pooling are each patch's own; what patches have in common is computed once. Without padding that is nearly all and
    the work that of `dilate`; with padding in every layer of a deep network there is little, and memory is that of
    the patches: see `foveal.dense` for images larger than that.

    Gradients reach the model's own parameters, so that a loss on selected pixels, F.cross_entropy(slide(…), labels,
    ignore_index=255), trains as patches would. In training mode dropout behind the first fully connected layer draws
    for each patch; before it, and in batch norm, patches that share numbers cannot be apart: FovealError.
    """
    return Slider(model, input, stride)(images)


@dataclass(frozen=True)
class _Flat:
    """Patches that have been flattened, and are kept as maps."""

    patches: Patches


@dataclass(frozen=True)
class _Each:
    """Patches on their own: [N · patches, …]."""

    tensor: Tensor


_Value = Patches | _Flat | _Each


class _Interpreter(fx.Interpreter):
    """Runs the trace on values of all patches at once."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.peak = 0  # bytes
        self.place = self.kind = ""

    def run_node(self, n: fx.Node) -> Any:
        self.place, self.kind = n.meta.get("path", n.name), n.meta.get("kind", "")
        result = super().run_node(n)
        self.peak = max(self.peak, sum(map(_bytes, self.env.values())) + 2 * _bytes(result))
        return result

    def output(self, target: Any, args: Any, kwargs: Any) -> Tensor:
        return _each(args[0]).tensor

    def call_module(self, target: Any, args: Any, kwargs: Any) -> _Value:
        module, value = self.fetch_attr(str(target)), args[0]
        if len(args) > 1:
            return _Each(module(*(_each(value).tensor for value in args)))
        if isinstance(value, _Each):
            return _Each(module(value.tensor))
        if isinstance(value, _Flat):
            return self._vector(module, value)
        if isinstance(module, nn.Flatten) and module.start_dim == 1 and module.end_dim in (-1, value.dims + 1):
            return _Flat(value)
        return _settled(self._map(module, value))

    def call_method(self, target: Any, args: Any, kwargs: Any) -> _Value:
        return self.call_function(getattr(Tensor, target), args, kwargs)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> _Value:
        values: list[Any] = []
        fx.node.map_aggregate((args, kwargs), lambda a: values.append(a) if isinstance(a, _Value) else None)
        flattening = self.kind == "flatten"
        if flattening and isinstance(values[0], Patches) and list(args[1:]) in ([1], [1, -1]) and not kwargs:
            return _Flat(values[0])
        maps = all(isinstance(value, Patches) for value in values) and not _has_tensor((args, kwargs))
        axes = _common([value.axes for value in values]) if maps and not flattening else None
        if axes is None or (self.kind == "cat" and _dimension(args, kwargs) % (len(axes) + 2) != 1):
            return _Each(_called(target, args, kwargs, lambda value: _each(value).tensor))
        if self.kind == "cat":  # along the channels
            args, kwargs = (list(values), len(axes) + 1), {}
        inside = {id(value): value.with_own(axes).parts for value in values}
        parts = {}
        for kinds in itertools.product(*(axis.kinds for axis in axes)):
            each = [parts_[kinds].shape[-len(axes) :] for parts_ in inside.values()]
            ends = [min(sizes) for sizes in zip(*each, strict=True)]
            parts[kinds] = _called(target, args, kwargs, partial(_trimmed, inside, kinds, ends))
        return Patches(axes, parts)

    def _vector(self, module: nn.Module, value: _Flat) -> _Value:
        """A layer behind a flattening. The first fully connected one is a convolution of the shared map."""
        patches = value.patches
        if isinstance(module, ELEMENTWISE) and not _draws(module) and not strangeness(module):
            return _Flat(patches.each(module))
        if isinstance(module, nn.Linear) and patches.shared and not strangeness(module):
            return _Each(_slid(module, patches).separate().flatten(1))
        return _Each(module(_each(value).tensor))

    def _map(self, module: nn.Module, value: Patches) -> Patches | _Each:
        size = tuple(axis.size for axis in value.axes)
        seen = window_at(module, size, self.place)
        if seen is None:
            return _Each(module(value.separate()))
        if seen.kernel == seen.stride == (1,) * value.dims and not any(seen.padding) and not seen.transposed:
            return self._pointwise(module, value)
        arithmetic = rule(module, seen)
        if arithmetic is None:
            return _Each(module(value.separate()))
        axes = tuple(
            _after(axis, n, *_numbers(seen, dim))
            for dim, (axis, n) in enumerate(zip(value.axes, seen.output(size), strict=True))
        )
        parts = {}
        for kinds in itertools.product(*(axis.kinds for axis in axes)):
            wants, look = _look(value.axes, axes, kinds, seen)
            parts[kinds] = value.apply(lambda x, look=look: arithmetic(module, x, look), value.take(wants))  # type: ignore[misc]
        return Patches(axes, parts)

    def _pointwise(self, module: nn.Module, value: Patches) -> Patches | _Each:
        over = isinstance(module, nn.Softmax | nn.LogSoftmax) and module.dim not in (1, -value.dims - 1)
        if over or strangeness(module) or all(axis.size == 1 for axis in value.axes):
            return _Each(module(value.separate()))
        why = "draws at random" if _draws(module) else "measures its batch" if _measures(module) else ""
        if why:
            raise FovealError(
                f"layer '{self.place}' ({type(module).__name__}) {why}, and patches share their numbers",
                "put it into evaluation mode: this layer's .eval(), or model.eval()",
            )
        return value.each(module)


def _numbers(seen: Window, dim: int) -> tuple[int, int, int]:
    return seen.stride[dim], seen.padding[dim], seen.extent[dim]


def _after(axis: Axis, size: int, stride: int, padding: int, extent: int) -> Axis:
    """The axis behind a window: which of its `size` positions see the padding or a patch's own positions."""
    first = min(size, -(-(axis.first + padding) // stride))
    last = size - max(0, min(size, -(-(axis.size - axis.last - extent + 1 + padding) // stride)))
    kept = math.gcd(stride, axis.step)
    moved = Axis(axis.count, axis.step // kept, size, axis.jump * stride // kept)
    return moved.with_own(first, last)


def _look(before: Sequence[Axis], after: Sequence[Axis], kinds: Sequence[int], seen: Window) -> tuple[list[Want], Look]:
    """What a part of the output needs of the input, and how it looks at it."""
    wants: list[Want] = []
    numbers: list[tuple[int, int, tuple[int, int], tuple[int, int]]] = []
    for dim, (old, new, kind) in enumerate(zip(before, after, kinds, strict=True)):
        stride, padding, extent = _numbers(seen, dim)
        if kind == SHARED:
            wants.append(new.first * stride - padding)
            numbers.append((math.gcd(stride, old.step), seen.dilation[dim] * old.jump, (0, 0), (0, 0)))
            continue
        outputs = (0, new.first) if kind == OWN_FIRST else (new.size - new.last, new.size)
        start, stop = outputs[0] * stride - padding, (outputs[1] - 1) * stride - padding + extent
        wants.append((max(start, 0), min(stop, old.size)))
        sides = max(0, -start), max(0, stop - old.size)
        numbers.append((stride, seen.dilation[dim], sides, (sides[0], min(sides[1], padding))))
    strides, dilations, sides_, real = zip(*numbers, strict=True)
    return wants, Look(seen.kernel, strides, dilations, list(sides_), list(real))


def _slid(linear: nn.Linear, patches: Patches) -> Patches:
    """A fully connected layer on patches that share all their numbers: a convolution with holes."""
    size = tuple(axis.size for axis in patches.axes)
    stride, jump = (tuple(max(1, axis.step) for axis in patches.axes), tuple(axis.jump for axis in patches.axes))
    weight = linear.weight.view(linear.out_features, -1, *size)
    none = [(0, 0)] * patches.dims
    part = patches.parts[(SHARED,) * patches.dims]
    look = Look(size, stride, jump, none, none)
    scores = patches.apply(lambda x: convolve(x, weight, linear.bias, look), part)
    return Patches(tuple(Axis(axis.count, 1, 1) for axis in patches.axes), {(SHARED,) * patches.dims: scores})


def _settled(value: Patches | _Each) -> Patches | _Each:
    """Patches on their own once they share nothing."""
    return _Each(value.separate()) if isinstance(value, Patches) and value.whole else value


def _each(value: _Value) -> _Each:
    if isinstance(value, _Each):
        return value
    return _Each(value.patches.separate().flatten(1)) if isinstance(value, _Flat) else _Each(value.separate())


def _common(each: Sequence[tuple[Axis, ...]]) -> tuple[Axis, ...] | None:
    """Axes with borders wide enough for all of the values; None where their positions are not the same."""
    axes = []
    for same in zip(*each, strict=True):
        first, last = max(axis.first for axis in same), max(axis.last for axis in same)
        wider = {axis.with_own(first, last) for axis in same}
        if len(wider) != 1:
            return None
        axes.append(wider.pop())
    return tuple(axes)


def _trimmed(
    inside: Mapping[int, Mapping[tuple[int, ...], Tensor]], kinds: tuple[int, ...], ends: Sequence[int], value: _Value
) -> Tensor:
    """A part of a value, as long as the shortest of those that it is joined with."""
    part = inside[id(value)][kinds]
    for dim, end in enumerate(ends, start=part.dim() - len(ends)):
        part = part.narrow(dim, 0, end)
    return part


def _called(target: Any, args: Any, kwargs: Any, tensor: Callable[[_Value], Tensor]) -> Tensor:
    """A function of tensors, called with values."""
    args, kwargs = fx.node.map_aggregate((args, kwargs), lambda a: tensor(a) if isinstance(a, _Value) else a)
    result: Tensor = target(*args, **kwargs)
    return result


def _draws(module: nn.Module) -> bool:
    if isinstance(module, SynchronisedDropout):
        return module.training
    return isinstance(module, _DROPOUTS) and module.training and module.p > 0


def _measures(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None)


def _has_tensor(arguments: Any) -> bool:
    found = []
    fx.node.map_aggregate(arguments, lambda a: found.append(a) if isinstance(a, Tensor) else None)
    return bool(found)


def _dimension(args: Any, kwargs: Any) -> int:
    return int(kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0)))


def _bytes(value: Any) -> int:
    if isinstance(value, Patches):
        return sum(part.numel() * part.element_size() for part in value.parts.values())
    if isinstance(value, _Flat):
        return _bytes(value.patches)
    return value.tensor.numel() * value.tensor.element_size() if isinstance(value, _Each) else 0


def _meta(graph: fx.GraphModule) -> nn.Module:
    """The graph's modules without weights."""
    root = nn.Module()
    for name, child in graph.named_children():
        root.add_module(name, ghost(child))
    return root
