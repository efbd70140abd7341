"""What a study found: a table, a chart, and what was published beside what was measured."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from foveal.data import drawing
from foveal.errors import FovealError
from foveal.report.charts import standalone
from foveal.report.html import Html
from foveal.training.checkpoint import replace_file


@dataclass(frozen=True)
class Spread:
    """One figure of several seeds. Its text is their mean, with ± the standard deviation (n - 1) of two or more."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return statistics.mean(self.values)

    @property
    def deviation(self) -> float | None:
        """The standard deviation over the seeds, None of one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + (f" ± {self.deviation:.2f}" if self.deviation is not None else "")


Cell = Spread | str | int | float | None


@dataclass(frozen=True)
class Outcome:
    """The result of a study. `columns` are the keys of the rows with their headings.

    `claim` says what was published, `finding` what was measured here; `notes` what else there is to know. `pictures`
    shows it, where figures do not tell all.
    """

    study: str
    folder: Path
    title: str
    claim: str
    finding: str
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, Cell]]
    chart: Html
    notes: Sequence[str] = ()
    pictures: Image | None = None

    def cells(self) -> list[list[Cell]]:
        """The table's body; figures of several seeds as text."""
        return [[_shown(row.get(key)) for key in self.columns] for row in self.rows]

    def as_json(self) -> dict[str, Any]:
        """Plain values; a figure of several seeds is its mean, deviation and values."""
        return {
            "study": self.study,
            "title": self.title,
            "claim": self.claim,
            "finding": self.finding,
            "columns": dict(self.columns),
            "rows": [{key: _plain(row.get(key)) for key in self.columns} for row in self.rows],
            "notes": list(self.notes),
        }

    def markdown(self) -> str:
        """Title, table and sentences, as a page of documentation has them."""
        lines = [list(self.columns.values()), ["---"] * len(self.columns)]
        lines += [["" if cell is None else str(cell) for cell in row] for row in self.cells()]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        said = [f"Published: {self.claim}", f"Measured: {self.finding}", *self.notes]
        return "\n\n".join([f"# {self.title}", body, *said]) + "\n"

    def csv(self) -> str:
        """The table; a figure of several seeds takes two columns, KEY and KEY_std."""
        spread = {key for row in self.rows for key in self.columns if isinstance(row.get(key), Spread)}
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([name for key in self.columns for name in _names(key, key in spread)])
        for row in self.rows:
            writer.writerow([value for key in self.columns for value in _figures(row.get(key), key in spread)])
        return buffer.getvalue()

    def save(self) -> None:
        """Write results.json, table.csv, table.md and chart.svg, and pictures.png where there are some, into the
        folder. FovealError where that fails."""
        content = json.dumps(self.as_json(), indent=1, ensure_ascii=False)
        files = {"results.json": content, "table.csv": self.csv(), "table.md": self.markdown()}
        try:
            for name, text in {**files, "chart.svg": standalone(self.chart)}.items():
                replace_file(self.folder / name, text.encode())
        except OSError as error:
            raise FovealError(
                f"cannot write into {self.folder}: {error.strerror or error}", "choose another --out"
            ) from error
        if self.pictures is not None:
            drawing.save(self.pictures, self.folder / "pictures.png")


def _shown(cell: Cell) -> Cell:
    return str(cell) if isinstance(cell, Spread) else cell


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Spread):
        return {"mean": cell.mean, "std": cell.deviation, "values": list(cell.values)}
    return cell


def _names(key: str, spread: bool) -> Iterator[str]:
    yield key
    if spread:
        yield f"{key}_std"


def _figures(cell: Cell, spread: bool) -> Iterator[Any]:
    yield cell.mean if isinstance(cell, Spread) else cell
    if spread:
        yield cell.deviation if isinstance(cell, Spread) else None
