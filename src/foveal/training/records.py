"""The text files of a run: rows are appended whole, and cut back to the checkpoint's position on resume."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from foveal.errors import FovealError
from foveal.training.checkpoint import full_disk, replace_file

Value = float | int | str | None
_AS_IT_IS = getattr(os, "O_BINARY", 0)  # Windows would write other ends of lines


class Table:
    """A CSV file whose first column is the update. Each row reaches the system in one write: a kill leaves no half row.

    Columns are set by the file that is there, else by the first row.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.columns: list[str] | None = None
        if file.exists():
            with file.open(encoding="utf-8", newline="") as stream:
                self.columns = next(csv.reader(stream), None)

    def add(self, row: Mapping[str, Value]) -> None:
        """Append a row. Numbers are written so that reading gives them back exactly; None is an empty cell."""
        head = ""
        if self.columns is None:
            self.columns = list(row)
            head = _line(self.columns)
        append(self.file, head + _line([row.get(column) for column in self.columns]))

    def cut(self, step: int) -> None:
        """Drop the rows beyond update `step`, and a last line that a power failure left incomplete."""
        if self.file.exists():
            cut_lines(self.file, step, separator=",", header=True)

    def rows(self) -> list[dict[str, float | str | None]]:
        """All rows; cells that are numbers as float, empty ones as None."""
        if not self.file.exists():
            return []
        with self.file.open(encoding="utf-8", newline="") as stream:
            return [{key: _value(cell) for key, cell in row.items()} for row in csv.DictReader(stream)]


def append(file: Path, text: str) -> None:
    """Append text in one write. FovealError when the disk is full."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _AS_IT_IS, 0o666)
        try:
            data = text.encode()
            if os.write(handle, data) < len(data):
                raise OSError(28, "No space left on device")
        finally:
            os.close(handle)
    except OSError as error:
        raise full_disk(file, error) from error


def flush(files: Sequence[Path]) -> None:
    """Bring appended rows to the disk, before the checkpoint that stands behind them. FovealError when it is full."""
    for file in files:
        if file.exists():
            try:
                with file.open("rb+") as stream:
                    os.fsync(stream.fileno())
            except OSError as error:
                raise full_disk(file, error) from error


def cut_lines(file: Path, step: int, *, separator: str, header: bool) -> None:
    """Keep the whole lines whose first field is an update up to `step`, and the header. Atomic."""
    text = file.read_bytes()
    lines = text[: text.rfind(b"\n") + 1].decode().splitlines(keepends=True)
    first, rest = (lines[:1], lines[1:]) if header else ([], lines)
    try:
        kept = "".join([*first, *(line for line in rest if int(line.partition(separator)[0]) <= step)]).encode()
    except ValueError as error:
        raise FovealError(
            f"{file} has a line that does not begin with an update's number", "restore the file"
        ) from error
    if kept != text:
        replace_file(file, kept)


def _line(cells: Sequence[Value]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(["" if c is None else c for c in cells])
    return buffer.getvalue()


def _value(cell: str | None) -> float | str | None:
    if not cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return cell
