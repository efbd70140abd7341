"""JSON of annotations, read without trust: what is not as it should be is said with the file and the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from foveal.errors import FovealError

_LARGEST = 2 << 30  # bytes; COCO's largest file has half a gigabyte


def read_json(file: Path) -> dict[str, Any]:
    """The object that a file holds. FovealError naming the file for anything else."""
    if file.stat().st_size > _LARGEST:
        raise FovealError(f"{file}: {file.stat().st_size:,} bytes are no annotations", "cut it into several sets")
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, a number of too many digits
        raise FovealError(f"{file}: is no JSON ({str(error)[:120]})", "save or download it again") from error
    if not isinstance(found, dict):
        raise FovealError(f"{file}: holds a {type(found).__name__}, not an object", "is it the right file?")
    return found


def rows(file: Path, found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The list of objects called `name`."""
    value = found.get(name)
    if not isinstance(value, list):
        raise FovealError(f"{file}: has no list '{name}'", "is it the right file?")
    for place, row in enumerate(value):
        if not isinstance(row, dict):
            raise FovealError(f"{file}: {name}[{place}] is no object", "mend the file")
    return value


def whole(file: Path, where: str, row: dict[str, Any], name: str) -> int:
    """A whole number."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 1 << 62:
        raise FovealError(f"{file}: {where}: '{name}' is {_short(value)}, no whole number", "mend the file")
    return value


def text(file: Path, where: str, row: dict[str, Any], name: str) -> str:
    """A text that is not empty."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise FovealError(f"{file}: {where}: '{name}' is {_short(value)}, no text", "mend the file")
    return value


def numbers(file: Path, where: str, value: Any, count: int) -> tuple[float, ...]:
    """A list of `count` numbers."""
    if not isinstance(value, list) or len(value) != count or any(not _is_number(item) for item in value):
        raise FovealError(f"{file}: {where}: {_short(value)} is no list of {count} numbers", "mend the file")
    return tuple(map(float, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 60 else shown[:57] + "…"
