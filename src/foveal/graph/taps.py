"""The activations of named layers, from one run, with no hook left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from foveal.errors import FovealError, unknown
from foveal.graph.trace import trace
from foveal.graph.windows import known


def taps(model: nn.Module, layers: str | Iterable[str], method: str = "forward") -> Taps:
    """Ready to listen at `layers`: `taps(model, ["conv5", "fc7"])(images)` → {"conv5": [N, 256, 13, 13], "fc7": …}.

    A layer is any module by its path, a block as well (`layer1.0`), a further call of a module (`relu#2`), or a join of
    the trace as `shapes` names it (`layer1.0.add`). Joins need a network that can be traced; modules do not, so that
    detectors and networks of any other make can be tapped. `method` is what the call runs instead of forward
    (`taps(detector, "backbone", "detect")(images)`).

    Values come in the order of `layers`. They are the network's own where gradients flow (torch.autograd.grad of a
    score with respect to them works), and copies where none do. Modes, weights and hooks are as before, also when it
    raises.

    Raises FovealError: for a layer or method that does not exist («did you mean»); when called, for a layer that the
    run does not reach, whose output is no tensor, or which a later in-place operation overwrites.
    """
    return Taps(model, [layers] if isinstance(layers, str) else list(layers), method)


class Taps:
    """What `taps` returns; call it with what the method takes."""

    def __init__(self, model: nn.Module, layers: list[str], method: str) -> None:
        self.model, self.layers, self.method = model, layers, method
        if not callable(getattr(model, method, None)):
            methods = [name for name in dir(type(model)) if not name.startswith("_")]
            raise unknown(f"method of {type(model).__name__}", method, methods)
        self._modules = dict(model.named_modules(remove_duplicate=False))
        root = self._modules.pop("")
        if known(root):
            self._modules = {type(root).__name__.lower(): root}
        self._graph: fx.GraphModule | None = None
        if any(_split(layer)[0] not in self._modules for layer in layers):
            self._graph = self._traced()

    def __call__(self, *inputs: Any, **named: Any) -> dict[str, Tensor]:
        """One run; the values by layer, in the order in which the layers were given."""
        found: dict[str, tuple[Tensor, int]] = {}
        if self._graph is not None:
            _Listener(self._graph, partial(_keep, set(self.layers), found)).run(*inputs, **named)
        else:
            run = self.model if self.method == "forward" else getattr(self.model, self.method)
            with ExitStack() as hooks:
                self._listen(found, hooks)
                run(*inputs, **named)
        for layer in self.layers:
            if layer not in found:
                raise FovealError(
                    f"layer '{layer}' was not reached when {self.method} ran", "name a layer that this run uses"
                )
            value, version = found[layer]
            if version >= 0 and value._version != version:
                raise FovealError(
                    f"the output of layer '{layer}' was overwritten in place by what follows it",
                    "set inplace=False there, or call it under torch.no_grad() if no gradients are needed",
                )
        return {layer: found[layer][0] for layer in self.layers}

    def _listen(self, found: dict[str, tuple[Tensor, int]], hooks: ExitStack) -> None:
        wanted: dict[nn.Module, set[str]] = {}
        for layer in self.layers:
            wanted.setdefault(self._modules[_split(layer)[0]], set()).add(layer)
        for module, layers in wanted.items():
            handle = module.register_forward_hook(_heard(layers, found))
            hooks.callback(handle.remove)

    def _traced(self) -> fx.GraphModule:
        """The trace, in which every layer must be, since one is no module."""
        missing = next(layer for layer in self.layers if _split(layer)[0] not in self._modules)
        try:
            graph = trace(self.model)
        except FovealError as error:
            lost = unknown("layer", missing, self._modules)
            raise FovealError(lost.what, f"{lost.mend} (joins are not known here: {error.what})") from error
        paths = {n.meta["path"] for n in graph.graph.nodes if "path" in n.meta}
        for layer in self.layers:
            if layer not in paths and layer in self._modules:
                raise FovealError(
                    f"the block '{layer}' and the join '{missing}' cannot be tapped together", "ask for them one by one"
                )
            if layer not in paths:
                raise unknown("layer", layer, paths | self._modules.keys())
        if self.method != "forward":
            raise FovealError(
                f"the join '{missing}' is a place of forward, not of {self.method}", "name modules, or leave out method"
            )
        return graph


class _Listener(fx.Interpreter):
    """Runs a trace and shows each value."""

    def __init__(self, graph: fx.GraphModule, hear: Callable[[str, Any], None]) -> None:
        super().__init__(graph)
        self.hear = hear

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.hear(n.meta.get("path", ""), value)
        return value


def _heard(layers: set[str], found: dict[str, tuple[Tensor, int]]) -> Callable[..., None]:
    """A hook for one module that is known as `layers`; its calls are counted."""
    calls: Counter[str] = Counter()
    names = {_split(layer)[0] for layer in layers}

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        for name in names:
            calls[name] += 1
            _keep(layers, found, name if calls[name] == 1 else f"{name}#{calls[name]}", output)

    return hook


def _keep(layers: set[str], found: dict[str, tuple[Tensor, int]], path: str, value: Any) -> None:
    if path not in layers:
        return
    if not isinstance(value, Tensor):
        raise FovealError(f"layer '{path}' gives a {type(value).__name__}, not one tensor", "name a layer inside it")
    own = value.requires_grad and torch.is_grad_enabled()
    found[path] = (value, value._version) if own else (value.clone(), -1)


def _split(layer: str) -> tuple[str, str]:
    name, _, call = layer.partition("#")
    return name, call
