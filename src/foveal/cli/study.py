"""The verb study: many small runs that answer one question."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from foveal.cli.settings import parse_settings
from foveal.cli.tables import table
from foveal.errors import FovealError


def register(app: typer.Typer) -> None:
    """Add this file's verb to the application."""
    app.command()(study)


def study(
    name: Annotated[str, typer.Argument(help="A study; none lists them.")] = "",
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[BASE] [KEY=VALUE]...", help="What it varies, and settings.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder.", show_default="studies/NAME")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each variant; figures are mean ± deviation.")] = 3,
    quick: Annotated[bool, typer.Option(help="Shrink every run to a smoke test.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Do a study, or list them: a table, a chart, and what was published.

    \b
      foveal study polynomial
      foveal study chatfield data=./photos factors=stride --seeds 1

    BASE is a recipe or a network. The same command goes on with a study that was interrupted.
    """
    from foveal import catalog

    if not name:
        listed = [(entry.name, entry.summary) for entry in catalog.entries("study").values()]
        listing = [{"name": n, "summary": s} for n, s in listed]
        typer.echo(
            json.dumps(listing, indent=2, ensure_ascii=False) if json_ else table(("study", "what it asks"), listed)
        )
        return
    from foveal.studies import study as run

    base, given = _divided(words or [])
    for option in ("out", "seeds", "quick"):
        if option in given:
            raise FovealError(f"{option}={given[option]}: {option} is no setting", f"write --{option}")
    outcome = run(name, base, out=out, seeds=seeds, quick=quick, **given)
    if json_:
        typer.echo(json.dumps(outcome.as_json(), indent=2, ensure_ascii=False))
        return
    said = [f"published: {outcome.claim}", f"measured: {outcome.finding}", *outcome.notes]
    below = [textwrap.fill(line, 110, subsequent_indent="  ") for line in said]
    shown = table(list(outcome.columns.values()), outcome.cells())
    typer.echo("\n".join([outcome.title, "", shown, "", *below, "", f"chart: {outcome.folder / 'chart.svg'}"]))


def _divided(words: Sequence[str]) -> tuple[str | None, dict[str, Any]]:
    """The base, if the first word is no setting, and the settings."""
    base = words[0] if words and "=" not in words[0] else None
    return base, parse_settings(words[1:] if base else words)
