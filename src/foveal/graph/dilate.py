"""Strides become holes in the windows behind them: any network's map at a finer stride, without another weight.

H. Li, R. Zhao, X. Wang, «Highly efficient forward and backward propagation of convolutional neural networks for
pixelwise classification», arXiv 1412.4526, algorithm 1: walk through the layers with d = 1; make each window
d-regularly sparse; where a convolution or pooling has stride s, set it to 1 and multiply d by s. Here through any
joins, with padding, and down to any stride: a layer keeps the part of its stride that the wanted one has room for.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import fx, nn

from foveal.errors import FovealError
from foveal.graph.shapes import text
from foveal.graph.swap import Swap, swapped
from foveal.graph.trace import trace
from foveal.graph.windows import Size, Window, window
from foveal.layers import dilated_pool as pools
from foveal.layers.shortcut import PadShortcut
from foveal.layers.sliding import DilatedTableConv2d, SlidingLinear, Trim
from foveal.layers.subsampling import Subsampling
from foveal.layers.table_conv import TableConv2d

Sparse = Callable[[Any, Size, Size], nn.Module]
"""(layer, stride, factor) → the layer with that stride and its dilation and padding times `factor`, per dimension."""

_RULES: dict[type[nn.Module], Sparse] = {}


def register(*types: type[nn.Module]) -> Callable[[Sparse], Sparse]:
    """Say how layers of `types` are made sparse: a function of (layer, stride, factor) that returns the new layer.

    The layer is that of the copy; parameters are to be taken over. Its window must be known to `graph.windows`.
    """

    def enter(rule: Sparse) -> Sparse:
        _RULES.update(dict.fromkeys(types, rule))
        return rule

    return enter


def dilate(model: nn.Module, stride: int | Size = 1) -> nn.Module:
    """The network with a finer map: stride 1, 8, or any divisor of its own, one number or one per dimension.

    [N, C, H, W] → [N, classes, h, w] of which every (own stride / `stride`)-th position, from the first, is the
    network's own output, to rounding, for every size of image. Between them stands what the network gives for the image
    moved by `stride`, 2 · `stride`, … pixels. Padding stays where it was: around the whole image, as wide in each layer
    as it was in the network's own pixels (poolings: minus infinity). Without padding every position is thus the
    network's answer at one window of the image; a network of fully connected layers goes through `convolutionalize`.

    The result is a copy of the same class, with the same state_dict keys; `model` is left as it is. Where joined
    branches end at different last positions the longer ones are trimmed, and the copy is an fx.GraphModule. Gradients
    flow as ever: a loss on selected pixels is a mask on the map. Layers that draw or measure over the map in training
    mode (dropout, batch norm) do so over its positions, not over separate windows.

    Raises FovealError for a stride that does not divide, and, naming the layer, for what cannot be made sparse: layers
    that make vectors, upsampling, padding by reflection, odd «same» padding, rounding up (ceil_mode) with padding,
    branches of different strides, types that are not registered, and what `trace` refuses.
    """
    planner = _Planner(trace(model).graph, stride)
    for node in list(planner.graph.nodes):
        planner.visit(node)
    edited = planner.graph if planner.trims else None
    return swapped(model, planner.plan, edited, planner.trims)


@dataclass(frozen=True)
class _State:
    """A value's grid: its stride in pixels, the step d from one of the network's own positions to the next, its size.

    The size is that of the value `base` plus `more`: so the sizes of branches can be compared without an image.
    """

    stride: Size
    step: Size
    base: fx.Node
    more: Size


class _Planner:
    """Walks the trace with the state of each value."""

    def __init__(self, graph: fx.Graph, stride: int | Size) -> None:
        self.graph = graph
        self.plan: dict[str, Swap] = {}
        self.trims: dict[str, nn.Module] = {}
        self._states: dict[fx.Node, _State] = {}
        self._factors: dict[str, tuple[Size, Size]] = {}
        owner = graph.owning_module
        assert owner is not None
        self._modules = dict(owner.named_modules(remove_duplicate=False))
        seen = [window(self._modules[str(n.target)], path=n.meta["path"]) for n in graph.nodes if _is_leaf(n)]
        self.dims = max((len(w.kernel) for w in seen if w is not None), default=1)
        wanted = (stride,) * self.dims if isinstance(stride, int) else tuple(stride)
        if len(wanted) != self.dims or any(not isinstance(n, int) or n < 1 for n in wanted):
            raise FovealError(
                f"stride={stride!r} for a network in {self.dims} dimensions", "give a whole number from 1"
            )
        self.wanted = wanted

    def visit(self, node: fx.Node) -> None:
        """Plan one node."""
        ones = (1,) * self.dims
        if node.op == "placeholder":
            self._states[node] = _State(ones, ones, node, (0,) * self.dims)
        elif _is_leaf(node):
            source = node.all_input_nodes[0]
            self._states[node] = self._leaf(node, self._modules[str(node.target)], self._states[source])
        elif node.op.startswith("call"):
            self._states[node] = self._join(node)
        elif node.op == "output":
            self._finish(self._states[node.all_input_nodes[0]])

    def _leaf(self, node: fx.Node, module: nn.Module, state: _State) -> _State:
        path, place = str(node.target), f"layer '{node.meta['path']}' ({type(module).__name__})"
        seen = window(module)
        if seen is None:
            what = f"{place} makes one vector of its map, or a map of a fixed size"
            raise FovealError(what, "slide it first: foveal.graph.convolutionalize(model, input=(C, h, w))")
        seen = seen.over(self.dims)
        if seen.kernel == seen.stride == (1,) * self.dims and not any(seen.padding) and not seen.transposed:
            return state
        if seen.transposed:
            raise FovealError(
                f"{place} enlarges its map: its stride is no stride of the image", "dilate what is before it"
            )
        room = tuple(w // s for w, s in zip(self.wanted, state.stride, strict=True))
        kept = tuple(math.gcd(s, r) for s, r in zip(seen.stride, room, strict=True))
        if self._factors.setdefault(path, (kept, state.step)) != (kept, state.step):
            raise FovealError(
                f"{place} is used at two places of different strides", "give each place a layer of its own"
            )
        if kept != seen.stride or any(d != 1 for d in state.step):
            self.plan[path] = self._swap(place, module, seen, kept, state.step)
        step = tuple(d * s // g for d, s, g in zip(state.step, seen.stride, kept, strict=True))
        after = tuple(s * g for s, g in zip(state.stride, kept, strict=True))
        if any(g != 1 for g in kept):
            return _State(after, step, node, (0,) * self.dims)
        grown = _growth(module, seen, state.step)
        return _State(after, step, state.base, tuple(a + b for a, b in zip(state.more, grown, strict=True)))

    def _swap(self, place: str, module: nn.Module, seen: Window, stride: Size, factor: Size) -> Swap:
        rule = next((_RULES[kind] for kind in type(module).__mro__ if kind in _RULES), None)
        if rule is None:
            mend = (
                f"register it: foveal.graph.dilate.register({type(module).__name__})(lambda layer, stride, factor: …)"
            )
            raise FovealError(f"{place} cannot be made sparse: how is not known", mend)
        why = _obstacle(module, seen, factor)
        if why:
            raise FovealError(f"{place} {why[0]}", why[1])
        return partial(_apply, rule, stride, factor)

    def _join(self, node: fx.Node) -> _State:
        place = f"the join '{node.meta['path']}'"
        if node.meta["kind"] == "flatten":
            raise FovealError(
                f"{place} makes a vector", "slide it first: foveal.graph.convolutionalize(model, input=…)"
            )
        sources = [source for source in node.all_input_nodes if source.op != "get_attr"]
        states = [self._states[source] for source in sources]
        first = states[0]
        if any((s.stride, s.step) != (first.stride, first.step) for s in states):
            each = " and ".join(text(_total(s)) for s in states)
            raise FovealError(
                f"{place} puts maps of strides {each} together", "their positions are different places of the image"
            )
        if any(d != 1 for d in first.step) and len({s.base for s in states}) == 1:
            last = tuple(min(numbers) for numbers in zip(*(s.more for s in states), strict=True))
            for source, state in zip(sources, states, strict=True):
                self._trim(node, source, tuple(a - b for a, b in zip(state.more, last, strict=True)))
            return replace(first, more=last)
        return first

    def _trim(self, node: fx.Node, source: fx.Node, behind: Size) -> None:
        if any(behind):
            name = f"trim{len(self.trims) + 1}"
            self.trims[name] = Trim(behind)
            with self.graph.inserting_before(node):
                node.replace_input_with(source, self.graph.create_node("call_module", name, (source,)))

    def _finish(self, state: _State) -> None:
        if state.stride != self.wanted:
            own = _total(state)
            raise FovealError(
                f"stride={text(self.wanted)} is none that the network has room for: its own is {text(own)}",
                f"give a divisor of {text(own)}",
            )


def _apply(rule: Sparse, stride: Size, factor: Size, layer: nn.Module) -> nn.Module:
    return rule(layer, stride, factor)


def _is_leaf(node: fx.Node) -> bool:
    return node.op == "call_module"


def _total(state: _State) -> Size:
    return tuple(s * d for s, d in zip(state.stride, state.step, strict=True))


def _growth(module: nn.Module, seen: Window, step: Size) -> Size:
    """How many positions more than the map before the sparse layer's map has."""
    if getattr(module, "padding", None) == "same":
        return (0,) * len(step)
    behind: Size = getattr(module, "behind", (0,) * len(step))
    each = zip(seen.extent, seen.stride, seen.padding, behind, step, strict=True)
    return tuple((2 * p + b - (e - 1) + (s - 1 if seen.ceil else 0)) * d for e, s, p, b, d in each)


def _obstacle(module: nn.Module, seen: Window, factor: Size) -> tuple[str, str] | None:
    """Why a layer cannot be made sparse exactly, and the mend."""
    if getattr(module, "padding_mode", "zeros") != "zeros" and any(seen.padding) and any(d != 1 for d in factor):
        return f"pads by {module.padding_mode}, which no sparse window can repeat", "pad with zeros"
    if getattr(module, "padding", None) == "same" and any(e % 2 == 0 for e in seen.extent):
        return "pads one side more than the other (padding='same', even window)", "give it an odd window"
    for option in ("return_indices", "divisor_override"):
        if getattr(module, option, None):
            return f"has the option {option}", "take it away"
    if seen.ceil and (any(seen.padding) or any(s > e for s, e in zip(seen.stride, seen.extent, strict=True))):
        return "rounds up (ceil_mode) with padding or gaps between its windows", "set ceil_mode=False"
    if isinstance(module, Subsampling | TableConv2d | PadShortcut) and len(set(factor)) > 1:
        return f"is square and its map has strides {text(factor)}", "give the layers before it equal strides"
    return None


def _times(numbers: Size, factor: Size) -> Size:
    return tuple(a * b for a, b in zip(numbers, factor, strict=True))


def _with(layer: nn.Module, **numbers: object) -> nn.Module:
    """The same layer, its parameters shared, with other numbers."""
    new = copy.copy(layer)
    new.__dict__.update(numbers)
    return new


@register(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def _conv(conv: nn.Conv2d, stride: Size, factor: Size) -> nn.Module:
    seen = window(conv)
    assert seen is not None
    return _with(conv, stride=stride, padding=_times(seen.padding, factor), dilation=_times(seen.dilation, factor))


@register(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, pools._DilatedMaxPool)
def _max_pool(pool: nn.Module, stride: Size, factor: Size) -> nn.Module:
    kinds = (pools.DilatedMaxPool1d, pools.DilatedMaxPool2d, pools.DilatedMaxPool3d)
    return kinds[len(factor) - 1](*_pool_numbers(pool, stride, factor))


@register(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, pools._DilatedAvgPool)
def _avg_pool(pool: Any, stride: Size, factor: Size) -> nn.Module:
    kinds = (pools.DilatedAvgPool1d, pools.DilatedAvgPool2d, pools.DilatedAvgPool3d)
    return kinds[len(factor) - 1](*_pool_numbers(pool, stride, factor), count_include_pad=pool.count_include_pad)


def _pool_numbers(pool: nn.Module, stride: Size, factor: Size) -> tuple[Size, Size, Size, Size, Size]:
    seen = window(pool)
    assert seen is not None
    behind: Size = getattr(pool, "behind", (0,) * len(factor))
    if seen.ceil:
        behind = tuple(s - 1 for s in seen.stride)
    return seen.kernel, stride, _times(seen.padding, factor), _times(seen.dilation, factor), _times(behind, factor)


@register(SlidingLinear)
def _linear(linear: SlidingLinear, stride: Size, factor: Size) -> nn.Module:
    return _with(linear, dilation=_times(linear.dilation, factor))


@register(Subsampling)
def _subsampling(layer: Subsampling, stride: Size, factor: Size) -> nn.Module:
    return _with(layer, stride=stride[0], dilation=layer.dilation * factor[0])


@register(TableConv2d)
def _table(conv: TableConv2d, stride: Size, factor: Size) -> nn.Module:
    return DilatedTableConv2d.of(conv, stride[0], factor[0])


@register(PadShortcut)
def _shortcut(shortcut: PadShortcut, stride: Size, factor: Size) -> nn.Module:
    return _with(shortcut, stride=stride[0])
