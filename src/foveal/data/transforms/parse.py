"""Transforms from text: `pad_crop(4)`, `flip`, `v2.ColorJitter(brightness=0.2)`, `package.module:Name(…)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torchvision.transforms import v2

from foveal.catalog import imported, parse_call
from foveal.data.transforms import colour, geometry, lens, sizes, view
from foveal.data.transforms.base import BatchTransform
from foveal.errors import FovealError, unknown


def transforms() -> dict[str, type[BatchTransform]]:
    """All transforms of ours by their name in recipes."""
    found = [
        value
        for module in (geometry, lens, sizes, view, colour)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BatchTransform) and value.__module__ == module.__name__
    ]
    return {cls.label(): cls for cls in found}


def parse_transforms(steps: Sequence[str | v2.Transform]) -> list[v2.Transform]:
    """The transforms that a recipe names, in order; what is a transform already is kept.

    Arguments are literals, read and never evaluated. FovealError for an unknown name, option or value.
    """
    if isinstance(steps, str):
        raise FovealError(f"transforms are a list, not the text {steps!r}", f"write ({steps!r},)")
    return [_parsed(step) if isinstance(step, str) else step for step in steps]


def _parsed(text: str) -> v2.Transform:
    name, values, options = parse_call("transform", text)
    function = _named(name)
    try:
        inspect.signature(function).bind(*values, **options)
    except TypeError as error:
        known = list(inspect.signature(function).parameters)
        wrong = next((option for option in options if option not in known), None)
        if wrong is not None and "kwargs" not in known:
            raise unknown(f"option of {name}", wrong, known) from error
        raise FovealError(f"transform '{text}': {error}", f"it takes {name}({', '.join(known)})") from error
    try:
        made = function(*values, **options)
    except (TypeError, ValueError) as error:
        raise FovealError(f"transform '{text}': {error}", f"see help({name})") from error
    if not isinstance(made, nn.Module):
        raise FovealError(f"transform '{text}' is a {type(made).__name__}, not a transform", "name a v2 transform")
    return made


def _named(name: str) -> Callable[..., Any]:
    if ":" in name:
        found = imported("transform", name)
        if not (isinstance(found, type) and issubclass(found, nn.Module)):  # a recipe from elsewhere must not call it
            raise FovealError(f"'{name}' is no transform", "name a class of transforms (a torch.nn.Module)")
        return found
    if name.startswith("v2."):
        known = {key: value for key, value in vars(v2).items() if isinstance(value, type)}
        if name[3:] not in known:
            raise unknown("transform", name, [f"v2.{key}" for key in known])
        return known[name[3:]]
    ours = transforms()
    if name not in ours:
        raise unknown("transform", name, ours)
    return ours[name]
