"""A part of a network as a network of its own: up to a layer, or from one on."""

from __future__ import annotations

import copy

from torch import fx, nn

from foveal.errors import FovealError, unknown
from foveal.graph.trace import trace


def cut(model: nn.Module, *, start: str | None = None, end: str | None = None) -> fx.GraphModule:
    """The part of the network from layer `start` to layer `end`, both included; None: where the network begins, ends.

    `cut(model, end="pool5")` maps images to the output of pool5, and `cut(model, start="fc6")` what fc6 reads to the
    scores: one behind the other they are the network. What reads the same value as `start` does (a shortcut
    beside it) reads the new input too. A layer is a leaf of the trace, a join as `shapes` names it, or a block
    (`layer2`), which means its first or last layer.

    The result is a copy: its state_dict has the model's keys for the layers that it holds, and no others; `model` is
    left as it is. Raises FovealError for an unknown layer («did you mean»), a value that would have to cross the cut
    (it names the join that needs it), a start behind the end, a start that reads several values, and what `trace`
    refuses.
    """
    if start is None and end is None:
        raise FovealError("a cut needs a place", "give start=… or end=…, a layer's name")
    traced = trace(model)
    (output,) = traced.graph.find_nodes(op="output")
    if end is not None:
        last = _place(traced.graph, end, -1)
    elif isinstance(output.args[0], fx.Node):
        last = output.args[0]
    else:
        raise FovealError(f"{type(model).__name__} has several outputs", "name the layer where the part ends: end=…")
    source = _source(traced.graph, start)
    part = copy.deepcopy(fx.GraphModule(traced, _between(source, last, start or "its input"), type(model).__name__))
    own = dict(model.named_modules())
    for path, module in part.named_modules():  # fx makes the containers anew
        module.training = own.get(path, model).training
    return part


def _place(graph: fx.Graph, layer: str, which: int) -> fx.Node:
    """The node called `layer`; of a block's nodes the first (0) or the last (-1)."""
    named: dict[str, fx.Node] = {node.meta["path"]: node for node in graph.nodes if "path" in node.meta}
    if layer in named:
        return named[layer]
    inside = [node for path, node in named.items() if path.startswith(f"{layer}.")]
    if not inside:
        blocks = {path.rpartition(".")[0] for path in named} - {""}
        raise unknown("layer", layer, named.keys() | blocks, "foveal.show prints the layers of a network")
    return inside[which]


def _source(graph: fx.Graph, start: str | None) -> fx.Node:
    """The value that the part begins with."""
    if start is None:
        placeholders: list[fx.Node] = graph.find_nodes(op="placeholder")
        return placeholders[0]
    first = _place(graph, start, 0)
    sources = [node for node in first.all_input_nodes if node.op != "get_attr"]
    if len(sources) != 1:
        names = " and ".join(f"'{node.meta.get('path', 'input')}'" for node in sources)
        raise FovealError(f"'{start}' reads {len(sources)} values, {names}", "start at a layer that reads one")
    return sources[0]


def _between(source: fx.Node, last: fx.Node, start: str) -> fx.Graph:
    """The nodes from `source`, which becomes the input, to `last`."""
    after = {source}
    for node in source.graph.nodes:
        if any(before in after for before in node.all_input_nodes):
            after.add(node)
    if last not in after or last is source:
        raise FovealError(
            f"'{last.meta.get('path', 'input')}' does not come after '{start}'", "start before the end: start=…, end=…"
        )
    needed: set[fx.Node] = set()
    waiting = [last]
    while waiting:
        node = waiting.pop()
        if node in needed or node is source:
            continue
        needed.add(node)
        for before in node.all_input_nodes:
            if before not in after and before.op != "get_attr":
                raise FovealError(
                    f"'{node.meta['path']}' also needs '{before.meta.get('path', 'input')}', from before '{start}'",
                    "cut where one value alone goes through: before or behind the block",
                )
            waiting.append(before)
    graph = fx.Graph()
    copies = {source: graph.placeholder("x")}
    for node in source.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[last])
    return graph
