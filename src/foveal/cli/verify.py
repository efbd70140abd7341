"""The verb verify: do two images show the same identity?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from foveal.cli.networks import Checkpoint, Weights, chosen
from foveal.cli.settings import parse_settings
from foveal.errors import unknown


def register(app: typer.Typer) -> None:
    """Add this file's verb to the application."""
    app.command(no_args_is_help=True)(verify)


def verify(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's folder.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[data=DIR] [classes=A,B]", help="Images, some identities.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    pairs: Annotated[Path | None, typer.Option(help="A list in the form of LFW's pairs.txt.")] = None,
    metric: Annotated[str, typer.Option(help="euclidean, cosine, chi_square or siamese.")] = "cosine",
    layer: Annotated[str | None, typer.Option(help="Whose output is compared.", show_default="the last hidden")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of drawn pairs.")] = 10,
    each: Annotated[int, typer.Option(min=1, help="Pairs of each kind in a fold.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Decides the drawn pairs.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for verification.json and roc.svg.")] = None,
    checkpoint: Checkpoint = "best",
    weights: Weights = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Tell whether two images show the same identity: accuracy over folds, and the ROC curve.

    \b
      foveal verify runs/deepface-1 data=./people
      foveal verify runs/deepface-1 data=./lfw --pairs pairs.txt --metric chi_square --out lfw
    """
    from foveal.cli.progress import counting
    from foveal.evaluation.pairs import verify as verify_run
    from foveal.report.charts import Curve, lines, standalone
    from foveal.training.checkpoint import replace_file

    given = parse_settings(words or [])
    for key in given:
        if key not in ("data", "classes"):
            raise unknown("setting of verify", key, ["data", "classes"])
    with counting("images") as progress:
        found = verify_run(
            run, given.get("data"), split=split, classes=given.get("classes", ()), pairs=pairs, metric=metric,
            layer=layer, folds=folds, each=each, seed=seed, checkpoint=chosen(checkpoint, weights), progress=progress,
        )  # fmt: skip
    if out:
        found.save(out)
        curve = Curve(found.metric, *found.roc.points(), bold=True)
        guess = Curve("guessing", [0, 1], [0, 1])
        chart = lines("roc", [curve, guess], x="false accepts", y="true accepts", limits=(0, 1.02))
        replace_file(out / "roc.svg", standalone(chart).encode())
    typer.echo(json.dumps(found.as_json(), indent=2, ensure_ascii=False) if json_ else found.text())
