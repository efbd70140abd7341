"""A list of files: a CSV table with the columns path, label and, if wanted, split.

The path given is the table itself, or a folder that holds one such table. Paths in it are relative to it. Without a
column split each class is cut 70 % train, 15 % val, 15 % test, the same way for the same seed. Classes are the labels,
sorted, unless a `classes.txt` beside the table gives their order.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from foveal.data.dataset import FileSet, ImageSet
from foveal.data.formats import folder as folders
from foveal.data.formats._common import (
    SPLITS,
    check_presence,
    check_split,
    cut,
    digit_samples,
    read_classes,
    split_called,
    write_classes,
    write_pictures,
)
from foveal.errors import FovealError

_TABLE = "images.csv"
_COLUMNS = ("path", "label", "split")


@dataclass(frozen=True)
class _Row:
    path: str
    label: str
    split: str  # "" when the table has no such column


def sniff(root: Path) -> bool:
    """A file called *.csv, or a folder with exactly one that lists files.

    Such a table has a column path; beside class folders a table without one says nothing about them.
    """
    if root.is_file():
        return root.suffix.lower() == ".csv"
    return _table(root) is not None


def splits(root: Path) -> tuple[str, ...]:
    """The splits that occur in the column split; all three without that column, for then the set is cut."""
    return _splits(_read(_needed(root)))


def open(root: Path, split: str, *, seed: int = 0) -> FileSet:
    """The files of a split in the order of the table.

    Raises FovealError naming the line of a missing file, an empty label or an unknown split; a missing column; a class
    that is in train and not in test or the reverse.
    """
    table = _needed(root)
    rows = _read(table)
    check_split(root, split, _splits(rows))
    classes = _classes(table, rows)
    number = {name: i for i, name in enumerate(classes)}
    uncut = not rows[0].split
    if not uncut:
        check_presence(table, {name: {row.label for row in rows if row.split == name} for name in _splits(rows)})
        rows = [row for row in rows if row.split == split]
    labels = torch.tensor([number[row.label] for row in rows], dtype=torch.int64)
    found = FileSet([row.path for row in rows], labels, classes, split)
    return found.select(cut(table, labels, classes, split, seed)) if uncut else found


def write(sets: Mapping[str, ImageSet], root: Path) -> None:
    """Write root/images.csv and root/images/split/000017.png (files keep their bytes and suffix)."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / _TABLE).open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(_COLUMNS)
        for split, images in sets.items():
            folder = root / "images" / split
            folder.mkdir(parents=True, exist_ok=True)
            files = write_pictures(images, [folder / f"{i:06d}" for i in range(len(images))])
            for file, label in zip(files, images.labels.tolist(), strict=True):
                table.writerow((file.relative_to(root).as_posix(), images.classes[label], split))
            used = {images.classes[label] for label in images.labels.tolist()}
            if list(images.classes) != sorted(used):
                write_classes(root, images.classes)


def example(root: Path) -> None:
    """Write a few real digits as PNG files and their table."""
    write(digit_samples(), root)


def _table(root: Path) -> Path | None:
    """The one table in a folder; one without a column path only where there are no class folders."""
    if not root.is_dir():
        return None
    headers = {file: set(_header(file)) for file in sorted(root.glob("*.csv"))}
    tables = [file for file, header in headers.items() if "path" in header]
    if not tables and any("label" in header for header in headers.values()) and not folders.sniff(root):
        tables = [file for file, header in headers.items() if "label" in header]
    return tables[0] if len(tables) == 1 else None


def _needed(root: Path) -> Path:
    table = root if root.is_file() else _table(root)
    if table is None:
        raise FovealError(f"{root}: holds no CSV table, or several, with the columns path and label", "name the table")
    return table


def _header(table: Path) -> list[str]:
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        return [cell.strip().lower() for cell in stream.readline(1000).split(",")]


def _splits(rows: list[_Row]) -> tuple[str, ...]:
    found = {row.split for row in rows}
    return tuple(split for split in SPLITS if split in found or "" in found)


def _classes(table: Path, rows: list[_Row]) -> tuple[str, ...]:
    here = sorted({row.label for row in rows})
    listed = read_classes(table.parent)
    if listed is None:
        return tuple(here)
    for name in here:
        if name not in listed:
            raise FovealError(f"{table}: label '{name}' is no line of classes.txt", "add it there, or mend the label")
    return listed


def _read(table: Path) -> list[_Row]:
    """All rows, checked, paths made whole."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(_rows(table, csv.reader(stream)))
    except UnicodeDecodeError as error:
        raise FovealError(f"{table}: is not UTF-8 text ({error.reason})", "save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise FovealError(f"{table}: is no CSV table ({error})", "save it as CSV in UTF-8") from error
    if not rows:
        raise FovealError(f"{table}: lists no image", "add a line path,label for each image")
    return rows


def _rows(table: Path, reader: Iterator[list[str]]) -> Iterator[_Row]:
    header = [cell.strip().lower() for cell in next(reader, [])]
    for column in ("path", "label"):
        if column not in header:
            raise FovealError(
                f"{table}: has no column '{column}' (it has: {', '.join(header)})", "see: path,label,split"
            )
    at = [header.index(column) if column in header else None for column in _COLUMNS]
    folder = os.fspath(table.parent)
    line = 1
    for cells in reader:
        line = getattr(reader, "line_num", line)
        if not any(cell.strip() for cell in cells):
            continue
        path, label, split = ("" if i is None or i >= len(cells) else cells[i].strip() for i in at)
        where = f"{table}, line {line}"
        if not path:
            raise FovealError(f"{where}: the path is empty", "fill it in, or delete the line")
        if not label:
            raise FovealError(f"{where}: the label of {path} is empty", "fill it in, or delete the line")
        if "split" in header:
            meant = split_called(split)
            if meant is None:
                raise FovealError(f"{where}: '{split}' is no split", f"write one of: {', '.join(SPLITS)}")
            split = meant
        whole = os.path.join(folder, path)  # noqa: PTH118 (pathlib is ten times slower; tables have millions of lines)
        if not os.path.isfile(whole):  # noqa: PTH113
            raise FovealError(
                f"{where}: there is no file {whole}", "paths are relative to the table: mend or delete it"
            )
        yield _Row(whole, label, split)
