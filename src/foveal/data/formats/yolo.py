"""YOLO's text files: `images/train/1.jpg` has its boxes in `labels/train/1.txt`, or `train/images` in `train/labels`.

A line an object: the class's number from 0 on, then centre x, centre y, width and height as shares of the image's; or
the number and the points x y of a polygon. Names of the classes stand in a YAML file (`names:`), classes.txt or
obj.names. Where the YAML file has `kpt_shape: [J, 2 or 3]`, J keypoints follow the box, each x, y and visibility, named
by `kpt_names` and mirrored by `flip_idx`. A picture without a text file has no object, and is mentioned. Without
folders for splits the images are cut 70 % train, 15 % val, 15 % test.
"""

from __future__ import annotations

import ast
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from foveal.data.boxset import BoxSet, Fault
from foveal.data.formats._boxes import (
    Entry,
    Keypoint,
    Page,
    box_samples,
    built,
    by_stem,
    cut,
    in_order,
    outlined,
    unique_stems,
    without_flags,
)
from foveal.data.formats._common import SPLITS, check_split, read_classes, read_lines, split_called
from foveal.data.image import image_size
from foveal.data.outlines import OutlineError, polygons
from foveal.data.pose import Pose, swapped
from foveal.errors import FovealError

TASK = "detect"
FLAGS = ("keypoints",)
_IMAGES, _LABELS, _YAML = "images", "labels", "data.yaml"


class _Layout(NamedTuple):
    """What a line may hold: the classes, the pose if there is one, and how many numbers a keypoint has, 2 or 3."""

    classes: tuple[str, ...]
    pose: Pose | None
    depth: int


def sniff(root: Path) -> bool:
    """Folders images and labels, or folders of splits that have them, with text files among the labels."""
    return any(next(labels.rglob("*.txt"), None) is not None for _, labels in _places(root).values())


def splits(root: Path) -> tuple[str, ...]:
    """The splits that have folders; all three without, for then the set is cut."""
    return in_order(_places(root)) or SPLITS


def open(root: Path, split: str, *, seed: int = 0) -> BoxSet:
    """The images of a split, sorted by name. Raises FovealError naming the file and the line that is wrong."""
    return read(root, split, seed=seed).settled()


def read(root: Path, split: str, *, seed: int = 0) -> BoxSet:
    """As `open`, with what is wrong with single boxes among the set's `faults`."""
    places = _places(root)
    check_split(root, split, in_order(places) or SPLITS)
    layout = _Layout(_classes(root), *_posed(root))
    images, labels = places["" if "" in places else split]
    pictures = by_stem(images)
    texts = {file.relative_to(labels).with_suffix("").as_posix(): file for file in labels.rglob("*.txt")}
    texts.pop("classes", None)
    faults = [
        Fault("no_image", "error", f"{texts[stem]} has no picture in {images}", "add it, or delete the file")
        for stem in sorted(texts.keys() - pictures.keys())
    ]
    faults += [
        Fault("no_annotation", "warning", f"{pictures[stem]} has no text file: taken as without objects", "add one")
        for stem in sorted(pictures.keys() - texts.keys())
    ]
    if not pictures:
        raise FovealError(f"{images}: holds no picture", "add some")
    pages = [_page(pictures[stem], texts.get(stem), layout) for stem in sorted(pictures)]
    found = built(pages, layout.classes, split, faults, layout.pose)
    return cut(found, split, seed) if "" in places else found


def write(sets: Mapping[str, BoxSet], root: Path) -> None:
    """Write images/SPLIT, labels/SPLIT and data.yaml. Boxes keep 1e-9 of the image's side; masks have no place here."""
    root.mkdir(parents=True, exist_ok=True)
    for split, images in sets.items():
        for folder in (_IMAGES, _LABELS):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        for i, (stem, path) in enumerate(zip(unique_stems(images.paths), images.paths, strict=True)):
            shutil.copyfile(path, root / _IMAGES / split / f"{stem}{Path(path).suffix.lower()}")
            found, (width, height) = images.objects[i], images.sizes[i]
            lines = [
                f"{label} {(x1 + x2) / 2 / width:.10f} {(y1 + y2) / 2 / height:.10f} "
                f"{(x2 - x1) / width:.10f} {(y2 - y1) / height:.10f}"
                + "".join(f" {x / width:.10f} {y / height:.10f} {int(seen)}" for x, y, seen in points)
                + "\n"
                for label, (x1, y1, x2, y2), points in zip(
                    found.labels.tolist(), found.boxes.double().tolist(), found.keypoints.double().tolist(), strict=True
                )
            ]
            (root / _LABELS / split / f"{stem}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
        names = "".join(f"  {n}: {name!r}\n" for n, name in enumerate(images.classes))
        splits_ = "".join(f"{name}: {_IMAGES}/{name}\n" for name in sets)
        about = "" if images.pose is None else _told(images.pose)
        (root / _YAML).write_text(f"path: .\n{splits_}{about}names:\n{names}", encoding="utf-8", newline="\n")


def example(root: Path) -> None:
    """Tiles of two real photographs with the boxes of what they show."""
    write(without_flags(box_samples(root / "samples"), FLAGS)[0], root)
    shutil.rmtree(root / "samples")


def _places(root: Path) -> dict[str, tuple[Path, Path]]:
    """Split → the folders of its pictures and of its text files; "" → those of a set without splits."""
    found: dict[str, tuple[Path, Path]] = {}
    if not root.is_dir():
        return found
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        split = split_called(folder.name)
        if split and (folder / _IMAGES).is_dir() and (folder / _LABELS).is_dir():
            found[split] = folder / _IMAGES, folder / _LABELS
    if not found and (root / _IMAGES).is_dir() and (root / _LABELS).is_dir():
        for folder in sorted(entry for entry in (root / _IMAGES).iterdir() if entry.is_dir()):
            split = split_called(folder.name.rstrip("0123456789"))
            if split:
                found[split] = folder, root / _LABELS / folder.name
        if not found:
            found[""] = root / _IMAGES, root / _LABELS
    return found


def _classes(root: Path) -> tuple[str, ...]:
    for place in (root, root / _LABELS):
        for file in sorted((*place.glob("*.yaml"), *place.glob("*.yml"))):
            names = _names(file)
            if names is not None:
                return names
        listed = read_classes(place)
        if listed is not None:
            return listed
        if (place / "obj.names").is_file():
            return read_lines(place / "obj.names")
    raise FovealError(f"{root}: nothing names its classes", f"write {root / 'classes.txt'}, a name a line")


def _told(pose: Pose) -> str:
    """The pose as the YAML file has it; swaps that follow from the names too, since other readers do not know them."""
    swaps = pose.swaps
    if swaps is None:
        swaps = pose.mirrored if set(pose.others) == set(pose.names) else ()
    names = "".join(f"    - {name!r}\n" for name in pose.names)
    flips = f"flip_idx: {list(swaps)}\n" if swaps else ""
    return f"kpt_shape: [{len(pose.names)}, 3]\n{flips}kpt_names:\n  0:\n{names}"


def _posed(root: Path) -> tuple[Pose | None, int]:
    """The keypoints that a YAML file tells, and how many numbers each has; None and 0 where it tells none."""
    for place in (root, root / _LABELS):
        for file in sorted((*place.glob("*.yaml"), *place.glob("*.yml"))):
            text = file.read_text(encoding="utf-8-sig", errors="replace")  # `_names` refuses what is no text
            if not (line := re.search(r"^kpt_shape:(.*)$", text, re.MULTILINE)):
                continue
            shape = re.fullmatch(r"\s*\[\s*(\d{1,4})\s*,\s*([23])\s*\]\s*(?:#.*)?", line[1])
            if shape is None or not int(shape[1]):
                raise FovealError(f"{file}: 'kpt_shape:{line[1]}' is no count of keypoints and 2 or 3", "write [17, 3]")
            return _pose(file, text, int(shape[1])), int(shape[2])
    return None, 0


def _pose(file: Path, text: str, count: int) -> Pose:
    """The pose of `count` keypoints that a YAML file tells: by their names, or their order in a mirror image."""
    listed = re.search(r"^kpt_names:\s*\n((?:[ \t]+.*\n?|-.*\n?)+)", text, re.MULTILINE)
    lines = re.findall(r"^\s*-\s+(.*)$", listed[1], re.MULTILINE) if listed else []
    names = [_unquoted(line.strip()) for line in lines[:count]]  # of the first class; all have the same
    flips = re.search(r"^flip_idx:\s*\[([\d\s,]*)\]", text, re.MULTILINE)
    swaps = swapped(str(file), [int(n) for n in re.findall(r"\d{1,9}", flips[1])], count) if flips else None
    if len(set(names)) < count:
        return Pose(tuple(f"keypoint {n}" for n in range(1, count + 1)), (), swaps or ())
    return Pose(tuple(names), (), swaps)


def _names(file: Path) -> tuple[str, ...] | None:
    """The entry `names` of a YAML file: a list in brackets, a list of lines `- name`, or lines `0: name`."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FovealError(f"{file}: is not UTF-8 text", "save it as UTF-8") from error
    start = next((n for n, line in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        return None
    rest = lines[start].removeprefix("names:").partition(" #")[0].strip()
    block = [line for line in lines[start + 1 :] if line.strip() and not line.lstrip().startswith("#")]
    if rest:
        closed = next((n for n in range(len(block) + 1) if (rest + " ".join(block[:n])).rstrip()[-1] in "]}"), 0)
        return _inline(file, rest + " ".join(block[:closed]))
    found: list[str] = []
    for line in block:
        match = re.fullmatch(r"\s*(?:-|(\d+):)\s+(.*?)\s*(?:\s#.*)?", line)
        if match is None or (match[1] is None and not line.lstrip().startswith("-")):
            break
        if match[1] is not None and int(match[1]) != len(found):
            raise FovealError(f"{file}: class {match[1]} stands in the place of {len(found)}", "number them from 0 on")
        found.append(_unquoted(match[2]))
    return tuple(found)


def _inline(file: Path, text: str) -> tuple[str, ...]:
    inner = text.strip()[1:-1]
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):  # YAML needs no quotes
        return tuple(_unquoted(part.strip()) for part in inner.split(",") if part.strip())
    if isinstance(value, dict) and list(value) != list(range(len(value))):
        raise FovealError(f"{file}: names are numbered {list(value)[:5]}, …", "number them from 0 on")
    return tuple(str(name) for name in (value.values() if isinstance(value, dict) else value))


def _unquoted(name: str) -> str:
    if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
        return name[1:-1].replace("\\'", "'").replace("\\\\", "\\")
    return name


def _page(path: str, file: Path | None, layout: _Layout) -> Page:
    page = Page(path, str(file or path), image_size(path), [])
    for line, text in enumerate(read_lines(file) if file else (), 1):
        entry = _entry(page, line, text, layout)
        if entry is not None:
            page.entries.append(entry)
    return page


def _entry(page: Page, line: int, text: str, layout: _Layout) -> Entry | None:
    where = f"{page.place}, line {line}"
    try:
        values = [float(part) for part in text.split()]
    except ValueError as error:
        raise FovealError(
            f"{where}: '{text[:60]}' is no list of numbers", "class, centre x, y, width, height"
        ) from error
    if not all(map(math.isfinite, values)):
        raise FovealError(f"{where}: '{text[:60]}' holds no plain numbers", "mend or delete the line")
    _check_count(where, values, layout)
    number, classes = int(values[0]), layout.classes
    label = classes[number] if 0 <= number < len(classes) else f"number {number}"
    assert page.size is not None  # read from the picture
    width, height = page.size
    if len(values) == 5 or layout.pose is not None:
        x, y, w, h = values[1:5]
        box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        return Entry(f"on line {line}", label, box, keypoints=_points(where, values[5:], layout.depth, page.size))
    points = [value * (height if n % 2 else width) for n, value in enumerate(values[1:])]
    try:
        return outlined(page, Entry(f"on line {line}", label, (0, 0, 0, 0), outline=polygons([points])))
    except OutlineError as error:
        page.faults.append(Fault("outline", "error", f"{where}: {error}", "mend or delete the line"))
        return None


def _check_count(where: str, values: list[float], layout: _Layout) -> None:
    """Raise FovealError for a line that has not as many numbers as a box, or a polygon, or a box with its keypoints."""
    count, whole = len(values), bool(values) and values[0] == int(values[0])
    if layout.pose is not None:
        wanted = 5 + len(layout.pose.names) * layout.depth
        if count not in (5, wanted) or not whole:
            raise FovealError(f"{where}: {count} numbers", f"by its kpt_shape it has {wanted}, or 5 without keypoints")
    elif count < 5 or (count > 5 and (count < 7 or count % 2 == 0)) or not whole:
        raise FovealError(f"{where}: {count} numbers", "a box has 5: class, centre x, y, width, height")


def _points(where: str, values: list[float], depth: int, size: tuple[int, int]) -> tuple[Keypoint, ...]:
    """Keypoints in pixels; without visibilities those at the image's corner, 0 0, are not given."""
    found = []
    for start in range(0, len(values), max(1, depth)):
        x, y = values[start : start + 2]
        seen = values[start + 2] if depth == 3 else 2.0 * (x > 0 or y > 0)
        if seen not in (0, 1, 2):
            raise FovealError(f"{where}: the visibility {seen:g}", "it is 0 (not given), 1 (hidden) or 2")
        found.append((x * size[0], y * size[1], int(seen)))
    return tuple(found)
