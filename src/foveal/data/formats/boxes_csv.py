"""A table of boxes: a CSV file with the columns path, label, xmin, ymin, xmax, ymax and, if wanted, split and flags.

The path given is the table, or a folder that holds it as `boxes.csv`. A line an object, in pixels from the upper left
corner; an image without objects has one line whose label and sides are empty. Paths are relative to the table. The
columns difficult and crowd hold 0 or 1. Without a column split the images are cut 70 % train, 15 % val, 15 % test.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from foveal.data.boxset import BoxSet
from foveal.data.formats._boxes import (
    Entry,
    Page,
    box_samples,
    built,
    cut,
    in_order,
    picture,
    seen_classes,
    unique_stems,
)
from foveal.data.formats._common import SPLITS, check_split, read_classes, split_called, write_classes
from foveal.errors import FovealError

TASK = "detect"
FLAGS = ("difficult", "crowd")
_TABLE = "boxes.csv"
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_COLUMNS = ("path", "label", *_SIDES, "split", "difficult", "crowd")


def sniff(root: Path) -> bool:
    """A *.csv with the columns path and xmin to ymax, or a folder with boxes.csv."""
    table = root / _TABLE if root.is_dir() else root
    if table.suffix.lower() != ".csv" or not table.is_file():
        return False
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        header = {cell.strip().lower() for cell in stream.readline(1000).split(",")}
    return {"path", *_SIDES} <= header


def splits(root: Path) -> tuple[str, ...]:
    """The splits of the column split; all three without it, for then the set is cut."""
    return in_order(_read(root)) or SPLITS


def open(root: Path, split: str, *, seed: int = 0) -> BoxSet:
    """The images of a split in the order of the table. Raises FovealError naming the line that is wrong."""
    return read(root, split, seed=seed).settled()


def read(root: Path, split: str, *, seed: int = 0) -> BoxSet:
    """As `open`, with what is wrong with single boxes among the set's `faults`."""
    pages = _read(root)
    check_split(root, split, in_order(pages) or SPLITS)
    listed = read_classes(_table(root).parent)
    classes = seen_classes((page for part in pages.values() for page in part.values()), listed)
    if "" in pages:
        return cut(built(list(pages[""].values()), classes, split), split, seed)
    return built(list(pages[split].values()), classes, split)


def write(sets: Mapping[str, BoxSet], root: Path) -> None:
    """Write boxes.csv, the pictures as they are below images/split, and classes.txt. Masks have no place here."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / _TABLE).open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(_COLUMNS)
        for split, images in sets.items():
            folder = root / "images" / split
            folder.mkdir(parents=True, exist_ok=True)
            for i, (stem, path) in enumerate(zip(unique_stems(images.paths), images.paths, strict=True)):
                file = Path(shutil.copyfile(path, folder / f"{stem}{Path(path).suffix.lower()}"))
                table.writerows(_rows(images, i, file.relative_to(root).as_posix()))
            write_classes(root, images.classes)


def example(root: Path) -> None:
    """Tiles of two real photographs with the boxes of what they show."""
    write(box_samples(root / "samples"), root)
    shutil.rmtree(root / "samples")


def _rows(images: BoxSet, i: int, path: str) -> Iterator[tuple[object, ...]]:
    found = images.objects[i]
    if not len(found):
        yield path, "", "", "", "", "", images.split, "", ""
    for n, box in enumerate(found.boxes.tolist()):
        label = images.classes[int(found.labels[n])]
        flags = (int(found.difficult[n]), int(found.crowd[n]))
        yield path, label, *(f"{value:.9g}" for value in box), images.split, *flags


def _table(root: Path) -> Path:
    return root / _TABLE if root.is_dir() else root


def _read(root: Path) -> dict[str, dict[str, Page]]:
    """Split ("" without that column) → path → page."""
    table = _table(root)
    pages: dict[str, dict[str, Page]] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            header = [cell.strip().lower() for cell in next(reader, [])]
            for column in ("path", "label", *_SIDES):
                if column not in header:
                    raise FovealError(f"{table}: has no column '{column}'", f"it needs {', '.join(_COLUMNS[:6])}")
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
                    _take(table, reader.line_num, row, pages)
    except (UnicodeDecodeError, csv.Error) as error:
        raise FovealError(f"{table}: is no CSV table in UTF-8 ({error})", "save it as CSV in UTF-8") from error
    if not pages:
        raise FovealError(f"{table}: lists no image", "add a line for each object")
    return pages


def _take(table: Path, line: int, row: Mapping[str, str], pages: dict[str, dict[str, Page]]) -> None:
    where = f"{table}, line {line}"
    split = split_called(row.get("split", "")) if "split" in row else ""
    if split is None:
        raise FovealError(f"{where}: '{row['split']}' is no split", f"write one of: {', '.join(SPLITS)}")
    name = row.get("path", "")
    path = picture(table.parent, name) if name and not Path(name).is_absolute() else name
    if not path or not os.path.isfile(path):  # noqa: PTH113
        raise FovealError(f"{where}: there is no file '{name}'", "paths are relative to the table: mend or delete it")
    page = pages.setdefault(split, {}).setdefault(path, Page(path, os.fspath(table), None, []))
    sides = [row.get(side, "") for side in _SIDES]
    if not row.get("label") and not any(sides):
        return
    if not row.get("label"):
        raise FovealError(f"{where}: the label is empty", "fill it in, or delete the line")
    try:
        x1, y1, x2, y2 = map(float, sides)
    except ValueError as error:
        raise FovealError(f"{where}: the box is {sides}", f"it needs numbers for {', '.join(_SIDES)}") from error
    flags = [row.get(flag, "") in ("1", "true", "True") for flag in FLAGS]
    page.entries.append(Entry(f"on line {line}", row["label"], (x1, y1, x2, y2), flags[0], flags[1]))
