"""The verb that answers size questions: arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from foveal.errors import FovealError

if TYPE_CHECKING:
    from foveal.graph.arithmetic import Kind


def register(app: typer.Typer) -> None:
    """Add this file's verb to the application."""
    app.command(no_args_is_help=True)(arithmetic)


def arithmetic(
    kind: Annotated[str, typer.Argument(help="conv, pool or transposed.")],
    input_: Annotated[str, typer.Option("--input", help="The grid: 7, 120x80 (height x width), 16x64x64.")],
    kernel: Annotated[str, typer.Option(help="The window: 3, or 3x5.")],
    stride: Annotated[str, typer.Option(help="Step of the window.", show_default="1; pool: the window")] = "",
    padding: Annotated[str, typer.Option(help="Rows and columns added on each side.")] = "0",
    dilation: Annotated[str, typer.Option(help="From one position of the window to the next.")] = "1",
    output_padding: Annotated[str, typer.Option(help="Of transposed: rows added at one side.")] = "0",
    channels: Annotated[int, typer.Option(help="Maps that come in.")] = 1,
    filters: Annotated[int, typer.Option(help="Maps that a convolution makes.")] = 1,
    groups: Annotated[int, typer.Option(help="Equal parts of the maps that do not see each other.")] = 1,
    dims: Annotated[int, typer.Option(min=1, max=3, help="Dimensions of an --input of one number.")] = 2,
    bias: Annotated[bool, typer.Option(help="A bias for each filter.")] = True,
    ceil: Annotated[bool, typer.Option("--ceil", help="Of pool: a last window over the edge counts.")] = False,
    out: Annotated[Path | None, typer.Option(help="Draw both grids to this .svg or .png.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Say what size a layer makes of a grid, whether the stride divides, and what the layer costs.

    \b
      foveal arithmetic conv --input 7 --kernel 3 --stride 2
      foveal arithmetic conv --input 32 --channels 3 --kernel 5 --padding 2 --filters 10 --out conv.svg
    """
    from foveal.graph.arithmetic import arithmetic as answer_question
    from foveal.report.arithmetic import answer, draw

    grid = _numbers("--input", input_)
    found = answer_question(
        cast("Kind", kind),
        grid * dims if len(grid) == 1 else grid,
        _numbers("--kernel", kernel),
        stride=_numbers("--stride", stride) if stride else None,
        padding=_numbers("--padding", padding),
        dilation=_numbers("--dilation", dilation),
        output_padding=_numbers("--output-padding", output_padding),
        channels=channels,
        filters=filters,
        groups=groups,
        bias=bias,
        ceil=ceil,
    )
    file = draw(found).save(out) if out else None
    if json_:
        typer.echo(json.dumps(found.as_json() | ({"file": str(file)} if file else {}), indent=2))
        return
    typer.echo(answer(found) + (f"\n\ndrawing: {file}" if file else ""))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    """`3x5` as (3, 5)."""
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise FovealError(f"{option} {text} is no size", "write a whole number, or several with x between: 120x80")
    return tuple(map(int, parts))
