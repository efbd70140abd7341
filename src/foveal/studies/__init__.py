"""Studies: many small runs that answer one question, with a table, a chart and what was published beside it.

One file a study; its public function is what `foveal study` lists. It gets a `Lab` to train in, and its keyword
arguments are the study's own options.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foveal import catalog
from foveal.errors import FovealError, unknown
from foveal.studies._lab import Lab
from foveal.studies._outcome import Outcome
from foveal.training.recipe import Recipe


def study(
    name: str,
    base: str | Recipe | None = None,
    /,
    *,
    out: str | os.PathLike[str] | None = None,
    seeds: int = 3,
    quick: bool = False,
    **settings: Any,
) -> Outcome:
    """Do a study (or go on with it) and return what it found.

    Args:
        name: a study of the catalogue (`foveal study`), or package.module:function.
        base: the recipe or network that it varies, by default the study's own.
        out: its folder, by default studies/NAME: a sub-folder for each run, results.json, table.csv, table.md and
            chart.svg.
        seeds: how many runs of each variant; figures are their mean ± standard deviation.
        quick: shrink every run to a smoke test.
        settings: the study's own options, and settings of the base recipe such as data="./photos".

    A run that is finished in `out` is taken as it is, and one that was interrupted goes on. Raises FovealError for
    unknown names and settings, a folder of another study, and what training refuses; KeyboardInterrupt when somebody
    asked to stop: the same call goes on.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise FovealError("a study trains many small runs one after the other", "start it without torchrun")
    if seeds < 1:
        raise FovealError(f"seeds={seeds}: a study needs at least one", "give a whole number")
    function = catalog.get("study", name)
    own = options(function)
    folder = Path(out) if out is not None else Path("studies") / name.replace(":", ".")
    rest = {key: value for key, value in settings.items() if key not in own}
    for key in rest:
        if key not in Recipe.model_fields:
            raise unknown("setting", key, [*Recipe.model_fields, *own])
    lab = Lab(name, base, rest, folder=folder, seeds=seeds, quick=quick)
    outcome: Outcome = function(lab, **{key: _read(key, settings[key], own[key]) for key in settings if key in own})
    outcome.save()
    return outcome


def options(function: Callable[..., Any]) -> dict[str, Any]:
    """A study's own options with their defaults."""
    known = catalog.options(function)
    return {key: p.default for key, p in known.items() if p.kind is p.KEYWORD_ONLY}


def _read(key: str, value: Any, default: Any) -> Any:
    """An option as its default's type: from text, too; several with commas between. FovealError when it is none."""
    if isinstance(default, tuple) and default:
        parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
        return tuple(_read(key, part, default[0]) for part in parts)
    kind = type(default)
    if kind not in (int, float, str) or isinstance(value, kind):
        return value
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        wanted = {int: "a whole number", float: "a number", str: "a text"}[kind]
        raise FovealError(f"{key}={value} is not {wanted}", f"it is {default} unless given") from error
