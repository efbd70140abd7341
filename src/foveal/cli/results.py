"""The verb results: published tables, with what the runs at hand have measured beside them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.cli.tables import table

if TYPE_CHECKING:
    from foveal.results import Measured, Published


def register(app: typer.Typer) -> None:
    """Add this file's verb to the application."""
    app.command()(results)


def results(
    name: Annotated[str, typer.Argument(help="A table, the beginning of its name, or a network.")] = "",
    runs: Annotated[Path, typer.Option(help="The folder of runs whose figures stand beside.")] = Path("runs"),
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print published results, and those of your runs beside them.

    \b
      foveal results
      foveal results vgg
    """
    from foveal import results as published

    if not name:
        tables = [published.load(known) for known in published.names()]
        if json_:
            listed = [{"table": t.table, "id": t.id, "title": t.title, "source": t.source} for t in tables]
            typer.echo(json.dumps(listed, indent=2, ensure_ascii=False))
            return
        typer.echo(table(("table", "what it is", "rows"), [(t.table, t.title, len(t.rows)) for t in tables]))
        typer.echo("\n`foveal results TABLE` prints one; `foveal results NETWORK` what was published of a network.")
        return
    found, own = published.find(name), published.measured(runs)
    if json_:
        typer.echo(json.dumps([published.as_json(part, own) for part in found], indent=2, ensure_ascii=False))
        return
    typer.echo("\n\n".join(_text(part, own) for part in found))


def _text(part: Published, runs: list[Measured]) -> str:
    """Title, table, and where it comes from."""
    from foveal.results import beside

    pairs = beside(part, runs)
    remarks, ours = [_remark(row) for row, _ in pairs], any(run for _, run in pairs)
    header = ["", *part.columns.values()]
    rows: list[list[object]] = []
    for place, (row, run) in enumerate(pairs):
        again = place > 0 and pairs[place - 1][0] is row  # another run of the same network
        line = [None if again else row.get(key) for key in ("name", *part.columns)]
        line += [None if again else remarks[place]] if any(remarks) else []
        line += (_figures(run) if run else [None] * 3) if ours else []
        rows.append(line)
    header += ["remark"] if any(remarks) else []
    header += ["measured: top-1 %", "top-5 %", "by"] if ours else []
    about = [f"source: {part.source}", f"on: {part.data}" + (f"; {part.protocol}" if part.protocol else "")]
    below = [textwrap.fill(line, 110, subsequent_indent="  ") for line in [*about, *part.notes]]
    return "\n".join([f"{part.title} ({part.table})", "", table(header, rows), "", *below])


def _figures(run: Measured) -> list[object]:
    errors = [None if value is None else round(value, 2) for value in (run.top1, run.top5)]
    return [*errors, f"{run.run}: {run.images:,} images of {run.data}, {run.split}"]


def _remark(row: Mapping[str, Any]) -> str:
    return "; ".join(filter(None, [row.get("note", ""), "unverified" if row.get("unverified") else ""]))
