"""Images and their masks in folders of their own: `images/` and `masks/`, with or without splits above them.

`streets/train/images/1.jpg` belongs to `streets/train/masks/1.png`: the same name before the suffix. `classes.txt`
tells the names of the classes, a line each, in the order of their numbers; pixels of the next number and of 255 have no
class. Where `colours.txt` stands in its place, with lines `red green blue name`, masks are in these colours, and a line
with the name `void` gives that of pixels without class. Folders for splits are called as those of classes; without
them the images are cut 70 % train, 15 % val, 15 % test, the same way for the same seed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from foveal.data.boxset import Fault
from foveal.data.dataset import stratified
from foveal.data.formats._common import (
    SPLITS,
    check_split,
    pictures_in,
    read_classes,
    read_lines,
    split_called,
    write_classes,
)
from foveal.data.masks import MaskSet
from foveal.errors import FovealError
from foveal.types import IGNORED

TASK = "segment"
_IMAGES, _MASKS, _CLASSES, _COLOURS, _VOID = "images", "masks", "classes.txt", "colours.txt", "void"


def sniff(root: Path) -> bool:
    """A folder with the folders images and masks, or with folders of splits that have them."""
    return root.is_dir() and bool(_places(root))


def splits(root: Path) -> tuple[str, ...]:
    """The splits that have folders; all three where none has, for then the set is cut."""
    found = _places(root)
    return SPLITS if "" in found else tuple(split for split in SPLITS if split in found)


def open(root: Path, split: str, *, seed: int = 0) -> MaskSet:
    """The images of a split, sorted by name, with their masks.

    Raises FovealError, naming the file, for an image without a mask and the reverse, and for a missing list of classes.
    """
    return read(root, split, seed=seed).settled()


def read(root: Path, split: str, *, seed: int = 0) -> MaskSet:
    """As `open`, with what has no counterpart left out and among the set's `faults`."""
    check_split(root, split, splits(root))
    places = _places(root)
    classes, colours, void = _classes(root)
    whole = "" in places
    paths, masks, faults = _pairs(places["" if whole else split])
    options: dict[str, Any] = {"colours": colours, "ignored_colours": void, "ignore": (len(classes), IGNORED)}
    found = MaskSet(paths, masks, classes, split, faults=faults, **options)
    if not whole:
        return found
    rest, test = stratified(found.strata, 0.15, seed)
    train, val = stratified(torch.zeros(len(rest)), 0.15 / 0.85, seed)
    return found.select({"train": rest[train], "val": rest[val], "test": test}[split])


def write(sets: Mapping[str, MaskSet], root: Path) -> None:
    """Write images as they are, or as PNG, and masks as PNG of class numbers."""
    for split, part in sets.items():
        for folder in (_IMAGES, _MASKS):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        write_classes(root, part.classes)
        for i, path in enumerate(map(Path, part.paths)):
            stem = path.stem if len({Path(p).stem for p in part.paths}) == len(part) else f"{i:06d}"
            shutil.copyfile(path, root / split / _IMAGES / f"{stem}{path.suffix.lower()}")
            Image.fromarray(part.target(i).numpy()).save(root / split / _MASKS / f"{stem}.png")


def example(root: Path) -> None:
    """Three images of a bright square on dark ground, in each of two splits."""
    for split, dark in (("train", 40), ("test", 50)):
        for folder in (_IMAGES, _MASKS):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        for i in range(3):
            mask = np.zeros((24, 32), np.uint8)
            mask[4 + i : 14 + i, 6 + i : 16 + i] = 1
            Image.fromarray(np.stack([dark + 160 * mask] * 3, 2)).save(root / split / _IMAGES / f"{i}.png")
            Image.fromarray(mask).save(root / split / _MASKS / f"{i}.png")
    write_classes(root, ("ground", "square"))


def _places(root: Path) -> dict[str, Path]:
    """The folder of each split that holds images and masks; that of "" when they lie in the root itself."""
    if (root / _IMAGES).is_dir() and (root / _MASKS).is_dir():
        return {"": root}
    found = {}
    for folder in sorted(root.iterdir()):
        split = split_called(folder.name)
        if split and (folder / _IMAGES).is_dir() and (folder / _MASKS).is_dir():
            found[split] = folder
    return found


def _pairs(folder: Path) -> tuple[list[str], list[str], list[Fault]]:
    images = {Path(path).stem: path for path in pictures_in(folder / _IMAGES)[0]}
    masks = {Path(path).stem: path for path in pictures_in(folder / _MASKS)[0]}
    faults = [
        Fault("no_mask", "error", f"{images[stem]} has no mask", f"add {folder / _MASKS / stem}.png, or take it away")
        for stem in sorted(images.keys() - masks.keys())
    ] + [
        Fault("no_image", "error", f"{masks[stem]} has no image", f"add {folder / _IMAGES / stem}.png, or take it away")
        for stem in sorted(masks.keys() - images.keys())
    ]
    stems = sorted(images.keys() & masks.keys())
    return [images[stem] for stem in stems], [masks[stem] for stem in stems], faults


def _classes(root: Path) -> tuple[list[str], list[tuple[int, int, int]] | None, list[tuple[int, int, int]]]:
    """Names, their colours (None: masks are numbers) and the colours of pixels without class."""
    if (root / _COLOURS).is_file():
        return _coloured(root / _COLOURS)
    names = read_classes(root)
    if names is None:
        raise FovealError(
            f"{root} has neither {_CLASSES} nor {_COLOURS}", f"list the classes in {root / _CLASSES}, a name a line"
        )
    return list(names), None, []


def _coloured(file: Path) -> tuple[list[str], list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    names, colours, void = [], [], []
    for number, line in enumerate(read_lines(file), 1):
        parts = line.split(maxsplit=3)
        if len(parts) < 4 or not all(part.isdigit() and int(part) <= 255 for part in parts[:3]):
            raise FovealError(
                f"{file}, line {number}: '{line}'", "a line is: red green blue name, each colour 0 to 255"
            )
        colour = (int(parts[0]), int(parts[1]), int(parts[2]))
        if parts[3].strip() == _VOID:
            void.append(colour)
        else:
            names.append(parts[3].strip())
            colours.append(colour)
    return names, colours, void
