"""Verbs that train: recipes, train."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Annotated

import typer

from foveal.cli.settings import parse_settings
from foveal.cli.tables import table
from foveal.errors import FovealError


def register(app: typer.Typer) -> None:
    """Add this file's verbs to the application."""
    app.command()(recipes)
    app.command(no_args_is_help=True)(train)


def recipes(
    name: Annotated[str, typer.Argument(help="A recipe, to see its settings.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the recipes, or print one with its settings.

    \b
      foveal recipes
      foveal recipes resnet20_cifar10
    """
    from foveal import catalog

    if not name:
        listed = [(entry.name, entry.summary) for entry in catalog.entries("recipe").values()]
        listing = [{"name": n, "summary": s} for n, s in listed]
        typer.echo(
            json.dumps(listing, indent=2, ensure_ascii=False) if json_ else table(("recipe", "what it is"), listed)
        )
        return
    from foveal.recipes import resolve
    from foveal.training.recipe import Recipe

    recipe = resolve(name)
    if json_:
        typer.echo(recipe.model_dump_json(indent=2))
        return
    values = recipe.model_dump(mode="json")
    rows = [(key, json.dumps(value), Recipe.model_fields[key].description or "") for key, value in values.items()]
    source = name if name in catalog.names("recipe") or ":" in name else "house"
    typer.echo(f"{inspect.getdoc(catalog.get('recipe', source))}\n")
    typer.echo(table(("setting", "value", "meaning"), rows))


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe, a network (house recipe), or a run to resume.")],
    settings: Annotated[list[str] | None, typer.Argument(help="Settings to change, as key=value.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/NAME-N")] = None,
    quick: Annotated[bool, typer.Option(help="Shrink the recipe to a smoke test.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Train with this many seeds; print mean ± deviation.")] = 1,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse unreadable images instead of skipping them.")
    ] = False,
    weights: Annotated[str | None, typer.Option(help="Weights to start from: a file, a run, or imagenet.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Accept weights that fit only in part.")] = False,
) -> None:
    """Train, measure and report; or resume a run.

    \b
      foveal train lenet5_digits
      foveal train resnet18 data=./photos lr=0.02

    `foveal recipes NAME` lists the settings. Ctrl-C saves; `foveal train RUN` goes on exactly where it was.
    """
    from foveal import experiment

    given = parse_settings(settings or [])
    out = _folder(given.pop("out"), out) if "out" in given else out
    for option in ("quick", "seeds"):
        if option in given:
            raise FovealError(f"{option}={given[option]}: {option} is no setting", f"write --{option}")
    if "console" in given:
        raise FovealError(f"console={given['console']}: console is no setting", "leave it away")
    given |= {"strict": True} if strict else {}
    given |= {"weights": weights} if weights else {}
    given |= {"partial": True} if partial else {}
    if seeds > 1:
        if out:
            raise FovealError(
                f"--out {out} names one folder, and --seeds {seeds} makes {seeds} runs",
                "leave --out away: each run gets a folder of its own, runs/NAME-N",
            )
        repetition = experiment.repeat(recipe, range(seeds), quick=quick, **given)
        if repetition.interrupted:
            raise typer.Exit(130)
        if repetition.runs[0].is_main_process:
            typer.echo(repetition.text())
            for run in repetition.runs:
                typer.echo(f"report: {run.path / 'report.html'}")
        return
    run, evaluation = experiment.train(recipe, out=out, quick=quick, **given)
    if run.interrupted:
        raise typer.Exit(130)
    if run.is_main_process:
        if evaluation:
            typer.echo(evaluation.text())
        typer.echo(f"report: {run.path / 'report.html'}")


def _folder(text: object, option: Path | None) -> Path:
    """What out= says, which may stand in the place of --out."""
    if not isinstance(text, str) or not text:
        raise FovealError("out= names no folder", "write out=FOLDER, or leave it away for runs/NAME-N")
    if option:
        raise FovealError(f"out={text} and --out {option} name two folders", "give one of them")
    return Path(text)
