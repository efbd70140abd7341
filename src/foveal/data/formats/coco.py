"""COCO: a JSON file of images, annotations and categories for each split.

`annotations/instances_train2017.json` with the pictures in `train2017/` or `images/train2017/` (any year or none, and
person_keypoints_… where there are no instances_…); or one such file by its path, with its namesakes of other splits; or
`train/_annotations.coco.json` with the pictures beside it; or another JSON file, then the images are cut 70 % train,
15 % val, 15 % test. Splits may be called val or valid. Categories keep the order of their numbers. Polygons and run
lengths are checked when opened, and drawn by `with_masks()`. Regions of a crowd are objects with the flag `crowd`.

Keypoints, named by their category, are read and written. COCO counts pixels, so that their places here are half a pixel
further right and down, where the pixel's centre is.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal.data.boxset import BoxSet, Fault
from foveal.data.formats._boxes import (
    Entry,
    Keypoint,
    Page,
    box_samples,
    built,
    cut,
    in_order,
    outlined,
    picture,
    unique_stems,
)
from foveal.data.formats._common import SPLITS, check_split, split_called
from foveal.data.formats._json import numbers, read_json, rows, text, whole
from foveal.data.outlines import Outline, OutlineError, Runs, polygons, runs
from foveal.data.pose import Pose, swapped
from foveal.errors import FovealError

TASK = "detect"
FLAGS = ("crowd", "keypoints")
_NAMED = re.compile(r"(instances_|person_keypoints_)?((train|val|valid|test)\d*)", re.IGNORECASE)
_CENTRE = 0.5  # pixels from a pixel's corner to its centre
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
        pose = images.pose
        shared: dict[str, Any] = {}
        if pose is not None:
            shared = {"keypoints": list(pose.names), "skeleton": [[a + 1, b + 1] for a, b in pose.edges]}
            shared |= {} if pose.swaps is None else {"flip_idx": list(pose.swaps)}
        categories = [{"id": n, "name": name, **shared} for n, name in enumerate(images.classes, 1)]
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
        row["segmentation"] = outline.as_json()
    elif outline is not None:
        row["segmentation"] = [points.flatten().tolist() for points in outline]
    if images.pose is not None:
        points = found.keypoints[n].double()
        points[:, :2] -= _CENTRE * (points[:, 2:] > 0)
        row["num_keypoints"] = int((points[:, 2] > 0).sum())
        row["keypoints"] = [int(value) if value == int(value) else value for value in points.flatten().tolist()]
    return row


def _files(root: Path) -> dict[str, Path]:
    """Split → its file."""
    found: dict[str, Path] = {}
    if not root.is_dir():
        named = _NAMED.fullmatch(root.stem)
        if root.is_file() and named and named[1]:
            for file in sorted(root.parent.glob(f"{named[1]}*.json")):
                if match := _NAMED.fullmatch(file.stem):
                    found.setdefault(str(split_called(match[3])), file)
        return found
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        split = split_called(folder.name)
        if split and (folder / _BESIDE).is_file():
            found[split] = folder / _BESIDE
    for place in (root / "annotations", root):
        for file in sorted(place.glob("*.json")) if place.is_dir() else ():
            match = _NAMED.fullmatch(file.stem)
            if match and (place != root or b'"categories"' in file.read_bytes()):
                found.setdefault(str(split_called(match[3])), file)
    return found


def _folder(root: Path, file: Path, split: str) -> Path:
    """Where the pictures of a file lie: the first of the usual places that is a folder."""
    if root.is_file():
        root = file.parent.parent if file.parent.name == "annotations" else file.parent
    match = _NAMED.fullmatch(file.stem)
    names = [match[2], split] if match else []
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


def _pose(file: Path, data: dict[str, Any]) -> Pose | None:
    """The keypoints that the categories name, None where none does."""
    found: dict[str, Pose] = {}
    for row in rows(file, data, "categories"):
        if "keypoints" not in row:
            continue
        where = f"category {row['id']}"
        names = row["keypoints"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise FovealError(f"{file}: {where}: 'keypoints' is no list of names", "mend the file")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise FovealError(f"{file}: {where}: two keypoints are called '{twice}'", "give each a name of its own")
        swaps = None
        if isinstance(row.get("flip_idx"), list):  # YOLO's word for what COCO's files do not tell
            told = numbers(file, f"{where}: flip_idx", row["flip_idx"], len(row["flip_idx"]))
            swaps = swapped(f"{file}: {where}", told, len(names))
        found[where] = Pose(tuple(names), _edges(file, where, row.get("skeleton", []), len(names)), swaps)
    poses = list(found.items())
    for where, pose in poses[1:]:
        if pose.names != poses[0][1].names:
            raise FovealError(
                f"{file}: {poses[0][0]} and {where} have other keypoints",
                "make a set of each: one network learns one pose",
            )
    return poses[0][1] if poses else None


def _edges(file: Path, where: str, skeleton: Any, count: int) -> tuple[tuple[int, int], ...]:
    """The pairs of keypoints that lines join, counted from 0."""
    if not isinstance(skeleton, list):
        raise FovealError(f"{file}: {where}: 'skeleton' is no list of pairs", "mend the file")
    found = []
    for edge in skeleton:
        a, b = numbers(file, f"{where}: skeleton", edge, 2)
        if not {a, b} <= set(range(1, count + 1)):
            raise FovealError(
                f"{file}: {where}: the skeleton joins {a:g} and {b:g}", f"keypoints count from 1 to {count}"
            )
        found.append((int(a) - 1, int(b) - 1))
    return tuple(found)


def _read(file: Path, folder: Path, split: str) -> BoxSet:
    data = read_json(file)
    categories = _categories(file, data)
    pose = _pose(file, data)
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
        pages[image].entries.append(
            _entry(file, number, row, pages[image], categories)._replace(keypoints=_points(file, number, row, pose))
        )
    if not pages:
        raise FovealError(f"{file}: lists no image", "add some")
    return built(list(pages.values()), tuple(categories.values()), split, faults, pose)


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


def _points(file: Path, number: int, row: dict[str, Any], pose: Pose | None) -> tuple[Keypoint, ...]:
    """The keypoints of an annotation at the centres of their pixels; () where it has none."""
    value = row.get("keypoints")
    if value is None or value == []:
        return ()
    where = f"annotation {number}"
    if pose is None:
        raise FovealError(
            f"{file}: {where} has keypoints, but no category names them", "add 'keypoints': [names] to its category"
        )
    found = numbers(file, f"{where}: keypoints", value, 3 * len(pose.names))
    points = []
    for j, name in enumerate(pose.names):
        x, y, visible = found[3 * j : 3 * j + 3]
        if visible not in (0, 1, 2):
            raise FovealError(
                f"{file}: {where}: the visibility of its {name} is {visible:g}", "it is 0 (not given), 1 (hidden) or 2"
            )
        points.append((x + _CENTRE, y + _CENTRE, int(visible)))
    return tuple(points)


def _outline(value: Any, page: Page) -> Outline | None:
    """None for no segmentation, and for the empty one that detectors' files have."""
    if value is None or value == []:
        return None
    assert page.size is not None  # the file tells it
    if isinstance(value, dict):
        return runs(value, page.size[1], page.size[0])
    return polygons(value)
