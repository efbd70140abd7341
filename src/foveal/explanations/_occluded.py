"""A network's output under many occlusions of one image, with only that computed anew which an occlusion can reach.

A window of the image touches a block of each map: rows and columns first … last by the arithmetic of receptive fields,
read the other way. Behind a layer every occlusion keeps its block alone; the next layer's block is computed from it,
set into the map of the clean image. All blocks of a layer have one size, so that they go through it as one batch.
Where a block has grown to most of its map, and behind layers without a window, whole maps go on. Nothing is
approximated: sums are the same, to the rounding of a kernel that adds them in another order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from foveal.explanations._execute import execute
from foveal.graph.trace import trace
from foveal.graph.windows import window
from foveal.inference import ChannelsLastLRN

_WHOLE = 0.85  # share of a map's positions from which on the whole map is computed
_POINTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh, nn.Sigmoid,
    nn.BatchNorm2d, nn.LocalResponseNorm, ChannelsLastLRN, nn.Identity, nn.Dropout, nn.Dropout2d,
)  # fmt: skip


@dataclass(frozen=True)
class _Axis:
    """Along one dimension of `size` positions, which of them each occlusion can have changed: first[b] … last[b]
    (none where last < first). Its block is `count` positions from start[b] on, those and as many more as fit."""

    size: int
    first: Tensor  # int64 [B]
    last: Tensor  # int64 [B]
    count: int
    start: Tensor  # int64 [B]

    @classmethod
    def of(cls, size: int, first: Tensor, last: Tensor) -> _Axis:
        first, last = first.clamp(0, size), last.clamp(-1, size - 1)
        count = max(1, int((last - first + 1).max()))
        return cls(size, first, last, count, first.clamp(max=size - count))

    def through(self, kernel: int, stride: int, padding: int, dilation: int, size: int) -> _Axis:
        """The same behind a sliding window: outputs o that read o·stride - padding … + (kernel - 1)·dilation."""
        reach = (kernel - 1) * dilation
        first = -((reach - padding - self.first).div(stride, rounding_mode="floor"))
        return _Axis.of(size, first, (self.last + padding).div(stride, rounding_mode="floor"))

    def joined(self, other: _Axis) -> _Axis:
        return _Axis.of(self.size, torch.minimum(self.first, other.first), torch.maximum(self.last, other.last))


@dataclass(frozen=True)
class _Blocks:
    """Of each occlusion what may differ from the clean map: values [B, C, rows.count, columns.count]."""

    values: Tensor
    rows: _Axis
    columns: _Axis

    @property
    def complete(self) -> bool:
        return self.rows.count == self.rows.size and self.columns.count == self.columns.size


class Occluded:
    """An image [1, C, H, W] and a network in evaluation mode, ready to be asked for its output under occlusions.

    Keeps the clean maps of every layer. Raises FovealError for a network that cannot be traced.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, image: Tensor, fill: float, watched: str | None = None) -> None:
        self.graph = trace(model)
        self.image, self.fill = image.contiguous(memory_format=torch.channels_last), fill
        self._clean: dict[fx.Node, Any] = {}
        for node in self.graph.graph.nodes:
            if node.op == "output":
                self._result: fx.Node = node.all_input_nodes[0]
            else:
                self._clean[node] = self.image if node.op == "placeholder" else execute(self.graph, node, self._clean)
        paths = {str(n.meta["path"]): n for n in self.graph.graph.nodes if "path" in n.meta}
        self._watched: fx.Node | None = paths[watched] if watched is not None else None
        self._last = {s: n for n in self.graph.graph.nodes for s in n.all_input_nodes}  # who reads it last
        nodes = list(self._clean)
        self._order: list[fx.Node] = nodes[: nodes.index(self._result) + 1]
        self._waist = self._first_vectors()

    @property
    def output(self) -> Tensor:
        """The clean image's output [1, …]."""
        return self._clean[self._result]  # type: ignore[no-any-return]

    @property
    def maps(self) -> Tensor:
        """The clean image's maps [1, C, h, w] at the watched layer."""
        assert self._watched is not None
        return self._clean[self._watched]  # type: ignore[no-any-return]

    @torch.no_grad()
    def __call__(self, tops: Tensor, lefts: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
        """With a window of `size` at rows tops[b] … and columns lefts[b] … filled: what `outputs` takes, [B, …], and
        the maps [B, C, h, w] at the watched layer. Windows may reach beyond the image's lower and right edge."""
        height, width = self.image.shape[2:]
        rows = _Axis.of(height, tops, tops + size[0] - 1)
        columns = _Axis.of(width, lefts, lefts + size[1] - 1)
        values: dict[fx.Node, Any] = {}
        watched: Tensor | None = None
        node: fx.Node
        for node in self.graph.graph.nodes:
            values[node] = self._filled(rows, columns) if node.op == "placeholder" else self._blocks(node, values)
            if self._watched is node:
                watched = self._complete(node, values[node])
            if self._waist is node:
                break
            for source in node.all_input_nodes:
                if self._last[source] is node:
                    del values[source]
        return self._complete(self._waist, values[self._waist]), watched

    @torch.no_grad()
    def outputs(self, found: Tensor) -> Tensor:
        """The network's outputs [B, …] from what calls gave, of any number of occlusions together."""
        values = {**self._clean, self._waist: found}
        for node in self._order[self._order.index(self._waist) + 1 :]:
            values[node] = execute(self.graph, node, values)
        return values[self._result]  # type: ignore[no-any-return]

    def _first_vectors(self) -> fx.Node:
        """The first node, from the watched one on, that gives a vector which alone is read by all nodes behind it.

        What comes then is mostly weights, which are better read once for many occlusions than for every few.
        """
        number = {node: n for n, node in enumerate(self._order)}
        earliest, first = len(number), self._result
        for node in reversed(self._order):
            value = self._clean[node]
            if isinstance(value, Tensor) and value.ndim == 2 and number[node] <= earliest:
                first = node
            read = [number[source] for source in node.all_input_nodes if source.op != "get_attr"]
            earliest = min([earliest, *read])
            if node is self._watched:
                break
        return first

    def _filled(self, rows: _Axis, columns: _Axis) -> _Blocks:
        """The image's blocks: `fill` within the window, and the clean pixels where it is cut off by the edge."""
        values = _crops(self.image, (rows.start, columns.start), (rows.count, columns.count))
        tops, bottoms = (rows.first - rows.start).tolist(), (rows.last - rows.start + 1).tolist()
        lefts, rights = (columns.first - columns.start).tolist(), (columns.last - columns.start + 1).tolist()
        for block, top, bottom, left, right in zip(values, tops, bottoms, lefts, rights, strict=True):
            block[:, top:bottom, left:right] = self.fill
        return _Blocks(values, rows, columns)

    def _blocks(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        sources = node.all_input_nodes
        given = [values.get(source) for source in sources]
        if all(isinstance(value, _Blocks) for value in given) and node.op == "call_module":
            found = self._slid(node, sources[0], given[0]) if len(sources) == 1 else None
            if found is not None:
                return found
        if given and all(isinstance(v, _Blocks) for v in given) and self._joins(node):
            return self._joined(node, sources, given)
        complete = {s: self._complete(s, v) for s, v in zip(sources, given, strict=True) if v is not None}
        return execute(self.graph, node, {**self._clean, **complete})

    def _joins(self, node: fx.Node) -> bool:
        """Whether a sum, or a concatenation along the channels, of maps of one size."""
        if node.meta.get("kind") == "cat" and node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0) != 1:
            return False
        sizes = {tuple(self._clean[source].shape[2:]) for source in node.all_input_nodes}
        return node.meta.get("kind") in ("add", "cat") and len(sizes) == 1

    def _slid(self, node: fx.Node, source: fx.Node, blocks: Any) -> _Blocks | None:
        """A layer with a window on its blocks; None for one of another kind, or where the blocks are nearly all."""
        module: Any = self.graph.get_submodule(str(node.target))
        if isinstance(module, _POINTWISE):
            return _Blocks(execute(self.graph, node, {source: blocks.values}), blocks.rows, blocks.columns)
        if not _slides(module) or blocks.complete:
            return None
        seen = window(module)
        assert seen is not None
        seen, size = seen.over(2), self._clean[node].shape[2:]
        each = zip(
            (blocks.rows, blocks.columns), seen.kernel, seen.stride, seen.padding, seen.dilation, size, strict=True
        )
        rows, columns = (axis.through(k, s, p, d, n) for axis, k, s, p, d, n in each)
        if rows.count * columns.count >= _WHOLE * rows.size * columns.size:
            return None
        border = float("-inf") if isinstance(module, nn.MaxPool2d) else 0.0
        wanted = [
            (axis.start * s - p, (axis.count - 1) * s + (k - 1) * d + 1)
            for axis, k, s, p, d in zip(
                (rows, columns), seen.kernel, seen.stride, seen.padding, seen.dilation, strict=True
            )
        ]
        return _Blocks(_unpadded(module, self._cut(source, blocks, wanted, border)), rows, columns)

    def _cut(self, source: fx.Node, blocks: _Blocks, wanted: list[tuple[Tensor, int]], border: float) -> Tensor:
        """From each occlusion's map `length` positions from start[b] on, along rows and columns: [B, C, h, w]."""
        clean = self._clean[source]
        room = [max(0, -int(start.min())) for start, _ in wanted]
        over = [
            max(0, int(start.max()) + length - n) for (start, length), n in zip(wanted, clean.shape[2:], strict=True)
        ]
        padded = F.pad(clean, (room[1], over[1], room[0], over[0]), value=border)
        (tops, height), (lefts, width) = wanted
        maps = _crops(padded, (tops + room[0], lefts + room[1]), (height, width))
        down, right = (blocks.rows.start - tops).tolist(), (blocks.columns.start - lefts).tolist()
        for whole, block, top, left in zip(maps, blocks.values, down, right, strict=True):
            _set_into(whole, block, top, left)
        return maps

    def _joined(self, node: fx.Node, sources: list[fx.Node], given: list[Any]) -> _Blocks:
        """A sum or concatenation of blocks: each brought to what any of them covers."""
        rows, columns = given[0].rows, given[0].columns
        for blocks in given[1:]:
            rows, columns = rows.joined(blocks.rows), columns.joined(blocks.columns)
        wanted = [(rows.start, rows.count), (columns.start, columns.count)]
        cut = {s: self._cut(s, blocks, wanted, 0.0) for s, blocks in zip(sources, given, strict=True)}
        return _Blocks(execute(self.graph, node, cut), rows, columns)

    def _complete(self, node: fx.Node, value: Any) -> Any:
        """The whole maps of each occlusion: its blocks set into the clean one."""
        if not isinstance(value, _Blocks):
            return value
        if value.complete:
            return value.values
        clean = self._clean[node]
        zero = torch.zeros_like(value.rows.start)
        return self._cut(node, value, [(zero, clean.shape[2]), (zero, clean.shape[3])], 0.0)


def positions(size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Upper and left edges of windows over an image of `size`, the last of them maybe cut off by the edge."""
    each = zip(size, window, stride, strict=True)
    tops, lefts = (torch.arange(0, -(-max(0, n - k) // s) + 1) * s for n, k, s in each)
    return tops, lefts


def in_groups(tops: Tensor, lefts: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All pairs of an upper and a left edge, by their numbers, up to `size` at a time.

    Those that lie as far from the middle are together: a batch's blocks are as large as its largest one, and a window
    near the border reaches less of the later maps.
    """
    tall = max(math.isqrt(size), size // len(lefts))
    for rows in _by_distance(len(tops), tall):
        for columns in _by_distance(len(lefts), size // len(rows)):
            yield rows.repeat_interleave(len(columns)), columns.repeat(len(rows))


def _by_distance(count: int, size: int) -> tuple[Tensor, ...]:
    """0 … count - 1, the middle first, in parts as alike in length as can be and of at most `size`."""
    order = (2 * torch.arange(count) - (count - 1)).abs().argsort(stable=True)
    return order.tensor_split(-(-count // size))


def _slides(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return isinstance(module, nn.MaxPool2d) or (
        isinstance(module, nn.AvgPool2d) and not module.ceil_mode and not any(_pair(module.padding))
    )


def _pair(numbers: Any) -> tuple[int, ...]:
    return numbers if isinstance(numbers, tuple) else (numbers, numbers)


def _unpadded(module: Any, x: Tensor) -> Tensor:
    """A convolution or pooling on a crop that holds its padding already."""
    if isinstance(module, nn.Conv2d):
        return F.conv2d(x, module.weight, module.bias, module.stride, 0, module.dilation, module.groups)
    if isinstance(module, nn.MaxPool2d):
        return F.max_pool2d(x, module.kernel_size, module.stride, 0, module.dilation)
    return F.avg_pool2d(x, module.kernel_size, module.stride, divisor_override=module.divisor_override)


def _crops(x: Tensor, starts: tuple[Tensor, Tensor], size: tuple[int, int]) -> Tensor:
    """Of x [1, C, H, W] a part of `size` for each pair of an upper and a left edge: [B, C, h, w], channels last."""
    maps = x[0].movedim(0, 2)
    corners = zip(starts[0].tolist(), starts[1].tolist(), strict=True)
    parts = [maps[top : top + size[0], left : left + size[1]] for top, left in corners]
    return torch.stack(parts).movedim(3, 1)


def _set_into(maps: Tensor, block: Tensor, top: int, left: int) -> None:
    """Write a block [C, h, w] into maps [C, H, W] from (top, left) on; what lies beyond them is left away."""
    height, width = block.shape[1:]
    place = maps[:, max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
    first, start = max(0, -top), max(0, -left)
    place.copy_(block[:, first : first + place.shape[1], start : start + place.shape[2]])
