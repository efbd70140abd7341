"""From a unit back to the pixels, layer by layer: unpool by switches, rectify, filter with the same filters flipped.

M. D. Zeiler, R. Fergus, «Visualizing and understanding convolutional networks», ECCV 2014, section 2.1, built as it is
written there and not as a gradient with another rule, from which it differs where poolings overlap.

What the paper does not say: normalisation is passed through as it is (local response, local contrast) or by its
constant factor (batch norm in evaluation mode); fully connected layers are their transposed matrix; where a network
branches, the ways back from a sum each get the whole signal, those from a concatenation their part, and what comes
back to a fork is added up. Biases have no part in the way back.
"""

from __future__ import annotations

from typing import Any, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from foveal.errors import FovealError, unknown
from foveal.explanations._execute import execute
from foveal.graph.trace import trace
from foveal.layers.contrast import LocalContrastNorm
from foveal.layers.dilated_pool import DilatedMaxPool2d
from foveal.layers.synchronised import SynchronisedDropout
from foveal.layers.unpooling import Overlap, find_switches, unpool

_AS_IT_IS = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, SynchronisedDropout,
    nn.LocalResponseNorm, LocalContrastNorm,
)  # fmt: skip
_POOLS = (nn.MaxPool2d,)


class Deconvnet:
    """The way back through a network from one of its layers.

    overlap: what happens where windows of a pooling overlap and two have their largest value at the same place: "last",
    the literal unpooling, in which the later window writes over the earlier one, or "sum", which is the gradient's way.

    Raises FovealError for a network that cannot be traced (naming the line), an unknown layer, and a layer on the way
    whose way back is not known, such as mean pooling, which leaves no switches.
    """

    def __init__(self, model: nn.Module, layer: str, overlap: Overlap = "last") -> None:
        if overlap not in get_args(Overlap):
            raise unknown("overlap", str(overlap), get_args(Overlap))
        self.overlap = overlap
        self.graph = trace(model)
        nodes = {str(n.meta["path"]): n for n in self.graph.graph.nodes if "path" in n.meta}
        if layer not in nodes:
            raise unknown("layer", layer, nodes)
        self.layer, self._end = layer, nodes[layer]
        self._way = _before(self._end)
        for node in self._way:
            self._check(node)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Run images [B, C, H, W] and keep what the way back needs; the layer's output [B, C', …].

        The network has to be in evaluation mode. FovealError where it cannot take the images.
        """
        self._values: dict[fx.Node, Tensor] = {}
        self._switches: dict[fx.Node, Tensor] = {}
        for node in self.graph.graph.nodes:
            if node not in self._way and node.op != "placeholder":
                continue
            try:
                self._values[node] = self._run(node, images)
            except RuntimeError as error:
                first = str(error).partition("\n")[0]
                place = node.meta.get("path", "input")
                raise FovealError(f"layer '{place}' cannot take the image: {first}", "give one of its size") from error
        return self._values[self._end]

    @torch.no_grad()
    def backward(self, signal: Tensor) -> Tensor:
        """A signal [B, C', …] at the layer, sent back to the pixels of the images of `forward`: [B, C, H, W]."""
        back: dict[fx.Node, Tensor] = {self._end: signal}
        for node in reversed(self._way):
            for source, part in self._sources(node, back.pop(node)):
                back[source] = back[source] + part if source in back else part
        return back[next(iter(self.graph.graph.nodes))]

    @torch.no_grad()
    def project(self, images: Tensor, units: Tensor, places: Tensor) -> Tensor:
        """Of each image [B, C, H, W] the activation of one map, int64 [B], at one place, int64 [B, 2] (row, column; of
        a layer without maps ignored): everything else set to zero, sent back to the pixels [B, C, H, W]."""
        output = self.forward(images)
        signal = torch.zeros_like(output)
        at = (torch.arange(len(images)), units, *places.T) if output.ndim == 4 else (torch.arange(len(images)), units)
        signal[at] = output[at].clamp_min(0)
        return self.backward(signal)

    def _run(self, node: fx.Node, images: Tensor) -> Tensor:
        if node.op == "placeholder":
            return images
        if node.op == "call_module":
            module = self.graph.get_submodule(str(node.target))
            if isinstance(module, _POOLS):
                values, self._switches[node] = _pooled(module, self._values[node.all_input_nodes[0]])
                return values
        output: Tensor = execute(self.graph, node, self._values)
        return output

    def _sources(self, node: fx.Node, signal: Tensor) -> list[tuple[fx.Node, Tensor]]:
        """What goes on to each of a node's inputs."""
        if node.op == "call_module":
            source = node.all_input_nodes[0]
            return [(source, self._through(node, signal, self._values[source]))]
        kind, sources = node.meta["kind"], node.all_input_nodes
        if kind == "flatten":
            return [(sources[0], signal.reshape(self._values[sources[0]].shape))]
        if kind == "cat":
            dim = _dimension(node)
            parts: Any = node.args[0]
            sizes = [self._values[part].shape[dim] for part in parts]
            return list(zip(parts, torch.split(signal, sizes, dim), strict=True))
        return [(source, signal) for source in node.args if isinstance(source, fx.Node)]

    def _through(self, node: fx.Node, signal: Tensor, x: Tensor) -> Tensor:
        """A signal behind a layer, sent back to before it, where the forward pass had `x`."""
        module: Any = self.graph.get_submodule(str(node.target))
        if isinstance(module, nn.ReLU):
            back = signal.clamp_min(0)
        elif isinstance(module, _POOLS):
            back = unpool(signal, self._switches[node], x.shape[2:], self.overlap)
        elif isinstance(module, nn.Conv2d):
            back = _filtered_back(module, signal, x)
        elif isinstance(module, nn.Linear):
            back = signal @ module.weight
        elif isinstance(module, nn.Flatten):
            back = signal.reshape(x.shape)
        elif isinstance(module, nn.BatchNorm2d):
            scale = (cast(Tensor, module.running_var) + module.eps).rsqrt()
            back = signal * (scale if module.weight is None else scale * module.weight).view(1, -1, 1, 1)
        else:
            back = signal
        return back

    def _check(self, node: fx.Node) -> None:
        if node.op != "call_module":
            return
        module, path = self.graph.get_submodule(str(node.target)), node.meta["path"]
        why = ""
        if isinstance(module, nn.AvgPool2d | nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d | DilatedMaxPool2d):
            why = "leaves no switches to unpool by"
        elif isinstance(module, nn.Conv2d) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
            why = f"pads by {module.padding if isinstance(module.padding, str) else module.padding_mode}"
        elif isinstance(module, nn.BatchNorm2d) and module.running_var is None:
            why = "measures every batch anew"
        elif not isinstance(module, (nn.ReLU, *_POOLS, nn.Conv2d, nn.Linear, nn.Flatten, nn.BatchNorm2d, *_AS_IT_IS)):
            why = "has no way back in a deconvnet"
        if why:
            raise FovealError(
                f"layer '{path}' ({type(module).__name__}), before '{self.layer}', {why}",
                "choose a layer before it, or a network of convolutions, ReLUs and max poolings",
            )


def _pooled(pool: nn.MaxPool2d, x: Tensor) -> tuple[Tensor, Tensor]:
    switches = find_switches(x, pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode)
    return x.flatten(2).gather(2, switches.flatten(2)).view(switches.shape), switches


def _filtered_back(conv: nn.Conv2d, signal: Tensor, x: Tensor) -> Tensor:
    """The same filters, transposed; positions behind the last window, which no filter has read, stay zero."""
    numbers = zip(
        x.shape[2:], signal.shape[2:], conv.stride, conv.padding, conv.dilation, conv.kernel_size, strict=True
    )
    extra = [n - ((m - 1) * s - 2 * int(p) + d * (k - 1) + 1) for n, m, s, p, d, k in numbers]
    return F.conv_transpose2d(
        signal, conv.weight, None, conv.stride, conv.padding, tuple(extra), conv.groups, conv.dilation  # type: ignore[arg-type]
    )  # fmt: skip


def _before(end: fx.Node) -> list[fx.Node]:
    """The node and all that it depends on, but the image, in order of execution."""
    wanted: set[fx.Node] = set()
    stack = [end]
    while stack:
        node = stack.pop()
        if node not in wanted and node.op != "placeholder":
            wanted.add(node)
            stack.extend(node.all_input_nodes)
    return [node for node in end.graph.nodes if node in wanted]


def _dimension(node: fx.Node) -> int:
    return int(node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0))  # type: ignore[arg-type]
