"""The shape of every layer's output, found by running the graph on the meta device: no memory, no arithmetic."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from foveal.errors import FovealError
from foveal.graph.trace import trace
from foveal.graph.windows import Size, known, window

_BATCH = 2  # any number does; batch norm refuses one value per channel


@dataclass(frozen=True)
class LayerShape:
    """One executed layer or join: its place, where its inputs come from, and the shapes without the batch.

    `path` is unique: a module called twice appears as `relu` and `relu#2`. `module` is None for joins, whose `kind` is
    add, cat or flatten; the `kind` of a module is its class name. `sources` are paths, each once;
    "input" is the image.
    """

    path: str
    kind: str
    module: nn.Module | None
    sources: tuple[str, ...]
    inputs: tuple[Size, ...]
    output: Size


def shapes(model: nn.Module, input: Size) -> list[LayerShape]:
    """The layers and joins of the network in order of execution, for one image of shape `input` = (C, H, W).

    (C, L) and (C, D, H, W) are sequences and volumes, (F,) a vector. The model is left as it is.
    Raises FovealError for a network that cannot be traced or cannot take the input: it names the layer and both sizes.
    """
    check_input(input)
    graph = trace(model)
    values: dict[fx.Node, Any] = {}
    found: list[LayerShape] = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            values[node] = torch.empty((_BATCH, *input), device="meta")
            node.meta["path"] = "input"
        elif node.op == "get_attr":
            values[node] = _constant(graph, str(node.target))
        elif node.op != "output":
            layer, values[node] = _execute(graph, node, values, input)
            found.append(layer)
    return found


def check_input(input: Size) -> None:
    """Raises FovealError unless `input` is (C, H, W), or the like with one to three dimensions of the grid or none."""
    if not 1 <= len(input) <= 4 or any(not isinstance(n, int) or n < 1 for n in input):
        raise FovealError(f"an input of shape {tuple(input)} is no image", "write channels first, as (3, 224, 224)")


def text(size: Size) -> str:
    """A shape as people write it: 3x227x227."""
    return "x".join(map(str, size))


def _execute(
    graph: fx.GraphModule, node: fx.Node, values: dict[fx.Node, Any], image: Size
) -> tuple[LayerShape, Tensor]:
    path = node.meta["path"]
    module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
    sources = tuple(source for source in node.all_input_nodes if source.op != "get_attr")
    inputs = tuple(tuple(values[source].shape[1:]) for source in sources)
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda source: values[source])
    try:
        output = _call(node, module, args, kwargs)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise _misfit(path, module, inputs, image, str(error).partition("\n")[0]) from error
    if not isinstance(output, Tensor):
        raise FovealError(
            f"layer '{path}' gives a {type(output).__name__}, not one tensor",
            "no pass can follow that; return one tensor",
        )
    shape = tuple(output.shape[1:])
    if not all(shape):
        raise _misfit(path, module, inputs, image, f"its output would be {text(shape)}")
    kind = type(module).__name__ if module is not None else node.meta["kind"]
    return LayerShape(path, kind, module, tuple(s.meta["path"] for s in sources), inputs, shape), output


def _call(node: fx.Node, module: nn.Module | None, args: Any, kwargs: Any) -> Any:
    if module is not None:
        return ghost(module).forward(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    assert callable(node.target)
    return node.target(*args, **kwargs)


def ghost(module: nn.Module) -> nn.Module:
    """A copy without weights, hooks or training behaviour; the original is not touched."""
    copied = type(module).__new__(type(module))  # copy.copy refuses parametrised layers
    state = copied.__dict__
    state.update(module.__dict__)
    state["_parameters"] = {name: _meta(p) for name, p in module._parameters.items()}
    state["_buffers"] = {name: _meta(b) for name, b in module._buffers.items()}
    state["_modules"] = {name: child and ghost(child) for name, child in module._modules.items()}
    for hooks in [name for name in state if name.endswith("_hooks")]:
        state[hooks] = OrderedDict()
    for name, value in list(state.items()):
        if isinstance(value, Tensor):
            state[name] = _meta(value)
    state["training"] = False
    return copied


def _meta(value: Tensor | None) -> Tensor | None:
    if value is None:
        return None
    dtype = torch.float32 if value.is_floating_point() else value.dtype
    return torch.empty(value.shape, dtype=dtype, device="meta")


def _constant(graph: fx.GraphModule, path: str) -> Tensor | None:
    owner, _, name = path.rpartition(".")
    return _meta(getattr(graph.get_submodule(owner), name))


def _misfit(path: str, module: nn.Module | None, inputs: tuple[Size, ...], image: Size, why: str) -> FovealError:
    given = " and ".join(map(text, inputs))
    mend = f"the network was given an input of {text(image)}: choose another size"
    if module is None:
        return FovealError(f"the join '{path}' cannot take {given}: {why}", mend)
    name = f"layer '{path}' ({type(module).__name__})"
    size = inputs[0] if inputs else ()
    if isinstance(module, nn.Linear):
        return FovealError(f"{name} takes {module.in_features} features and is given {given}", mend)
    channels = getattr(module, "in_channels", None) or getattr(module, "num_features", None)
    if isinstance(channels, int) and size and size[0] != channels:
        return FovealError(f"{name} takes {channels} channels and is given {given}", mend)
    seen = window(module) if known(module) else None
    if seen is not None and len(size) - 1 == len(seen.kernel):
        padded = tuple(n + 2 * p for n, p in zip(size[1:], seen.padding, strict=True))
        if any(n < e for n, e in zip(padded, seen.extent, strict=True)):
            return FovealError(f"{name} looks through {text(seen.extent)} and is given {given}", mend)
    return FovealError(f"{name} cannot take {given}: {why}", mend)
