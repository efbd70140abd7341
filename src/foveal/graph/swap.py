"""Leaves of a network exchanged on a copy: its class, its forward and the keys of its state_dict stay."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import fx, nn

from foveal.errors import FovealError
from foveal.graph.windows import registered

Swap = Callable[[Any], nn.Module]
"""From a leaf of the copy to what stands in its place; parameters and buffers are to be taken over."""


def swapped(
    model: nn.Module,
    plan: Mapping[str, Swap],
    graph: fx.Graph | None = None,
    added: Mapping[str, nn.Module] = MappingProxyType({}),
) -> nn.Module:
    """A deep copy of `model` with the leaves of `plan`, a path of the trace each, exchanged. `model` is left as it is.

    `graph`, an edited trace, is given where forward itself has to change, with the modules that it needs `added`; the
    result is then an fx.GraphModule with the same keys for all that forward uses. FovealError for leaves that do more
    than their type says.
    """
    result = copy.deepcopy(model)
    own = dict(model.named_modules(remove_duplicate=False))
    for path, swap in plan.items():
        if path not in own:  # the model is itself the leaf, under a made-up name
            check_plain(path, model)
            new = swap(result)
            result = new.train(model.training)
            continue
        check_plain(path, own[path])
        old = result.get_submodule(path)
        new = swap(old)
        if new is not old:
            result.set_submodule(path, new.train(old.training))
    for name, module in added.items():
        result.add_module(name, module)
    return result if graph is None else fx.GraphModule(result, graph, type(model).__name__)


def sharing(model: nn.Module, passes: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """What `passes` make of a copy of `model`, with the parameters and buffers of `model` itself: no memory.

    `passes` see a copy on the meta device, in which they may exchange leaves but not rename them.
    """
    own = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}
    empty: dict[int, Any] = {id(t): torch.empty_like(t, device="meta") for t in own.values()}
    for parameter in model.parameters():
        empty[id(parameter)] = nn.Parameter(empty[id(parameter)], requires_grad=parameter.requires_grad)
    result = passes(copy.deepcopy(model, empty))
    for path, module in result.named_modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = own[f"{path}.{name}".lstrip(".")]
    return result


def check_plain(path: str, module: nn.Module) -> None:
    """Raises FovealError for a leaf whose hooks, own forward or parametrised weights an exchange would lose."""
    why = "has parametrised weights" if hasattr(module, "parametrizations") else strangeness(module)
    if why:
        raise FovealError(
            f"layer '{path}' ({type(module).__name__}) {why}, which the pass would lose",
            "take them away for the pass (parametrisations: torch.nn.utils.parametrize.remove_parametrizations)",
        )


def strangeness(module: nn.Module) -> str:
    """What a leaf does beyond the arithmetic of the type that is registered in `graph.windows`; "" for nothing."""
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        return "has hooks"
    base = registered(module)
    if any(getattr(type(module), name, None) is not getattr(base, name, None) for name in ("forward", "_conv_forward")):
        return f"has a forward of its own, not that of {base.__name__ if base else 'any known layer'}"
    return ""


def without(graph: fx.Graph, nodes: Iterable[fx.Node]) -> fx.Graph:
    """The graph without `nodes`, each of which hands on its first argument. In place."""
    for node in list(nodes):
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph.erase_node(node)
    return graph
