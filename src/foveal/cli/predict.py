"""The verb predict: classes of pictures, or the class of each of their pixels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.cli.networks import Checkpoint, Weights, chosen
from foveal.errors import FovealError

if TYPE_CHECKING:
    from foveal.prediction import MaskPrediction


def register(app: typer.Typer) -> None:
    """Add this file's verb to the application."""
    app.command(no_args_is_help=True)(predict)


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's folder.")],
    files: Annotated[list[str], typer.Argument(help="Images, folders or patterns such as 'photos/*.jpg'.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to name per image.")] = 5,
    overlay: Annotated[Path | None, typer.Option(help="Masks: draw the one image's classes over it, PNG.")] = None,
    out: Annotated[Path | None, typer.Option(help="Masks: write NAME.png and NAME.overlay.png there.")] = None,
    tile: Annotated[int, typer.Option(min=0, help="Masks: largest side looked at as one; 0: the recipe's.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable image.")] = False,
    checkpoint: Checkpoint = "best",
    weights: Weights = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Say what is on pictures, or where, if the run learned masks.

    \b
      foveal predict runs/resnet18-1 holidays/ --top 1 --json
      foveal predict runs/unet-1 street.jpg --overlay street.png
    """
    from foveal.cli.progress import counting
    from foveal.prediction import find_pictures, predictions
    from foveal.training.run import Run

    opened = Run(run)
    paths = find_pictures(files)
    save = _saver(opened, paths, overlay, out)
    if tile and opened.recipe.task != "segment":
        raise FovealError(f"--tile is about masks, and {run} was trained to {opened.recipe.task}", "leave it away")
    with counting("tiles", lines=False) as progress:
        found = predictions(
            opened, paths, top, strict=strict, checkpoint=chosen(checkpoint, weights), tile=tile, progress=progress
        )
        records, errors = _told(found, save, json_)
    if json_:
        typer.echo(json.dumps(records, indent=2, ensure_ascii=False))
    if errors == len(records):
        raise FovealError(f"no picture could be read (of {len(records)})", "the lines above say why, file by file")


def _told(found: Iterable[Any], save: Callable[[int, MaskPrediction], None], silent: bool) -> tuple[list[Any], int]:
    """What was found in plain values, each written and, unless `silent`, printed when it came; how many are errors."""
    records: list[Any] = []
    errors = 0
    for number, prediction in enumerate(found):
        if prediction.error is None:
            save(number, prediction)
        else:
            errors += 1
        if not silent:
            typer.echo(prediction.text())
        records.append(prediction.as_json())
    return records, errors


def _saver(run: Any, paths: list[str], overlay: Path | None, out: Path | None) -> Callable[[int, MaskPrediction], None]:
    """What writes the masks that are wanted. FovealError for what cannot be written so."""
    from foveal.data.formats._boxes import unique_stems

    if (overlay or out) and run.recipe.task != "segment":
        option = "--overlay" if overlay else "--out"
        raise FovealError(f"{option} is about masks, and {run.path} was trained to {run.recipe.task}", "leave it away")
    if overlay and len(paths) > 1:
        raise FovealError(f"--overlay {overlay} is one picture, and there are {len(paths)}", "use --out FOLDER")
    stems = unique_stems(paths)

    def save(number: int, prediction: MaskPrediction) -> None:
        if overlay:
            prediction.save_overlay(overlay)
        if out:
            prediction.save_mask(out / f"{stems[number]}.png")
            prediction.save_overlay(out / f"{stems[number]}.overlay.png")

    return save
