"""A classifier of images of one size becomes a network that slides over larger ones.

P. Sermanet et al., «OverFeat», ICLR 2014, section 3.5; J. Long, E. Shelhamer, T. Darrell, «Fully convolutional networks
for semantic segmentation», CVPR 2015, section 3.1. A fully connected layer behind C maps of M×M is a convolution with
kernels of C×M×M, each one behind it a 1×1 convolution; pooling to one position is pooling over a fixed window.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from foveal.errors import FovealError
from foveal.graph.shapes import LayerShape, check_input, shapes, text
from foveal.graph.swap import Swap, swapped, without
from foveal.graph.trace import trace
from foveal.graph.windows import ADAPTIVE, Size, output_sizes, window
from foveal.layers.dilated_pool import (
    DilatedAvgPool1d,
    DilatedAvgPool2d,
    DilatedAvgPool3d,
    DilatedMaxPool1d,
    DilatedMaxPool2d,
    DilatedMaxPool3d,
)
from foveal.layers.locally_connected import LocallyConnected2d
from foveal.layers.rbf import RBF
from foveal.layers.sliding import SlidingLinear, SlidingRBF

ELEMENTWISE = (
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Softplus),
    *(nn.Tanh, nn.Sigmoid, nn.Dropout, nn.AlphaDropout, nn.Identity),
)
"""Layers that treat each number alike, so that flattening may come before or after them."""

_AVG = (DilatedAvgPool1d, DilatedAvgPool2d, DilatedAvgPool3d)
_MAX = (DilatedMaxPool1d, DilatedMaxPool2d, DilatedMaxPool3d)
_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_DENSE = "foveal.dense(model, image) gives its exact map all the same"


@dataclass(frozen=True)
class _Flat:
    """A vector that is `channels` maps over `grid`, flattened."""

    channels: int
    grid: Size

    @property
    def single(self) -> bool:
        return all(n == 1 for n in self.grid)


def convolutionalize(model: nn.Module, input: Size) -> nn.Module:
    """The network for images of shape `input` = (C, H, W) as one that takes any larger image and gives a map of scores.

    [N, C, H, W] → [N, classes, 1, 1] with the same numbers, [N, C, H + Δ, W + δ] → [N, classes, h, w], whose position
    (i, j) is the network's answer at the input's window that starts at (i, j) times the network's stride. Where the
    network pads, this holds but for the padding, which lies around the whole image and no more around each window
    (`foveal.dense` has the exact map of any network). Sequences (C, L) and volumes (C, D, H, W) likewise.

    The result is a copy of the same class whose state_dict has the same keys and shapes; `model` is left as it is. A
    functional torch.flatten in forward cannot be exchanged: the copy is an fx.GraphModule then. Pooling to one position
    slides by one; other adaptive poolings keep the windows they have at `input`.

    Raises FovealError, which names the layer, for what cannot slide: unshared filters, adaptive pooling into uneven
    windows, normalisation or softmax along the grid, a fully connected layer that reads no map, and what `trace` and
    `shapes` refuse.
    """
    check_input(input)
    if len(input) < 2:
        raise FovealError(f"an input of {input[0]} numbers has no grid to slide over", "give (C, L), (C, H, W), …")
    graph = trace(model)
    planner = _Planner({layer.path: layer for layer in shapes(model, input)}, len(input) - 1)
    for node in graph.graph.nodes:
        if node.op.startswith("call"):
            planner.visit(node)
        elif node.op == "output":
            planner.finish(node)
    edited = without(graph.graph, planner.flattenings) if planner.flattenings else None
    return swapped(model, planner.plan, edited)


class _Planner:
    """Walks the trace and notes whether each value is a map or a flattened one, and the stand-in of each leaf."""

    def __init__(self, layers: dict[str, LayerShape], dims: int) -> None:
        self.layers, self.dims = layers, dims
        self.plan: dict[str, Swap] = {}
        self.flattenings: list[fx.Node] = []
        self._flat: dict[fx.Node, _Flat | None] = {}
        self._numbers: dict[str, object] = {}  # of the stand-ins, to find a leaf that is used in two ways

    def visit(self, node: fx.Node) -> None:
        """Plan one node of the trace."""
        layer = self.layers[node.meta["path"]]
        flats = [self._flat.get(source) for source in node.all_input_nodes]
        if layer.module is None:
            self._flat[node] = self._join(node, layer, flats)
        else:
            self._flat[node] = self._leaf(node, layer, layer.module, flats[0])

    def finish(self, node: fx.Node) -> None:
        """Check that what comes out is one vector or map per position."""
        for source in node.all_input_nodes:
            flat = self._flat.get(source)
            if flat is not None and not flat.single:
                raise FovealError(
                    f"the network ends in {flat.channels} maps of {text(flat.grid)}, flattened, with no scores",
                    "end it with a fully connected layer or a global pooling",
                )

    def _leaf(self, node: fx.Node, layer: LayerShape, module: nn.Module, flat: _Flat | None) -> _Flat | None:
        path = str(node.target)
        if isinstance(module, nn.Flatten):
            if module.start_dim != 1 or module.end_dim not in (-1, len(layer.inputs[0])):
                raise _cannot(layer, "flattens only some dimensions", "use nn.Flatten()")
            self._swap(path, layer, "identity", lambda old: nn.Identity())
            return flat or _flattened(layer)
        if isinstance(module, nn.Linear | RBF):
            return self._matrix(path, layer, module, flat)
        if isinstance(module, ADAPTIVE):
            self._pool(path, layer, module)
        elif isinstance(module, nn.Softmax | nn.LogSoftmax):
            self._softmax(path, layer, module, flat)
        elif isinstance(module, LocallyConnected2d):
            raise _cannot(layer, "has own filters at each position and cannot slide", _DENSE)
        elif flat is None:
            if window(module, path=layer.path) is None:
                raise _cannot(layer, "is made for one size of maps", _DENSE)
        elif not isinstance(module, ELEMENTWISE):
            self._channelwise(path, layer, module, flat)
        return flat

    def _matrix(self, path: str, layer: LayerShape, module: nn.Linear | RBF, flat: _Flat | None) -> _Flat:
        if flat is None:
            raise _cannot(
                layer, f"works along the last dimension of {text(layer.inputs[0])}", "put nn.Flatten before it"
            )
        channels, grid = flat.channels, flat.grid
        if isinstance(module, nn.Linear):
            self._swap(path, layer, (channels, grid), lambda old: SlidingLinear(old, channels, grid))
        elif flat.single:
            self._swap(path, layer, "single", lambda old: SlidingRBF(old.centres))
        else:
            raise _cannot(layer, f"compares {channels} maps of {text(grid)} with its centres", _DENSE)
        return _Flat(layer.output[0], (1,) * self.dims)

    def _pool(self, path: str, layer: LayerShape, module: nn.Module) -> None:
        size = layer.inputs[0][1:]
        seen = window(module, size, path=layer.path)
        assert seen is not None
        wanted = output_sizes(module, size)
        stride = tuple(1 if n == 1 else s for n, s in zip(wanted, seen.stride, strict=True))
        kernel, kinds = seen.kernel, _MAX if "Max" in type(module).__name__ else _AVG
        make: Callable[..., nn.Module] = kinds[self.dims - 1]
        if all(k == 1 for k in kernel):
            self._swap(path, layer, "identity", lambda old: nn.Identity())
        else:
            self._swap(path, layer, (kernel, stride), lambda old: make(kernel, stride))

    def _softmax(self, path: str, layer: LayerShape, module: nn.Softmax | nn.LogSoftmax, flat: _Flat | None) -> None:
        dims = len(layer.inputs[0]) + 1  # of the tensor, with the batch
        dim = module.dim if module.dim is not None else (0 if dims == 3 else 1)  # torch's habit
        if dim % dims != 1 or (flat is not None and not flat.single):
            raise _cannot(layer, "is not over the classes of one position", "give it dim=1, behind the last layer")
        kind = type(module)
        self._swap(path, layer, "softmax", lambda old: kind(dim=1))

    def _channelwise(self, path: str, layer: LayerShape, module: nn.Module, flat: _Flat) -> None:
        """A layer behind a flattening that knows one channel from another."""
        if window(module, path=layer.path) is None or not flat.single:
            where = f"{flat.channels} flattened maps of {text(flat.grid)}"
            raise _cannot(layer, f"stands behind {where}", "put it before nn.Flatten or behind nn.Linear")
        if type(module) is nn.BatchNorm1d:
            self._swap(path, layer, "norm", lambda old: _renamed(old, _NORM[self.dims - 1]))

    def _join(self, node: fx.Node, layer: LayerShape, flats: list[_Flat | None]) -> _Flat | None:
        if layer.kind == "flatten":
            if any(n not in (1, -1, len(layer.inputs[0])) for n in _numbers(node)) or _numbers(node)[:1] != [1]:
                raise _cannot(layer, "flattens only some dimensions", "write torch.flatten(x, 1), or use nn.Flatten()")
            self.flattenings.append(node)
            return flats[0] or _flattened(layer)
        if any(source.op == "get_attr" for source in node.all_input_nodes):
            raise _cannot(layer, "joins a tensor of the network with the map", "make it an nn.Module of its own")
        if any(flat is None for flat in flats) != all(flat is None for flat in flats):
            raise _cannot(layer, "joins maps and vectors", "flatten all of them or none")
        first = flats[0]
        if layer.kind == "cat" and _dimension(node) % (len(layer.output) + 1) != 1:
            raise _cannot(layer, "joins along the grid", "maps can be joined along channels only: torch.cat(…, 1)")
        if layer.kind == "cat" and first is not None and _dimension(node) != 1:
            raise _cannot(layer, "names the last dimension, which in a map is the grid's", "write torch.cat(…, 1)")
        if first is None:
            return None
        if any(flat is None or flat.grid != first.grid for flat in flats):
            raise _cannot(layer, "joins flattened maps of different sizes", "put nn.Linear before it")
        return _Flat(sum(f.channels for f in flats if f), first.grid) if layer.kind == "cat" else first

    def _swap(self, path: str, layer: LayerShape, numbers: object, swap: Swap) -> None:
        if self._numbers.setdefault(path, numbers) != numbers:
            raise _cannot(layer, "is used at two places of different sizes", "give each place a layer of its own")
        self.plan[path] = swap


def _flattened(layer: LayerShape) -> _Flat:
    return _Flat(layer.inputs[0][0], layer.inputs[0][1:])


def _numbers(node: fx.Node) -> list[Any]:
    """start_dim and end_dim of a functional flatten, where they are given."""
    named = [node.kwargs[name] for name in ("start_dim", "end_dim") if name in node.kwargs]
    return [*node.args[1:], *named]


def _dimension(node: fx.Node) -> int:
    dim: Any = node.kwargs.get("dim", node.kwargs.get("axis", node.args[1] if len(node.args) > 1 else 0))
    return int(dim)


def _renamed(old: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """The same layer under the class for maps."""
    new = copy.copy(old)
    new.__class__ = kind
    return new


def _cannot(layer: LayerShape, why: str, mend: str) -> FovealError:
    name = f"layer '{layer.path}' ({layer.kind})" if layer.module is not None else f"the join '{layer.path}'"
    return FovealError(f"{name} {why}", mend)
