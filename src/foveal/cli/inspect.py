"""Verbs that look at networks: models, show, build, check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from foveal.cli.networks import NetworkWeights, Partial, is_run, opened
from foveal.cli.settings import parse_options, parse_settings, parse_shape
from foveal.cli.tables import table
from foveal.errors import FovealError

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Input = Annotated[str, typer.Option("--input", help="Channels x height x width, for example 3x227x227.")]


def register(app: typer.Typer) -> None:
    """Add this file's verbs to the application."""
    for verb in (models, show, build, check):
        app.command(no_args_is_help=verb is not models)(verb)


def models(
    compare: Annotated[Path | None, typer.Option(help="Draw accuracy, operations and parameters to this file.")] = None,
    json_: Json = False,
) -> None:
    """List the networks and their facts.

    \b
      foveal models
      foveal models --compare networks.png
    """
    from foveal import catalog

    if compare:
        from foveal.report.comparison import compare as draw

        typer.echo(f"chart: {draw(compare)}", err=json_)
        if not json_:
            return
    rows: list[dict[str, Any]] = []
    for name, entry in catalog.entries("model").items():
        facts = catalog.facts(name)
        rows.append(
            {
                "name": name,
                "year": facts.year if facts else None,
                "dataset": facts.dataset if facts else "",
                "input": "x".join(map(str, facts.input)) if facts else "",
                "parameters": facts.parameters if facts else None,
                "macs": facts.macs if facts else None,
                "top1_error": facts.top1_error if facts else None,
                "top5_error": facts.top5_error if facts else None,
                "summary": entry.summary,
            }
        )
    if json_:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    typer.echo(
        table(
            ("name", "year", "data", "input", "parameters", "mult-adds", "top-1 %", "top-5 %"),
            [[row["name"], str(row["year"] or ""), *list(row.values())[2:-1]] for row in rows],
        )
    )
    typer.echo("\nErrors are the papers' own, on their test sets. `foveal show NAME` prints a network's layers.")


def show(
    network: Annotated[str, typer.Argument(help="A network, package.module:function, a run's folder, or a recipe.")],
    options: Annotated[list[str] | None, typer.Argument(help="The network's options, as key=value.")] = None,
    input_: Input = "",
    augment: Annotated[
        bool, typer.Option("--augment", help="Draw what a recipe's augmentation makes of data=PATH instead.")
    ] = False,
    receptive_field: Annotated[
        bool, typer.Option("--receptive-field", help="Print what each layer sees of the image; --out draws it.")
    ] = False,
    layer: Annotated[list[str] | None, typer.Option(help="Of the fields only this layer's; may be repeated.")] = None,
    image: Annotated[str | None, typer.Option(help="Draw the fields on this picture.")] = None,
    graph: Annotated[Path | None, typer.Option(help="Draw the network's graph to this .svg or .png.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The drawing of --receptive-field (.svg, .png), or of --augment.")
    ] = None,
    weights: NetworkWeights = None,
    partial: Partial = False,
    json_: Json = False,
) -> None:
    """Print a network layer by layer; draw its graph, its receptive fields, or the augmented images of a recipe.

    \b
      foveal show resnet34 shortcut=A --input 3x160x160
      foveal show --augment resnet20_cifar10 data=./photos prepare="resize_exact(32,32)"

    `foveal show googlenet --graph googlenet.svg` and `foveal show lenet5 --receptive-field --out fields.png` draw.
    The measured, effective field is that of the last --layer, over random images or the --image.
    """
    if augment:
        for option, value in (
            ("--input", input_), ("--weights", weights), ("--partial", partial), ("--json", json_), ("--graph", graph),
            ("--receptive-field", receptive_field), ("--layer", layer), ("--image", image),
        ):  # fmt: skip
            if value:
                raise FovealError(f"{option} is for the table, and --augment draws images", f"leave {option} away")
        _show_augmentation(network, parse_settings(options or []), out)
        return
    for option, value in (("--layer", layer), ("--image", image), ("--out", out)):
        if value and not receptive_field:
            said = " ".join(map(str, value)) if isinstance(value, list) else value
            place = "--augment or --receptive-field" if option == "--out" else "--receptive-field"
            raise FovealError(f"{option} {said} is for {place}", "add that, or leave it away")
    if image and not out:
        raise FovealError(f"--image {image} is to be drawn on", "say where to: --out fields.png")
    shape = parse_shape(input_) if input_ else None
    if receptive_field or graph:
        from foveal.cli.drawings import Network, show_fields, show_graph

        if json_ and not receptive_field:
            raise FovealError("--json is for the table or the fields, and --graph draws", "leave --json away")
        wanted = Network(network, parse_options(options or []), weights, partial, shape)
        if graph:
            typer.echo(show_graph(wanted, graph), err=json_)
        if receptive_field:
            typer.echo(show_fields(wanted, layer or [], image, out, json_))
        return
    from foveal.graph.table import show as show_network

    if options or weights or partial or is_run(network):
        model, usual = opened(network, parse_options(options or []), weights, partial)
        result = show_network(model, shape or usual)
    else:
        result = show_network(network, shape)
    typer.echo(json.dumps(result.as_json(), indent=2, ensure_ascii=False) if json_ else str(result))


def _show_augmentation(name: str, settings: dict[str, Any], out: Path | None) -> None:
    from foveal.data.augmentation_sheet import augmentation_sheet
    from foveal.data.open import open_data
    from foveal.recipes import resolve
    from foveal.training.inputs import view
    from foveal.training.run import Run

    recipe = Run(name).recipe.with_settings(**settings) if is_run(name) else resolve(name, **settings)
    images = open_data(recipe.data, "train", seed=recipe.seed, task="classify")
    file = out or Path(f"{recipe.name}_augmented.png")
    augmentation_sheet(images, view(recipe), file, title=f"{recipe.name} on {recipe.data}", seed=recipe.seed)
    typer.echo(f"{len(recipe.augment)} random steps on {len(images):,} images: {file}")


def build(
    text: Annotated[str, typer.Argument(help="The network in the lectures' notation.")],
    input_: Input = "3x227x227",
    names: Annotated[str, typer.Option(help="Numbering of layers: layer (conv1, conv2) or block (conv1_1).")] = "layer",
    json_: Json = False,
) -> None:
    """Read a network in the lectures' notation; print its steps.

    \b
      foveal build "11-4Conv96 (ReLU) → Norm → 3-2MaxPool → FC10" --input 3x227x227
      foveal build "[3-1-1Conv64 (ReLU)]x2 -> 2-2MaxPool -> FC10" --input 3x32x32
    """
    from foveal.graph.table import show as show_network
    from foveal.notation import parse, to_text

    shape = parse_shape(input_)
    network = parse(text, input=shape, names=names)
    result = show_network(network, shape)
    if json_:
        typer.echo(json.dumps({"notation": to_text(network), **result.as_json()}, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{to_text(network)}\n\n{result}")


def check(
    factory: Annotated[str, typer.Argument(help="A network, or package.module:function that makes yours.")],
    input_: Input = "",
    num_classes: Annotated[int | None, typer.Option(help="Classes to ask the function for.")] = None,
    json_: Json = False,
) -> None:
    """Check a network against the rules that the passes rely on.

    \b
      foveal check resnet18
      foveal check torchvision.models:googlenet --input 3x224x224
    """
    from foveal.contracts import check as check_network

    report = check_network(factory, input=parse_shape(input_) if input_ else None, num_classes=num_classes)
    typer.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False) if json_ else report.text())
    if not report.passed:
        raise typer.Exit(2)
