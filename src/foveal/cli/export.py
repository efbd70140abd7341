"""The verb export: a run's network as ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from foveal.cli.networks import Checkpoint, Weights, chosen
from foveal.errors import FovealError


def register(app: typer.Typer) -> None:
    """Add this file's verb to the application."""
    app.command(no_args_is_help=True)(export)


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's folder.")],
    file: Annotated[Path, typer.Argument(help="The ONNX file to write.")],
    size: Annotated[str, typer.Option(help="Height,width of the images.", show_default="the recipe's")] = "",
    batch: Annotated[int, typer.Option(min=1, help="Images that the graph takes together.")] = 1,
    picture: Annotated[
        list[str] | None, typer.Option(help="To check the answers on; may be repeated. By default test data.")
    ] = None,
    checkpoint: Checkpoint = "best",
    weights: Weights = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Write a run's network as ONNX, and check it in onnxruntime.

    \b
      foveal export runs/lenet5_digits-1 lenet5.onnx
      foveal export runs/resnet18-1 resnet18.onnx --batch 8 --picture photo.jpg

    The graph takes uint8 images and normalises them itself; names of classes and the steps before it are its metadata.
    """
    from foveal.exporting import export as export_run

    done = export_run(
        run, file, size=_size(size), batch=batch, checkpoint=chosen(checkpoint, weights), pictures=picture or ()
    )
    typer.echo(json.dumps(done.as_json(), indent=2, ensure_ascii=False) if json_ else done.text())


def _size(text: str) -> tuple[int, int] | None:
    """FovealError for anything but two numbers."""
    parts = text.split(",")
    if not text:
        return None
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise FovealError(f"--size {text}", "give height,width in pixels, such as 480,640")
    return int(parts[0]), int(parts[1])
