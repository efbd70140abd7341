"""The last layer of a classifier: another one for other classes, or none, for features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import fx, nn

from foveal.errors import FovealError
from foveal.graph.swap import swapped
from foveal.graph.trace import trace
from foveal.layers.rbf import RBF
from foveal.layers.sliding import SlidingLinear, SlidingRBF


def replace_head(model: nn.Module, num_classes: int) -> nn.Module:
    """The classifier for `num_classes` other classes: a copy whose last layer is new, all others keep their weights.

    The head is the one layer with weights that the scores come from: a fully connected one, a convolution (NIN), or
    radial basis functions (LeNet-5). The new one has the old one's options, device and type, torch's initialisation
    (RBF: random ±1 codes), and is trainable. Heads that forward does not use, GoogLeNet's auxiliary ones and the
    earlier exits of MSDNet, follow. Class, forward, `losses` and the keys of the state_dict stay; `model` is left as it
    is.

    Raises FovealError where there is no single head (scores that are joined from several layers, several outputs, a
    head used at two places), for one of another kind, fewer than one class, and what `trace` refuses.
    """
    if not isinstance(num_classes, int) or num_classes < 1:
        raise FovealError(f"num_classes={num_classes!r}: a classifier needs at least one class", "give a whole number")
    head = _find(model)
    return swapped(model, {path: partial(_anew, path, num_classes) for path in (head.path, *_further(model, head))})


def remove_head(model: nn.Module) -> nn.Module:
    """The classifier without its last layer: a copy that gives the features which that layer read.

    [N, C, H, W] → [N, features]; where the head is a convolution in front of a global pooling (NIN), the pooled
    maps. Activations behind the head (softmax) go with it; poolings and flattening stay. The head's keys are missing
    from the state_dict, all others are kept; heads that forward does not use stay as they are.
    Raises FovealError as `replace_head`.
    """
    head = _find(model)
    return swapped(model, dict.fromkeys((head.path, *head.activations), _identity))


@dataclass(frozen=True)
class _Head:
    path: str
    outputs: int
    activations: tuple[str, ...]  # behind it
    executed: frozenset[str]


_GRIDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_KINDS = (nn.Linear, *_GRIDS, SlidingLinear, RBF)


def _find(model: nn.Module) -> _Head:
    """Walk back from the scores to the first layer with weights."""
    traced = trace(model)
    (output,) = traced.graph.find_nodes(op="output")
    node = output.args[0]
    activations: list[str] = []
    if not isinstance(node, fx.Node):
        raise _none(model, "its forward gives several outputs")
    while True:
        place = node.meta.get("path", "")
        if node.op == "placeholder":
            raise _none(model, "no layer with weights stands before its output")
        if node.meta.get("kind") in ("add", "cat") or len(node.all_input_nodes) != 1:
            raise _none(model, f"its scores come together in the join '{place}'")
        if node.op == "call_module":
            module = traced.get_submodule(str(node.target))
            if isinstance(module, _KINDS):
                break
            if any(True for _ in module.parameters()):
                raise _none(model, f"its last layer is '{place}' ({type(module).__name__}), whose classes are fixed")
            if not isinstance(module, nn.Flatten) and not hasattr(module, "kernel_size") and not _adaptive(module):
                activations.append(str(node.target))
        node = node.all_input_nodes[0]
    called = [str(n.target) for n in traced.graph.find_nodes(op="call_module", target=node.target)]
    if len(called) > 1:
        raise _none(model, f"its last layer '{node.target}' is used at {len(called)} places")
    executed = frozenset(str(n.target) for n in traced.graph.nodes if n.op == "call_module")
    return _Head(str(node.target), _outputs(module), tuple(activations), executed)


def _further(model: nn.Module, head: _Head) -> list[str]:
    """Heads that forward does not use: the last layers with weights of parts that make as many scores."""
    last: dict[str, tuple[str, nn.Module]] = {}
    for path, module in model.named_modules():
        if isinstance(module, _KINDS) and path not in head.executed and path:
            last[path.rpartition(".")[0]] = path, module
    return [path for path, module in last.values() if _outputs(module) == head.outputs]


def _adaptive(module: nn.Module) -> bool:
    return hasattr(module, "output_size")


def _outputs(module: Any) -> int:
    if isinstance(module, nn.Linear):
        return module.out_features
    return len(module.centres) if isinstance(module, RBF) else int(module.out_channels)


def _identity(old: nn.Module) -> nn.Module:
    return nn.Identity()


def _anew(path: str, classes: int, old: Any) -> nn.Module:
    """A layer like `old` with another number of outputs."""
    make: Callable[..., nn.Module] | None = _MAKERS.get(type(old))
    why = "" if make is not None else f"is a {type(old).__name__}, of which foveal cannot make another size"
    if getattr(old, "groups", 1) != 1:
        why = f"is a convolution in {old.groups} groups"
    if make is None or why:
        raise FovealError(f"the head '{path}' {why}", f"set it yourself: model.set_submodule('{path}', …)")
    return make(old, classes)


def _linear(old: nn.Linear, classes: int) -> nn.Linear:
    return nn.Linear(old.in_features, classes, old.bias is not None, **_kept(old.weight))


def _sliding(old: SlidingLinear, classes: int) -> SlidingLinear:
    linear = nn.Linear(old.weight.shape[1], classes, old.bias is not None, **_kept(old.weight))
    return SlidingLinear(linear, old.in_channels, old.kernel_size, old.dilation)


def _conv(old: nn.Conv2d, classes: int) -> nn.Module:
    numbers = (old.kernel_size, old.stride, old.padding, old.dilation, 1, old.bias is not None, old.padding_mode)
    return type(old)(old.in_channels, classes, *numbers, **_kept(old.weight))  # type: ignore[arg-type]


def _rbf(old: RBF, classes: int) -> RBF:
    codes = torch.randint(2, (classes, old.centres.shape[1]), device=old.centres.device)
    return type(old)((2 * codes - 1).to(old.centres.dtype))


_MAKERS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Linear: _linear,
    SlidingLinear: _sliding,
    **dict.fromkeys(_GRIDS, _conv),
    RBF: _rbf,
    SlidingRBF: _rbf,
}


def _kept(weight: torch.Tensor) -> dict[str, Any]:
    return {"device": weight.device, "dtype": weight.dtype}


def _none(model: nn.Module, why: str) -> FovealError:
    return FovealError(
        f"{type(model).__name__} has no single head: {why}",
        "give the part that classifies, or set its layers yourself: model.set_submodule(path, …)",
    )
