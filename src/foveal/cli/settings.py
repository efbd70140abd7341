"""`key=value` words: recognised, split and turned into plain values. What they mean is the recipe's business."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from foveal.errors import FovealError

_NUMBER = r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*"
_NUMBERS = re.compile(f"{_NUMBER}(,{_NUMBER})+", re.IGNORECASE)
_LISTS = ("prepare", "augment", "test", "mean", "std", "milestones", "input", "classes")


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """`["lr=0.1", "augment=pad_crop(4),flip", "options.shortcut=A"]` as a dictionary.

    Values stay text, which the recipe's schema reads by the key's type. Lists are divided by commas (those inside
    brackets divide nothing). A dot makes a nested dictionary, whose values are read as JSON where they are JSON, and as
    a list where they are numbers divided by commas.
    """
    settings: dict[str, Any] = {}
    whole: set[str] = set()
    nested: set[str] = set()
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise FovealError(f"'{word}' is no setting", "settings are written key=value, for example lr=0.05")
        group, dot, name = key.partition(".")
        if (whole if dot else nested) & {group}:
            raise FovealError(
                f"{group} is given both whole and by its parts", f"write {group}.NAME=VALUE for each part"
            )
        (nested if dot else whole).add(group)
        if dot:
            settings.setdefault(group, {})[name] = json_or_text(text)
        elif text[:1] in ("[", "{"):
            settings[key] = json_or_text(text)
        else:
            settings[key] = _split(text) if key in _LISTS else text
    return settings


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """`["shortcut=A", "towers=1"]` as the keyword options of a function: JSON where it is JSON, otherwise text."""
    options: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise FovealError(f"'{word}' is no option", "options are written key=value, for example shortcut=A")
        options[key] = json_or_text(text)
    return options


def parse_shape(text: str) -> tuple[int, ...]:
    """`3x227x227` as (3, 227, 227)."""
    try:
        shape = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) < 1 or min(shape, default=0) < 1:
        raise FovealError(f"'{text}' is no input shape", "write channels x height x width, for example 3x224x224")
    return shape


def json_or_text(text: str) -> Any:
    """The value of a JSON text, a list of numbers divided by commas, or the text itself when it is neither."""
    if _NUMBERS.fullmatch(text):
        numbers = (part.strip() for part in text.split(","))
        return [int(part) if part.lstrip("+-").isdecimal() else float(part) for part in numbers]
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]
