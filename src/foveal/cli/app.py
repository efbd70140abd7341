"""The application object, its common options and its verbs' registration."""

from __future__ import annotations

from typing import Annotated

import typer

from foveal.cli import apply, arithmetic, data, explain, export, inspect, learn, predict, results, study, verify

app = typer.Typer(
    name="foveal",
    help="Visual recognition with convolutional networks, on your images.\n\n"
    "\b\n  foveal train resnet18 data=./photos\n  foveal show vgg16",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from foveal import __version__

        typer.echo(f"foveal {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that stand before the verb; `debug` is read in main(), where errors end."""


for module in (inspect, arithmetic, data, learn, apply, predict, export, explain, results, study, verify):
    module.register(app)
