"""In which order a network's layers compute."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from foveal.graph.trace import trace


def execution_order(model: nn.Module) -> Iterator[str]:
    """The paths of the modules that run, by first use; parts of a layer that is traced as a whole follow it.

    A parameter of a block that is used directly counts as use of the block. Raises FovealError for a network that
    cannot be traced.
    """
    modules = dict(model.named_modules())
    seen: set[str] = set()
    for node in trace(model).graph.nodes:
        target = str(node.target)
        if node.op == "call_module":
            names = [target + (f".{inner}" if inner else "") for inner, _ in modules[target].named_modules()]
        else:
            names = [target.rpartition(".")[0]] if node.op == "get_attr" else []
        yield from (name for name in names if name not in seen)
        seen.update(names)
