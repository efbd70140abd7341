"""The verb data: the doctor, and conversion between formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from foveal.cli.progress import counting
from foveal.errors import FovealError


def register(app: typer.Typer) -> None:
    """Add this file's verb to the application."""
    app.command(no_args_is_help=True)(data)


def data(
    path: Annotated[str, typer.Argument(help="The data, 'digits', or the word convert.")],
    places: Annotated[list[str] | None, typer.Argument(help="After convert: SOURCE DESTINATION.")] = None,
    format_: Annotated[str, typer.Option("--format", help="With convert: the format to write.")] = "",
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet to this PNG file.")] = None,
    near: Annotated[bool, typer.Option(help="Look for near duplicates too.")] = True,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Say what is in a data set and what is wrong; or convert it.

    \b
      foveal data digits --sheet digits.png
      foveal data convert digits ./digits-folder --format folder
    """
    if path == "convert":
        _convert(places or [], format_)
        return
    if places:
        raise FovealError(f"unexpected {' '.join(places)} after {path}", "foveal data takes one path at a time")
    from foveal.data.doctor import diagnose

    with counting("images", lines=False) as progress:
        diagnosis = diagnose(path, near=near, progress=progress)
    typer.echo(json.dumps(diagnosis.as_json(), indent=2, ensure_ascii=False) if json_ else diagnosis.text())
    if sheet:
        from foveal.data.contact_sheet import contact_sheet
        from foveal.data.scan import open_all

        contact_sheet(open_all(path)[1], sheet, title=path)
        typer.echo(f"contact sheet: {sheet}", err=json_)


def _convert(places: list[str], format_: str) -> None:
    from foveal import catalog
    from foveal.data.convert import convert

    if len(places) != 2 or not format_:
        known = ", ".join(catalog.names("format"))
        raise FovealError(
            "convert needs a source, a destination and a format",
            f"foveal data convert SOURCE DESTINATION --format FORMAT, with FORMAT one of {known}",
        )
    source, destination = places
    with counting("images", lines=False) as progress:
        conversion = convert(source, destination, format_, progress=progress)
    for name, reason in conversion.skipped:
        typer.echo(f"left out {name}: {reason}", err=True)
    typer.echo(f"{source} → {destination} ({format_})")
