"""COCO: a JSON file of images, annotations and categories for each split.

`annotations/instances_train2017.json` with the pictures in `train2017/` or `images/train2017/` (any year or none, and
person_keypoints_… as well); or `train/_annotations.coco.json` with the pictures beside it; or one JSON file, then the
images are cut 70 % train, 15 % val, 15 % test. Splits may be called val or valid. Categories keep the order of their
numbers. Polygons and run lengths are checked when opened, and drawn by `with_masks()`. Regions of a crowd are objects
with the flag `crowd`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal.data.boxset import BoxSet, Fault
from foveal.data.formats._boxes import Entry, Page, box_samples, built, cut, in_order, outlined, picture, unique_stems
from foveal.data.formats._common import SPLITS, check_split, split_called
from foveal.data.formats._json import numbers, read_json, rows, text, whole
from foveal.data.outlines import Outline, OutlineError, Runs, packed, polygons, runs
from foveal.errors import FovealError

TASK = "detect"
FLAGS = ("crowd",)
_NAMED = re.compile(r"(?:instances_|person_keypoints_)?((train|val|valid|test)\d*)", re.IGNORECASE)
_BESIDE = "_annotations.coco.json"


def sniff(root: Path) -> bool:
    """A folder with files as above, or a JSON file with categories."""
    if root.is_file():
        return root.suffix.lower() == ".json" and b'"categories"' in root.read_bytes()
    return bool(_files(root))


def splits(root: Path) -> tuple[str, ...]:
    """The splits that have a file; all three for a single file, for then the set is cut."""
    return in_order(_files(root)) or SPLITS


def open(root: Path, split: str, *, seed: int = 0) -> BoxSet:
    """The images of a split in the order of the file. Raises FovealError, naming file and number, for what is wrong:
    an image or annotation twice, an annotation of no image or category, a missing picture, a senseless outline."""
    return read(root, split, seed=seed).settled()


def read(root: Path, split: str, *, seed: int = 0) -> BoxSet:
    """As `open`, with what is wrong with single objects among the set's `faults`."""
    check_split(root, split, splits(root))
    files = _files(root)
    if not files:
        return cut(_read(root, root.parent, split), split, seed)
    file = files[split]
    found = _read(file, _folder(root, file, split), split)
    others = [_categories(other, read_json(other)) for name, other in files.items() if name != split]
    for names in others:
        if tuple(names.values()) != found.classes:
            raise FovealError(f"{file}: other categories than in the other splits", "give all splits the same list")
    return found


def write(sets: Mapping[str, BoxSet], root: Path) -> None:
    """Write annotations/instances_SPLIT.json and the pictures as they are in images/SPLIT."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split, images in sets.items():
        folder = root / "images" / split
        folder.mkdir(parents=True, exist_ok=True)
        listed: list[dict[str, Any]] = []
        objects: list[dict[str, Any]] = []
        for i, (stem, path) in enumerate(zip(unique_stems(images.paths), images.paths, strict=True)):
            name = f"{stem}{Path(path).suffix.lower()}"
            shutil.copyfile(path, folder / name)
            width, height = images.sizes[i]
            listed.append({"id": i + 1, "file_name": name, "width": width, "height": height})
            objects += [_object(images, i, n) for n in range(len(images.objects[i]))]
        for n, row in enumerate(objects, 1):
            row["id"] = n
        categories = [{"id": n, "name": name} for n, name in enumerate(images.classes, 1)]
        data = {"images": listed, "annotations": objects, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(data), encoding="utf-8")


def example(root: Path) -> None:
    """Tiles of two real photographs with the boxes of what they show."""
    write(box_samples(root / "samples"), root)
    shutil.rmtree(root / "samples")


def _object(images: BoxSet, i: int, n: int) -> dict[str, Any]:
    found = images.objects[i]
    left, top, right, bottom = found.boxes[n].double().tolist()
    outline = found.outlines[n]
    row: dict[str, Any] = {
        "image_id": i + 1,
        "category_id": int(found.labels[n]) + 1,
        "bbox": [left, top, right - left, bottom - top],
        "area": float(found.area[n]),
        "iscrowd": int(found.crowd[n]),
    }
    if isinstance(outline, Runs):
        row["segmentation"] = {"size": [outline.height, outline.width], "counts": packed(outline)}
    elif outline is not None:
        row["segmentation"] = [points.flatten().tolist() for points in outline]
    return row


def _files(root: Path) -> dict[str, Path]:
    """Split → its file."""
    found: dict[str, Path] = {}
    if not root.is_dir():
        return found
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        split = split_called(folder.name)
        if split and (folder / _BESIDE).is_file():
            found[split] = folder / _BESIDE
    for place in (root / "annotations", root):
        for file in sorted(place.glob("*.json")) if place.is_dir() else ():
            match = _NAMED.fullmatch(file.stem)
            if match and (place != root or b'"categories"' in file.read_bytes()):
                found.setdefault(str(split_called(match[2])), file)
    return found


def _folder(root: Path, file: Path, split: str) -> Path:
    """Where the pictures of a file lie: the first of the usual places that is a folder."""
    match = _NAMED.fullmatch(file.stem)
    names = [match[1], split] if match else []
    places = [place / name for name in names for place in (root / "images", root)]
    usual = [file.parent] if file.name == _BESIDE else [*places, root / "images", root]
    return next(place for place in usual if place.is_dir())


def _categories(file: Path, data: dict[str, Any]) -> dict[int, str]:
    found: dict[int, str] = {}
    for place, row in enumerate(rows(file, data, "categories")):
        number = whole(file, f"categories[{place}]", row, "id")
        if number in found:
            raise FovealError(f"{file}: two categories have the id {number}", "give each a number of its own")
        found[number] = text(file, f"category {number}", row, "name")
    return dict(sorted(found.items()))


def _read(file: Path, folder: Path, split: str) -> BoxSet:
    data = read_json(file)
    categories = _categories(file, data)
    pages: dict[int, Page] = {}
    faults: list[Fault] = []
    for place, row in enumerate(rows(file, data, "images")):
        number = whole(file, f"images[{place}]", row, "id")
        if number in pages:
            raise FovealError(f"{file}: two images have the id {number}", "give each a number of its own")
        pages[number] = _page(file, folder, number, row)
    seen: set[int] = set()
    for place, row in enumerate(rows(file, data, "annotations")):
        number = whole(file, f"annotations[{place}]", row, "id")
        if number in seen:
            raise FovealError(f"{file}: two annotations have the id {number}", "give each a number of its own")
        seen.add(number)
        image = whole(file, f"annotation {number}", row, "image_id")
        if image not in pages:
            raise FovealError(
                f"{file}: annotation {number} is of image {image}, which is not listed", "add or delete it"
            )
        pages[image].entries.append(_entry(file, number, row, pages[image], categories))
    if not pages:
        raise FovealError(f"{file}: lists no image", "add some")
    return built(list(pages.values()), tuple(categories.values()), split, faults)


def _page(file: Path, folder: Path, number: int, row: dict[str, Any]) -> Page:
    where = f"image {number}"
    name = text(file, where, row, "file_name")
    path = picture(folder, name)
    if path is None:
        raise FovealError(f"{file}: {where}: there is no picture {folder / name}", "add it, or delete the image")
    width, height = whole(file, where, row, "width"), whole(file, where, row, "height")
    if min(width, height) < 1:
        raise FovealError(f"{file}: {where} is of {width} x {height} pixels", "mend the file")
    return Page(path, str(file), (width, height), [])


def _entry(file: Path, number: int, row: dict[str, Any], page: Page, categories: Mapping[int, str]) -> Entry:
    where = f"annotation {number}"
    category = whole(file, where, row, "category_id")
    label = categories.get(category, f"category {category}")
    crowd = row.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise FovealError(f"{file}: {where}: 'iscrowd' is {crowd!r}", "it is 0 or 1")
    outline = None
    try:
        outline = _outline(row.get("segmentation"), page)
    except OutlineError as error:
        page.faults.append(Fault("outline", "error", f"{file}: {where}: {error}", "mend or delete its segmentation"))
    told = row.get("area")
    area = float(told) if isinstance(told, int | float) and 0 <= told < 1e12 else None
    entry = Entry(str(number), label, (0, 0, 0, 0), False, bool(crowd), outline, area)
    if row.get("bbox") is None and outline is not None:
        return outlined(page, entry)
    left, top, width, height = numbers(file, where, row.get("bbox"), 4)
    return entry._replace(box=(left, top, left + width, top + height))


def _outline(value: Any, page: Page) -> Outline | None:
    """None for no segmentation, and for the empty one that detectors' files have."""
    if value is None or value == []:
        return None
    assert page.size is not None  # the file tells it
    if isinstance(value, dict):
        return runs(value, page.size[1], page.size[0])
    return polygons(value)
