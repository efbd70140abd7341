"""The verb predict: classes of pictures, the class of each of their pixels, or boxes around objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.cli.networks import Checkpoint, Weights, chosen
from foveal.errors import FovealError

if TYPE_CHECKING:
    from foveal.training.run import Run

_ABOUT = {"--overlay": "segment", "--out": "segment", "--tile": "segment", "--draw": "detect", "--score": "detect"}
_WORDS = {"segment": "masks", "detect": "boxes"}


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
    draw: Annotated[Path | None, typer.Option(help="Boxes: write NAME.png with all that was found.")] = None,
    score: Annotated[float | None, typer.Option(min=0, max=1, help="Boxes: the least score; by default 0.5.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable image.")] = False,
    checkpoint: Checkpoint = "best",
    weights: Weights = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Say what is on pictures, or where, if the run learned masks or boxes.

    \b
      foveal predict runs/resnet18-1 photo.jpg
      foveal predict runs/resnet18-1 holidays/ --top 1 --json

    A run that learned masks takes --overlay street.png, or --out DIR for several pictures; one that learned boxes takes
    --draw DIR, and --score 0.6 for those that are surer.
    """
    from foveal.cli.progress import counting
    from foveal.prediction import find_pictures, predictions
    from foveal.training.run import Run

    opened = Run(run)
    paths = find_pictures(files)
    given = {"--overlay": overlay, "--out": out, "--tile": tile or None, "--draw": draw, "--score": score}
    _check_task(opened, [option for option, value in given.items() if value is not None])
    save = _saver(paths, overlay, out, draw)
    more: dict[str, Any] = {"tile": tile} if score is None else {"tile": tile, "score": score}
    with counting("tiles", lines=False) as progress:
        found = predictions(
            opened, paths, top, strict=strict, checkpoint=chosen(checkpoint, weights), progress=progress, **more
        )
        records, errors = _told(found, save, json_)
    if json_:
        typer.echo(json.dumps(records, indent=2, ensure_ascii=False))
    if errors == len(records):
        raise FovealError(f"no picture could be read (of {len(records)})", "the lines above say why, file by file")


def _told(found: Iterable[Any], save: Callable[[int, Any], None], silent: bool) -> tuple[list[Any], int]:
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


def _check_task(run: Run, given: list[str]) -> None:
    """Raise FovealError for an option that is about another task than the run's."""
    for option in given:
        if run.recipe.task != _ABOUT[option]:
            raise FovealError(
                f"{option} is about {_WORDS[_ABOUT[option]]}, and {run.path} was trained to {run.recipe.task}",
                "leave it away",
            )


def _saver(paths: list[str], overlay: Path | None, out: Path | None, draw: Path | None) -> Callable[[int, Any], None]:
    """What writes the pictures that are wanted. FovealError for what cannot be written so."""
    from foveal.data.formats._boxes import unique_stems

    if overlay and len(paths) > 1:
        raise FovealError(f"--overlay {overlay} is one picture, and there are {len(paths)}", "use --out FOLDER")
    stems = unique_stems(paths)

    def save(number: int, prediction: Any) -> None:
        if overlay:
            prediction.save_overlay(overlay)
        if out:
            prediction.save_mask(out / f"{stems[number]}.png")
            prediction.save_overlay(out / f"{stems[number]}.overlay.png")
        if draw:
            prediction.save_drawing(draw / f"{stems[number]}.png")

    return save
