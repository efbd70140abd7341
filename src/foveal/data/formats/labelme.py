"""LabelMe: a JSON file for each image, with its shapes: rectangles and polygons with a label.

The files lie beside their pictures (or `imagePath` leads to these), in folders train, val and test, or in one, then the
images are cut 70 % train, 15 % val, 15 % test. Polygons of one label and `group_id` are one object. Classes are the
labels, sorted, unless a `classes.txt` gives them. The flags `difficult` and `crowd` of a shape are read and written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal.data.boxset import BoxSet
from foveal.data.formats._boxes import (
    Entry,
    Page,
    box_samples,
    built,
    by_stem,
    cut,
    in_order,
    outlined,
    seen_classes,
    unique_stems,
)
from foveal.data.formats._common import SPLITS, check_split, read_classes, split_called, write_classes
from foveal.data.formats._json import numbers, read_json, rows, text
from foveal.data.outlines import OutlineError, polygons
from foveal.errors import FovealError

TASK = "detect"
FLAGS = ("difficult", "crowd")
_SEEN = 1 << 22  # bytes of a file in which its shapes must show; the picture itself may follow


def sniff(root: Path) -> bool:
    """A folder, or folders of splits, whose first JSON file has shapes."""
    return bool(_places(root))


def splits(root: Path) -> tuple[str, ...]:
    """The splits that have folders; all three without, for then the set is cut."""
    return in_order(_places(root)) or SPLITS


def open(root: Path, split: str, *, seed: int = 0) -> BoxSet:
    """The images of a split, sorted by name. Raises FovealError naming the file and the shape that is wrong."""
    return read(root, split, seed=seed).settled()


def read(root: Path, split: str, *, seed: int = 0) -> BoxSet:
    """As `open`, with what is wrong with single shapes among the set's `faults`."""
    places = _places(root)
    check_split(root, split, in_order(places) or SPLITS)
    pages = {name: _pages(folder) for name, folder in places.items()}
    classes = seen_classes((page for part in pages.values() for page in part), read_classes(root))
    if "" in pages:
        return cut(built(pages[""], classes, split), split, seed)
    return built(pages[split], classes, split)


def write(sets: Mapping[str, BoxSet], root: Path) -> None:
    """Write a JSON file beside each picture, in a folder a split, and classes.txt.

    Objects are their polygons, or their box: run lengths (COCO's crowds) have no other place here.
    """
    for split, images in sets.items():
        folder = root / split
        folder.mkdir(parents=True, exist_ok=True)
        for i, (stem, path) in enumerate(zip(unique_stems(images.paths), images.paths, strict=True)):
            name = f"{stem}{Path(path).suffix.lower()}"
            shutil.copyfile(path, folder / name)
            width, height = images.sizes[i]
            shapes = [shape for n in range(len(images.objects[i])) for shape in _shapes(images, i, n)]
            data: dict[str, Any] = {
                "version": "5.0.0",
                "flags": {},
                "shapes": shapes,
                "imagePath": name,
                "imageData": None,
                "imageHeight": height,
                "imageWidth": width,
            }
            (folder / f"{stem}.json").write_text(json.dumps(data), encoding="utf-8")
        write_classes(root, images.classes)


def example(root: Path) -> None:
    """Tiles of two real photographs with the boxes of what they show."""
    write(box_samples(root / "samples"), root)
    shutil.rmtree(root / "samples")


def _shapes(images: BoxSet, i: int, n: int) -> list[dict[str, Any]]:
    found = images.objects[i]
    outline = found.outlines[n]
    flags = {flag: True for flag in FLAGS if bool(getattr(found, flag)[n])}
    shape: dict[str, Any] = {"label": images.classes[int(found.labels[n])], "group_id": None, "flags": flags}
    if not isinstance(outline, tuple):
        box = found.boxes[n].double().tolist()
        return [shape | {"points": [box[:2], box[2:]], "shape_type": "rectangle"}]
    if len(outline) > 1:
        shape["group_id"] = n + 1
    return [shape | {"points": points.tolist(), "shape_type": "polygon"} for points in outline]


def _places(root: Path) -> dict[str, Path]:
    """Split → its folder; "" → the root, when the files lie there."""
    if not root.is_dir():
        return {}
    if _holds(root):
        return {"": root}
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir())
    named = {split: folder for folder in folders if (split := split_called(folder.name)) is not None}
    return {split: folder for split, folder in named.items() if _holds(folder)}


def _holds(folder: Path) -> bool:
    first = min(folder.glob("*.json"), default=None)
    if first is None:
        return False
    with first.open("rb") as stream:
        head = stream.read(_SEEN)
    return b'"shapes"' in head and b'"categories"' not in head


def _pages(folder: Path) -> list[Page]:
    pictures = by_stem(folder)
    return [_page(file, pictures) for file in sorted(folder.glob("*.json"))]


def _page(file: Path, pictures: Mapping[str, str]) -> Page:
    data = read_json(file)
    path = pictures.get(file.stem)
    if path is None:
        name = text(file, "the file", data, "imagePath").replace("\\", "/")
        path = str(file.parent / name)
        if not Path(path).is_file():
            raise FovealError(f"{file}: there is no picture '{name}'", "put it beside the file, or delete the file")
    height, width = data.get("imageHeight"), data.get("imageWidth")
    size = None
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        size = (width, height)
    entries: dict[str, Entry] = {}
    page = Page(path, str(file), size, [])
    for n, shape in enumerate(rows(file, data, "shapes"), 1):
        entry = _entry(file, n, shape)
        group = shape.get("group_id")
        key = f"{entry.label} {group!r}" if group is not None and entry.outline is not None else f"shape {n}"
        before = entries.get(key)
        if before is not None and isinstance(before.outline, tuple) and isinstance(entry.outline, tuple):
            entry = before._replace(outline=(*before.outline, *entry.outline))
        entries[key] = entry
    page.entries += (outlined(page, entry) for entry in entries.values())
    return page


def _entry(file: Path, n: int, shape: dict[str, Any]) -> Entry:
    where = f"shape {n}"
    label = text(file, where, shape, "label")
    kind = shape.get("shape_type", "polygon")
    points = shape.get("points")
    if not isinstance(points, list):
        raise FovealError(f"{file}: {where} has no points", "mend the file")
    flags = shape.get("flags")
    told = [isinstance(flags, dict) and flags.get(flag) is True for flag in FLAGS]
    if kind == "rectangle":
        if len(points) != 2:
            raise FovealError(f"{file}: {where}: a rectangle of {len(points)} points", "it has two corners")
        (x1, y1), (x2, y2) = (numbers(file, where, point, 2) for point in points)
        # Drawn from any corner: these files have no order
        return Entry(str(n), label, (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), told[0], told[1])
    if kind != "polygon":
        raise FovealError(f"{file}: {where} is a {kind}", "only rectangles and polygons are read: draw it anew")
    flat = [value for point in points for value in numbers(file, where, point, 2)]
    try:
        return Entry(str(n), label, (0, 0, 0, 0), told[0], told[1], polygons([flat]))
    except OutlineError as error:
        raise FovealError(f"{file}: {where}: {error}", "mend the file") from error
