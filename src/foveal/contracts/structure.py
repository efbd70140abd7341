"""Rules on how a network is written, read off its graph: passes see modules, and modules only."""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from foveal.contracts.report import Rule, Skip, Violation, listed
from foveal.contracts.subject import Network
from foveal.graph.windows import known

_JOINS = {
    operator.add, operator.iadd, torch.add, "add", "add_",
    torch.cat, torch.concat, torch.concatenate, torch.flatten, "flatten",
}  # fmt: skip
_IN_PLACE = {operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.setitem}
_FUNCTIONS = {function: name for name, function in vars(F).items() if callable(function) and not name.startswith("_")}


def _traceable(network: Network) -> str:
    _ = network.model
    return f"{len(network.trace().nodes)} steps"


def _same_graph(network: Network) -> str:
    evaluated, trained = network.graph.shape(), network.trace(training=True).shape()
    if evaluated == trained:
        return "one graph in both modes"
    different = next((i for i, (a, b) in enumerate(zip(evaluated, trained, strict=False)) if a != b), None)
    at = f", first at {_called(network.trace(True).nodes[different])}" if different is not None else ""
    raise Violation(f"{len(evaluated)} steps in eval mode, {len(trained)} in training mode{at}")


def _known_leaves(network: Network) -> str:
    modules = dict(network.model.named_modules())
    leaves = {str(node.target): modules[str(node.target)] for node in network.graph.nodes if node.op == "call_module"}
    strange = [f"{path} ({type(leaf).__name__})" for path, leaf in leaves.items() if not known(leaf)]
    if strange:
        raise Violation(f"unknown: {listed(strange)}")
    return f"{len(leaves)} leaf modules, all known"


def _modules_only(network: Network) -> str:
    found = [n for n in network.graph.nodes if n.op in ("call_function", "call_method") and n.target not in _JOINS]
    if not found:
        return "joins are the only functions"
    counts = Counter(_called(node) for node in found)
    first = network.graph.places[found[0]] or "the outermost forward"
    shown = [f"{name} ×{count}" for name, count in counts.most_common()]
    raise Violation(f"functions in forward: {listed(shown)}; the first in {first}")


def _not_in_place(network: Network) -> str:
    modules = [path for path, module in network.model.named_modules() if getattr(module, "inplace", False)]
    try:
        graph = network.graph
    except Skip:  # not traceable: the modules can be looked at nevertheless
        if not modules:
            raise
        raise Violation(f"{len(modules)} modules with inplace=True: {listed(modules)}") from None
    calls = [f"{_called(node)} in {graph.places[node] or 'forward'}" for node in graph.nodes if _writes(node)]
    if modules or calls:
        parts = [f"{len(modules)} modules with inplace=True: {listed(modules)}"] if modules else []
        parts += [f"{len(calls)} in-place operations: {listed(calls, 3)}"] if calls else []
        raise Violation("; ".join(parts))
    return "nothing is overwritten"


def _one_call_per_instance(network: Network) -> str:
    calls = Counter(str(node.target) for node in network.graph.nodes if node.op == "call_module")
    again = [f"{path} ×{count}" for path, count in calls.items() if count > 1]
    names: dict[int, list[str]] = {}
    for path, module in network.model.named_modules(remove_duplicate=False):
        names.setdefault(id(module), []).append(path)
    shared = [" = ".join(paths) for paths in names.values() if len(paths) > 1]
    if again or shared:
        raise Violation(f"called more than once or under two names: {listed([*again, *shared])}")
    return f"{len(calls)} instances, one call each"


def _writes(node: fx.Node) -> bool:
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    name = getattr(node.target, "__name__", "")
    return node.op == "call_function" and (
        node.target in _IN_PLACE or bool(node.kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))
    )


def _called(node: fx.Node) -> str:
    target: Any = node.target
    if isinstance(target, str):
        return target
    return _FUNCTIONS.get(target) or str(getattr(target, "__name__", target))


STRUCTURE: tuple[Rule[Network], ...] = (
    Rule(
        "traceable",
        "receptive fields, counts, cutting and dilation follow the graph of the forward",
        "forward must not branch on, loop over or compute with tensors or their shapes",
        _traceable,
    ),
    Rule(
        "one graph",
        "a forward that does something else in training is trained as one network and used as another",
        "take `self.training` out of forward; auxiliary heads belong into losses(images, targets)",
        _same_graph,
    ),
    Rule(
        "known layers",
        "a pass that does not know a layer's window would be wrong behind it",
        "register the layer: foveal.graph.windows.register(YourLayer)(lambda layer: Window(…))",
        _known_leaves,
    ),
    Rule(
        "modules only",
        "hooks see modules: a functional ReLU makes guided backpropagation and its kin silently the plain gradient",
        "make each function a module of the network (nn.ReLU, nn.MaxPool2d, nn.Flatten …); only + and torch.cat stay",
        _modules_only,
    ),
    Rule(
        "not in place",
        "backward hooks fail on overwritten values, and nothing is saved: the value is kept for the gradient anyway",
        "inplace=False, and `x = x + y` instead of `x += y`",
        _not_in_place,
    ),
    Rule(
        "one call per instance",
        "a module that is called twice has two outputs, and hooks and layer names can mean only one",
        "create one module for each call, also of nn.ReLU",
        _one_call_per_instance,
    ),
)
