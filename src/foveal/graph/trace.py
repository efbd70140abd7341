"""The order of execution and the joins of any network, by torch.fx.

Leaves are modules; between them only `+`, `torch.cat` and flattening may stand. Everything else is an error that names
the layer, the line of code and the way out, because a pass that cannot see a ReLU or a pooling would be silently wrong.
"""

from __future__ import annotations

import inspect
import operator
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from foveal.errors import FovealError
from foveal.graph.windows import known

_JOINS: dict[Any, str] = {
    operator.add: "add",
    operator.iadd: "add",
    torch.add: "add",
    "add": "add",
    "add_": "add",
    torch.cat: "cat",
    torch.concat: "cat",
    torch.flatten: "flatten",
    "flatten": "flatten",
}
_MODULE_FOR = {
    "relu": "nn.ReLU",
    "relu_": "nn.ReLU",
    "leaky_relu": "nn.LeakyReLU",
    "tanh": "nn.Tanh",
    "sigmoid": "nn.Sigmoid",
    "softmax": "nn.Softmax",
    "log_softmax": "nn.LogSoftmax",
    "dropout": "nn.Dropout",
    "max_pool2d": "nn.MaxPool2d",
    "avg_pool2d": "nn.AvgPool2d",
    "adaptive_avg_pool2d": "nn.AdaptiveAvgPool2d",
    "mean": "nn.AdaptiveAvgPool2d",
    "batch_norm": "nn.BatchNorm2d",
    "local_response_norm": "nn.LocalResponseNorm",
    "interpolate": "nn.Upsample",
    "conv2d": "nn.Conv2d",
    "linear": "nn.Linear",
    "view": "nn.Flatten",
    "reshape": "nn.Flatten",
    "size": "nn.Flatten",
    "getattr": "nn.Flatten",
}
_TORCH = str(Path(torch.__file__).parent) + os.sep


def trace(model: nn.Module) -> fx.GraphModule:
    """The network as a graph whose nodes are its leaf modules and joins, in order of execution.

    A leaf is a module without children, or of a type that is registered in `graph.windows`. Each node's `meta` holds
    "path", unique in the graph: the module's own path, `….add`, `….cat` or `….flatten`, with #2, #3 … for further
    calls, and, for joins and flattening, "kind". A model that is itself a leaf has its class's name for a
    path. The model is neither run nor changed; the graph's modules are its own.

    Raises FovealError for control flow that depends on the data and for functional layers (F.relu, x.view, …).
    """
    tracer = _Tracer()
    if known(model):
        model = nn.Sequential(OrderedDict({type(model).__name__.lower(): model}))
    try:
        graph = tracer.trace(model, _defaults(model))
    except FovealError:
        raise
    except Exception as error:  # a forward may raise anything when it meets a proxy; all of it means «not traceable»
        why = str(error).partition("\n")[0] or type(error).__name__
        raise FovealError(
            f"{_of(tracer.path, model)} cannot be traced{_line(_raised_at(error))}: {why}",
            "forward must not branch on, loop over or compute with tensors; use modules, `+` and torch.cat",
        ) from error
    for node in reversed(tracer.arguments[1:]):
        graph.erase_node(node)
    return fx.GraphModule(tracer.root, graph)


class _Tracer(fx.Tracer):
    """Steps into containers only, names every node by its place and refuses what no pass can see through."""

    def __init__(self) -> None:
        super().__init__()
        self.path = ""
        self.arguments: list[
            fx.Node
        ] = []  # of forward; behind the first those that keep their defaults, and fx's checks
        self._entered = False
        self._taken: dict[str, int] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, nn.Sequential):  # an empty one is an identity that fx steps through
            return False
        return known(m) or not any(True for _ in m.children())

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        outer, self.path = self.path, self.path_of_module(m)
        result = super().call_module(m, forward, args, kwargs)
        self.path = outer  # not restored when it raises: the error names the place
        return result

    def create_args_for_root(self, *args: Any, **kwargs: Any) -> Any:
        made = super().create_args_for_root(*args, **kwargs)
        self._entered = True
        return made

    def create_node(self, kind: str, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        if not self._entered:
            self.arguments.append(super().create_node(kind, target, *args, **kwargs))
            return self.arguments[-1]
        if kind in ("call_function", "call_method") and target not in _JOINS:
            raise _functional(target, self.path, self.root)
        node = super().create_node(kind, target, *args, **kwargs)
        if kind == "call_module":
            node.meta["path"] = self._unique(str(target))
        elif kind in ("call_function", "call_method"):
            node.meta["kind"] = _JOINS[target]
            node.meta["path"] = self._unique(f"{self.path}.{_JOINS[target]}".lstrip("."))
        return node

    def _unique(self, name: str) -> str:
        self._taken[name] = self._taken.get(name, 0) + 1
        return name if self._taken[name] == 1 else f"{name}#{self._taken[name]}"


def _functional(target: Any, path: str, root: nn.Module) -> FovealError:
    name = str(target if isinstance(target, str) else getattr(target, "__name__", target))
    module = _MODULE_FOR.get(name)
    mend = f"make it a module of the network (self.… = {module}(…))" if module else "make it an nn.Module of its own"
    return FovealError(
        f"{_of(path, root)} uses the function {name}{_line(_called_at())}, which no pass can see",
        f"{mend}; only `+`, torch.cat and torch.flatten may be functions",
    )


def _of(path: str, root: nn.Module) -> str:
    return f"'{path}'" if path else f"the forward of {type(root).__name__}"


def _line(place: tuple[str, int] | None) -> str:
    return f" ({place[0]}:{place[1]})" if place else ""


def _is_ours(file: str) -> bool:
    return file.startswith(_TORCH) or file.startswith("<") or file == __file__


def _called_at() -> tuple[str, int] | None:
    """File and line of the nearest frame that is neither torch's nor this file's."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if not _is_ours(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
    return None


def _raised_at(error: BaseException) -> tuple[str, int] | None:
    """File and line of the innermost frame of the traceback that is neither torch's nor this file's."""
    place, step = None, error.__traceback__
    while step is not None:
        if not _is_ours(step.tb_frame.f_code.co_filename):
            place = step.tb_frame.f_code.co_filename, step.tb_lineno
        step = step.tb_next
    return place


def _defaults(model: nn.Module) -> dict[str, Any]:
    """The defaults of forward's further parameters, which a pass leaves alone."""
    parameters = list(inspect.signature(model.forward).parameters.values())
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not named or any(p.default is p.empty for p in named[1:]):
        raise FovealError(
            f"the forward of {type(model).__name__} takes ({', '.join(map(str, parameters))}), not one batch of images",
            "give the others a default, or trace the part that sees the images (such as model.backbone)",
        )
    return {p.name: p.default for p in named[1:]}
