"""The network that a command names: a run's, or one of the catalogue, with weights from a file if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.errors import FovealError

if TYPE_CHECKING:
    from torch import nn

Checkpoint = Annotated[str, typer.Option(help="Which weights: best, last or a file.")]
Weights = Annotated[str | None, typer.Option(help="A file of weights (or a run) in the checkpoint's place.")]
NetworkWeights = Annotated[str | None, typer.Option(help="Weights to load: a file, a run, or imagenet.")]
Partial = Annotated[bool, typer.Option("--partial", help="Accept weights that fit only in part.")]


def chosen(checkpoint: str, weights: str | None) -> str:
    """What `Run.model` is asked for. FovealError when both options name weights."""
    if weights and checkpoint != "best":
        raise FovealError(f"--checkpoint {checkpoint} and --weights {weights} both name weights", "leave one away")
    return weights or checkpoint


def is_run(network: str) -> bool:
    """Whether a word names a run's folder."""
    return (Path(network) / "recipe.json").is_file()


def opened(
    network: str, options: Mapping[str, Any], weights: str | None, partial: bool
) -> tuple[nn.Module, tuple[int, ...] | None]:
    """The network and its input, None when that is not known. What matched of the weights goes to standard error."""
    from foveal import catalog
    from foveal.models import create
    from foveal.training.run import Run
    from foveal.weights import imagenet, load_weights

    if partial and not weights:
        raise FovealError("--partial is about weights, and none are named", "add --weights FILE, or leave it away")
    if is_run(network):
        given = [f"{key}={value}" for key, value in options.items()] + (["--partial"] if partial else [])
        if given:
            raise FovealError(
                f"{network} is a run, whose network is as it was trained: no {' '.join(given)}",
                f"leave {' '.join(given)} away, or name a network instead of the run",
            )
        run = Run(network)
        return run.model(weights or "best"), run.recipe.input
    facts = catalog.facts(network)
    model = create(network, **options)
    if weights:
        matching = load_weights(model, imagenet(network) if weights == "imagenet" else weights, partial=partial)
        typer.echo(str(matching), err=True)
    return model.eval(), facts.input if facts else None
