"""`check_method`: does an explanation leave the network exactly as it found it?"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foveal import catalog
from foveal.contracts.report import Report, Rule, Violation, examine, listed


class Method:
    """An explanation applied to a network and an image, with everything about them as it was before the first call."""

    def __init__(
        self, function: Callable[..., Any], model: nn.Module, image: Tensor, target: int, options: dict[str, Any]
    ) -> None:
        self.function, self.model, self.image, self.target, self.options = function, model, image, target, options
        self.before = _snapshot(model, image)
        self.result: Any = None

    def run(self, image: Tensor | None = None) -> Any:
        """The explanation's result."""
        return self.function(self.model, self.image if image is None else image, self.target, **self.options)

    def compare(self, part: str) -> None:
        """Violation if a part of the snapshot has changed."""
        now, before = _snapshot(self.model, self.image)[part], self.before[part]
        changed = sorted(
            name or "the network itself"
            for name in now.keys() | before.keys()
            if name not in now or name not in before or not _same(now[name], before[name])
        )
        if changed:
            raise Violation(f"changed in {listed(changed)}")


def check_method(
    function: str | Callable[..., Any], model: nn.Module, image: Tensor, target: int = 0, **options: Any
) -> Report:
    """Examine an explanation, `method(model, image, target, *, …)`, on a network and an image as that network takes it.

    The network is not copied: a method that breaks the rules leaves its traces in it.
    Raises FovealError only for a name that cannot be found; whatever else goes wrong is in the report.
    """
    name = function if isinstance(function, str) else getattr(function, "__qualname__", repr(function))
    found = catalog.get("explanation", function) if isinstance(function, str) else function
    return examine(Method(found, model, image, target, options), name, _RULES)


def _runs(method: Method) -> str:
    random_state = _random_state()
    grad = torch.is_grad_enabled()
    method.result = method.run()
    if method.result is None:
        raise Violation("it returns nothing")
    if torch.is_grad_enabled() != grad:
        raise Violation("gradients are switched off, or on, behind it")
    if not _same(_random_state(), random_state):
        raise Violation("it draws from the global random state")
    return f"a {type(method.result).__name__}" + (
        f" {list(method.result.shape)}" if isinstance(method.result, Tensor) else ""
    )


def _part(part: str, what: str) -> Callable[[Method], str]:
    def check(method: Method) -> str:
        method.compare(part)
        return what

    return check


def _repeats(method: Method) -> str:
    if not _same(method.run(), method.result):
        raise Violation("the same image gives another result the second time")
    return "the same result twice"


def _after_an_error(method: Method) -> str:
    try:
        method.run(torch.zeros(1, 1, 1, 1))
        outcome = "takes any image"
    except Exception as error:  # whatever it raises: what counts is what it leaves behind
        outcome = f"{type(error).__name__}, and nothing stays behind"
    for part in method.before:
        method.compare(part)
    return outcome


def _snapshot(model: nn.Module, image: Tensor) -> dict[str, dict[str, Any]]:
    """Everything that a method could leave behind, by kind and place."""
    modules = dict(model.named_modules(remove_duplicate=False))
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "values": {
            **{name: value.detach().clone() for name, value in tensors.items()},
            "image": image.detach().clone(),
        },
        "gradients": {
            **{name: (p.requires_grad, None if p.grad is None else p.grad.clone()) for name, p in tensors.items()},
            "image": (image.requires_grad, None if image.grad is None else image.grad.clone()),
        },
        "hooks": {
            f"{path}.{kind}": tuple(map(id, hooks.values()))
            for path, module in modules.items()
            for kind, hooks in vars(module).items()
            if kind.endswith("_hooks") and isinstance(hooks, dict) and hooks
        },
        "modes": {path: module.training for path, module in modules.items()},
        "modules": {
            path: (id(module), id(vars(module).get("forward")), _settings(module)) for path, module in modules.items()
        },
    }


def _settings(module: nn.Module) -> dict[str, Any]:
    plain = (bool, int, float, str, tuple, type(None))
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, plain) and name != "training" and not name.endswith("_hooks")
    }


def _random_state() -> tuple[Any, ...]:
    numpy_state = np.random.get_state()
    return torch.get_rng_state(), random.getstate(), tuple(numpy_state)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)


_RULES: tuple[Rule[Method], ...] = (
    Rule(
        "runs",
        "an explanation is a result, and nothing else",
        "return the result; draw random numbers from a generator of your own; use `with torch.enable_grad()`",
        _runs,
    ),
    Rule(
        "values",
        "a network that was looked at must answer as before, bit by bit",
        "work on a copy, or on values that you put back in `finally`; run in eval mode so that statistics stay",
        _part("values", "network and image are bit-identical"),
    ),
    Rule(
        "gradients",
        "gradients left behind are added to the next training step",
        "use torch.autograd.grad instead of backward(), on a detached copy of the image",
        _part("gradients", "no gradient left, the same parameters trainable"),
    ),
    Rule(
        "hooks",
        "a hook that stays changes every later pass",
        "remove every handle in `finally`",
        _part("hooks", "none left"),
    ),
    Rule(
        "modes",
        "a network left in eval mode trains without dropout; one left in training mode answers at random",
        "put each module back into its own mode, not all into one",
        _part("modes", "every module in its own mode"),
    ),
    Rule(
        "modules",
        "exchanged layers lose their settings, and hooks and names that others keep",
        "change a copy of the network (copy.deepcopy), never the original",
        _part("modules", "the same modules with the same settings"),
    ),
    Rule(
        "repeats",
        "an explanation that changes from call to call explains nothing",
        "take a seed as an option and draw from torch.Generator().manual_seed(seed)",
        _repeats,
    ),
    Rule(
        "after an error",
        "an image that does not fit must not leave a changed network behind",
        "clean up in `finally` or by a context manager",
        _after_an_error,
    ),
)
