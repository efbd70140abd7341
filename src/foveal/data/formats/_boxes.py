"""What formats of boxes share: objects checked one and all, the default cut, finding of images, a small sample."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from foveal.data.boxset import BoxSet, Fault, Objects
from foveal.data.dataset import stratified
from foveal.data.formats._common import SPLITS, pictures_in
from foveal.data.image import SUFFIXES, image_size
from foveal.data.outlines import Outline, bounds, outline_area
from foveal.data.pose import Pose
from foveal.errors import FovealError

_OVERHANG = 1.0  # pixels by which a box may stick out of its image: rounding, and counting from 1
Keypoint = tuple[float, float, int]  # x, y in pixels; 0 not given, 1 hidden, 2 visible


class Entry(NamedTuple):
    """An object as a file has it: what it is called there, its class, x1, y1, x2, y2 in pixels, flags, outline, and
    its keypoints, none or as many as the pose has."""

    id: str
    label: str
    box: tuple[float, float, float, float]
    difficult: bool = False
    crowd: bool = False
    outline: Outline | None = None
    area: float | None = None
    keypoints: tuple[Keypoint, ...] = ()


@dataclass
class Page:
    """An image with its entries: where it lies, what its annotation is called in messages, its width and height."""

    path: str
    place: str
    size: tuple[int, int] | None
    entries: list[Entry]
    faults: list[Fault] = field(default_factory=list)


def built(
    pages: Sequence[Page], classes: Sequence[str], split: str, faults: Iterable[Fault] = (), pose: Pose | None = None
) -> BoxSet:
    """The set of these pages, every box checked: what is wrong is among its `faults`, and left out or cut.

    An inverted box, one wholly outside, one that is no number and a class that is not listed are errors; a box without
    area, one that sticks out by more than a pixel and a keypoint outside the image are warnings.
    """
    sizes = _sizes(pages)
    number = {name: n for n, name in enumerate(classes)}
    found = list(faults)
    objects = []
    for page, size in zip(pages, sizes, strict=True):
        found += page.faults
        objects.append(_objects(page, size, number, pose, found))
    return BoxSet([page.path for page in pages], objects, sizes, classes, split, faults=found, pose=pose)


def seen_classes(pages: Iterable[Page], listed: Sequence[str] | None) -> tuple[str, ...]:
    """The classes that are listed, else those that occur, sorted."""
    if listed is not None:
        return tuple(listed)
    return tuple(sorted({entry.label for page in pages for entry in page.entries}))


def cut(found: BoxSet, split: str, seed: int) -> BoxSet:
    """A split of a set that comes uncut: 70 % train, 15 % val, 15 % test of the images, by seed."""
    if len(found) < 7:
        raise FovealError(f"{found.name(0)}: {len(found)} images are too few to be cut", "make the splits yourself")
    rest, test = stratified(found.strata, 0.15, seed)
    train, val = stratified(torch.zeros(len(rest)), 0.15 / 0.85, seed)
    return found.select({"train": rest[train], "val": rest[val], "test": test}[split], split)


def by_stem(folder: Path) -> dict[str, str]:
    """The pictures in a folder and below it by their path without suffix, from the folder on."""
    if not folder.is_dir():
        return {}
    return {os.path.splitext(os.path.relpath(path, folder))[0]: path for path in pictures_in(folder)[0]}  # noqa: PTH122


def picture(folder: Path, name: str) -> str | None:
    """The file `name` below a folder, or one of that name with another suffix; None when it is not there."""
    plain = Path(name.replace("\\", "/"))
    if plain.is_absolute() or ".." in plain.parts:
        raise FovealError(f"{folder}: an image is called '{name}'", "paths stay below the folder of the images")
    if (folder / plain).is_file():
        return os.fspath(folder / plain)
    others = ((folder / plain).with_suffix(suffix) for suffix in sorted(SUFFIXES))
    return next((os.fspath(file) for file in others if file.is_file()), None)


def unique_stems(paths: Sequence[str]) -> list[str]:
    """A name for each image, its own without suffix where no two are called so."""
    stems = [Path(path).stem for path in paths]
    return stems if len({stem.lower() for stem in stems}) == len(stems) else [f"{n:06d}" for n in range(len(stems))]


def in_order(splits: Iterable[str]) -> tuple[str, ...]:
    """Of train, val and test those that are there."""
    present = set(splits)
    return tuple(split for split in SPLITS if split in present)


def box_samples(folder: Path) -> Mapping[str, BoxSet]:
    """A small real set: a palace and a flower, tiles of scikit-learn's two photographs, written to `folder`."""
    from sklearn.datasets import load_sample_images  # takes a second to import

    folder.mkdir(parents=True, exist_ok=True)
    china, flower = load_sample_images().images
    sets = {}
    for split, shifts in (("train", (0, 20, 40, 60)), ("test", (10, 30, 50))):
        pages = []
        for n in shifts:
            for name, photo, box in (("roof", china, (40, 44, 560, 250)), ("flower", flower, (130, 40, 500, 390))):
                file = folder / f"{split}_{name}_{n}.png"
                Image.fromarray(np.ascontiguousarray(photo[n:400:4, n:600:4])).save(file)
                x1, y1, x2, y2 = ((side - n) / 4 for side in box)
                entries = [Entry("1", name, (max(x1, 0), max(y1, 0), x2, y2))]
                entries += [Entry("2", "corner", (0, 0, 12.5, 9), difficult=n == 0)] if name == "roof" else []
                pages.append(Page(os.fspath(file), os.fspath(file), None, entries))
        sets[split] = built(pages, ("corner", "flower", "roof"), split)
    return sets


def _sizes(pages: Sequence[Page]) -> list[tuple[int, int]]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda page: page.size or image_size(page.path), pages))


def _objects(
    page: Page, size: tuple[int, int], number: Mapping[str, int], pose: Pose | None, faults: list[Fault]
) -> Objects:
    """The entries of a page that can be used."""
    kept: list[tuple[Entry, list[float]]] = []
    for entry in page.entries:
        fault, box = _checked(page.place, entry, size, number)
        if fault is not None:
            faults.append(fault)
        if box is not None:
            kept.append((entry, box))
    boxes = torch.tensor([box for _, box in kept], dtype=torch.float64).view(-1, 4)
    own = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).tolist()
    areas = [
        entry.area if entry.area is not None else outline_area(entry.outline) if entry.outline else area
        for (entry, _), area in zip(kept, own, strict=True)
    ]
    return Objects(
        boxes.float(),
        torch.tensor([number[entry.label] for entry, _ in kept], dtype=torch.int64),
        torch.tensor([entry.difficult for entry, _ in kept], dtype=torch.bool),
        torch.tensor([entry.crowd for entry, _ in kept], dtype=torch.bool),
        torch.tensor(areas, dtype=torch.float32),
        tuple(entry.outline for entry, _ in kept),
        tuple(entry.id for entry, _ in kept),
        _keypoints(page.place, [entry for entry, _ in kept], size, pose, faults),
    )


def _keypoints(
    place: str, entries: Sequence[Entry], size: tuple[int, int], pose: Pose | None, faults: list[Fault]
) -> torch.Tensor:
    """The keypoints of the objects of a page, float32 [K, J, 3]: those outside the image are taken as not given."""
    names = pose.names if pose else ()
    limits = np.array(size, np.float64)
    found = np.zeros((len(entries), len(names), 3))
    for n, entry in enumerate(entries):
        if not entry.keypoints:
            continue
        found[n] = entry.keypoints
        points = found[n, :, :2]
        outside = (found[n, :, 2] > 0) & ((points < -_OVERHANG) | (points > limits + _OVERHANG)).any(1)
        for j in np.flatnonzero(outside).tolist():
            where = (
                f"{place}: object {entry.id} ('{entry.label}'): its {names[j]} at ({points[j, 0]:g}, {points[j, 1]:g})"
            )
            where += f" lies outside the {size[0]} x {size[1]} image, and is taken as not given"
            faults.append(Fault("keypoint", "warning", where, "is it of this image? mend or delete it"))
        found[n, outside | (found[n, :, 2] == 0)] = 0
        np.clip(points, 0, limits, out=points)
    return torch.from_numpy(found).float()


def _checked(
    place: str, entry: Entry, size: tuple[int, int], number: Mapping[str, int]
) -> tuple[Fault | None, list[float] | None]:
    """What is wrong with an entry, and its box within the image; None for one that is left out."""
    where = f"{place}: object {entry.id} ('{entry.label}')"
    x1, y1, x2, y2 = entry.box
    where_box = f"{where}: its box ({x1:g}, {y1:g}) to ({x2:g}, {y2:g})"
    width, height = size
    inside = [min(max(x1, 0.0), width), min(max(y1, 0.0), height), min(max(x2, 0.0), width), min(max(y2, 0.0), height)]
    fault = None
    if entry.label not in number:
        mend = f"the classes are {', '.join(list(number)[:8])}: mend or add it"
        fault = Fault("class", "error", f"{where} is of an unknown class", mend)
    elif not np.isfinite(entry.box).all():
        fault = Fault("number", "error", f"{where_box} is no numbers", "mend the file")
    elif x1 > x2 or y1 > y2:
        fault = Fault("inverted", "error", f"{where_box} is inverted", "exchange the corners")
    elif x1 == x2 or y1 == y2:
        fault = Fault("empty", "warning", f"{where_box} has no area, and is left out", "delete it")
    elif inside[0] >= inside[2] or inside[1] >= inside[3]:
        mend = "mend the box, or delete it"
        fault = Fault("outside", "error", f"{where_box} lies outside the {width} x {height} image", mend)
    elif min(x1, y1, width - x2, height - y2) < -_OVERHANG:
        text = f"{where_box} sticks out of the {width} x {height} image, and is cut"
        return Fault("overhang", "warning", text, "is it of this image? mend the box"), inside
    return fault, None if fault else inside


def outlined(page: Page, entry: Entry) -> Entry:
    """The entry with a box around its outline where the file gives none."""
    return entry._replace(box=bounds(entry.outline)) if entry.outline is not None else entry


def without_flags(sets: Mapping[str, BoxSet], held: Sequence[str]) -> tuple[dict[str, BoxSet], list[tuple[str, str]]]:
    """The sets without objects that have a flag which a format cannot hold, and these as (image, what was left out);
    there, too, objects whose keypoints it cannot hold. `held`: its flags, and "keypoints"."""
    left: list[tuple[str, str]] = []
    result = {}
    for split, images in sets.items():
        kept = []
        for i, found in enumerate(images.objects):
            flags = [flag for flag in ("difficult", "crowd") if flag not in held]
            lost = {n: flag for flag in flags for n in getattr(found, flag).nonzero().flatten().tolist()}
            left += [
                (images.name(i), f"object {found.ids[n]} is {flag}, which has no place there")
                for n, flag in lost.items()
            ]
            kept.append(found.select([n for n in range(len(found)) if n not in lost]))
            if "keypoints" not in held and (posed := int((kept[-1].keypoints[..., 2] > 0).any(1).sum())):
                left.append((images.name(i), f"the keypoints of {posed} objects have no place there"))
        result[split] = images.with_objects(kept)
    return result, left
