"""The verb that draws what a network sees and why."""

from __future__ import annotations

from inspect import getdoc
from pathlib import Path
from typing import Annotated

import typer

from foveal.catalog import names
from foveal.cli.networks import NetworkWeights, Partial, is_run, opened
from foveal.cli.settings import parse_options


def register(app: typer.Typer) -> None:
    """Add this file's verb to the application."""
    app.command(no_args_is_help=True)(explain)


def explain(
    method: Annotated[str, typer.Argument(help=f"The method: {', '.join(names('explanation'))}.")],
    network: Annotated[
        str | None, typer.Argument(help="A run's folder, or a network; without one the method is described.")
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE …] [OPTION=VALUE …]", help="Pictures, and the method's options."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The class, by name or number.")] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="The layer; may be repeated where a method takes several.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="A set of images, for methods that look at one.")] = None,
    split: Annotated[str, typer.Option(help="Its split: train, val or test.")] = "train",
    out: Annotated[
        Path | None, typer.Option(help="A folder, or the picture to write (.png, .gif).", show_default="METHOD.png")
    ] = None,
    weights: NetworkWeights = None,
    partial: Partial = False,
) -> None:
    """Draw what a network sees and why.

    \b
      foveal explain filters runs/lenet5_digits-1
      foveal explain occlusion runs/resnet18-1 photo.jpg window=40 --target dogs --out explained/

    Numbers are written beside the pictures as .npy. `foveal explain METHOD` alone
    says what a method shows and takes.
    """
    from foveal.catalog import get
    from foveal.cli.progress import counting
    from foveal.explanations import check_suffix, save
    from foveal.report.explained import Subject, explain_pictures
    from foveal.training.run import Run

    function = get("explanation", method)
    if network is None:
        typer.echo(getdoc(function))
        return
    given = list(words or [])
    pictures = [word for word in given if "=" not in word or Path(word).exists()]
    options = parse_options([word for word in given if word not in pictures])
    file = check_suffix(
        out if out is not None and out.suffix else (out or Path()) / f"{method.partition(':')[2] or method}.png"
    )
    model, _ = opened(network, {}, weights, partial)
    subject = Subject.of_run(Run(network), model) if is_run(network) else Subject.of_network(network, model)
    chosen = {"layer": layer[0] if len(layer) == 1 else layer} if layer else {}
    number = subject.target(target) if target is not None else None
    with counting(method, lines=False) as progress:
        found = explain_pictures(
            subject, method, pictures, number, data=data, split=split, progress=progress, **chosen, **options
        )  # fmt: skip
    for name, one in found:
        written = save(
            one, file if name == method else file.with_name(f"{file.stem}-{name.partition('-')[2]}{file.suffix}")
        )
        typer.echo(f"{method}: {written[0]}" + (f": {one.text}" if one.text else ""))
