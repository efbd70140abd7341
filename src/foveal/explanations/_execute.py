"""One node of a trace, run on values that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx


def execute(graph: fx.GraphModule, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    """What a node, neither input nor output, makes of the values of the nodes before it; these stay as they are."""
    target = str(node.target)
    if node.op == "get_attr":
        owner, _, name = target.rpartition(".")
        return getattr(graph.get_submodule(owner), name)
    found: Any = fx.node.map_arg((node.args, node.kwargs), lambda source: values[source])
    args, kwargs = found
    if node.op == "call_module":
        module = graph.get_submodule(target)
        if getattr(module, "inplace", False):
            args = (args[0].clone(), *args[1:])
        return module(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], target)(*args[1:], **kwargs)
    assert callable(node.target)
    return node.target(*args, **kwargs)
