"""`check_model`: does a network keep the rules that every pass, explanation and training loop relies on?"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from foveal import catalog
from foveal.contracts.behaviour import BEHAVIOUR, BUILDS
from foveal.contracts.detector import DETECTOR
from foveal.contracts.report import Report, examine
from foveal.contracts.structure import STRUCTURE
from foveal.contracts.subject import Network
from foveal.errors import FovealError

_INPUT = (3, 224, 224)
_CLASSES = 7  # a number that no network has by default


def check_model(
    factory: str | Callable[..., Any],
    input: tuple[int, ...] | None = None,
    num_classes: int | None = None,
    *,
    numerics: bool = True,
) -> Report:
    """Build a network and examine it, rule by rule; see `Report.text()` for what each finding means and how to mend it.

    factory: a name of the catalogue, `package.module:function`, or the function itself; called without options but
    num_classes. input: (C, H, W), by default what the network's paper states, else (3, 224, 224). num_classes: by
    default 7 if the function takes it. numerics: with False, only what can be seen on the meta device is examined,
    which takes no memory and little time whatever the size of the network.

    Raises FovealError only for a factory that cannot be found; whatever else goes wrong is in the report.
    """
    name = factory if isinstance(factory, str) else getattr(factory, "__qualname__", repr(factory))
    function = catalog.get("model", factory) if isinstance(factory, str) else factory
    if not callable(function):
        raise FovealError(
            f"{name} is a {type(function).__name__}, not a function that makes networks", "give a function"
        )
    facts = catalog.facts(factory) if isinstance(factory, str) else None
    size = input or (facts.input if facts else _INPUT)
    if num_classes is None and _takes_classes(function):
        num_classes = _CLASSES
    network = Network(function, size, num_classes, facts, numerics, task=_folder(factory))
    with torch.random.fork_rng(devices=[]):  # the examination leaves the caller's random state alone
        rules = DETECTOR if network.is_detector else (*STRUCTURE, *BEHAVIOUR)
        return examine(network, f"{name} on {'x'.join(map(str, size))}", [BUILDS, *rules])


def _folder(factory: str | Callable[..., Any]) -> str | None:
    entry = catalog.entries("model").get(factory) if isinstance(factory, str) else None
    return entry.module.split(".")[2] if entry else None


def _takes_classes(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return False
    return any(p.name == "num_classes" or p.kind is p.VAR_KEYWORD for p in parameters)
