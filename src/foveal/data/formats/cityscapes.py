"""Cityscapes: leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png, gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png.

The 19 classes that are trained and measured stand in the files by other numbers (road is 7); all further numbers have
no class. The test masks that are given away hold none: that split is there only where its masks have classes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from foveal.data.boxset import Fault
from foveal.data.formats import masks
from foveal.data.formats._boxes import unique_stems
from foveal.data.formats._common import SPLITS, check_split, pictures_in
from foveal.data.masks import MaskSet
from foveal.errors import FovealError
from foveal.types import IGNORED

TASK = "segment"
_IMAGES, _MASKS, _IMAGE, _MASK = "leftImg8bit", "gtFine", "_leftImg8bit", "_gtFine_labelIds"
_NUMBERS = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
CLASSES = tuple(_NUMBERS)
_NO_CLASS = (*(n for n in range(35) if n not in _NUMBERS.values()), IGNORED)


def sniff(root: Path) -> bool:
    """A folder leftImg8bit beside a folder gtFine."""
    return (root / _IMAGES).is_dir() and (root / _MASKS).is_dir()


def splits(root: Path) -> tuple[str, ...]:
    """The splits that have images and masks; test only where the first mask has a class."""
    found = [split for split in SPLITS if (root / _IMAGES / split).is_dir() and (root / _MASKS / split).is_dir()]
    if "test" in found:
        test = _read(root, "test")
        if not len(test) or bool((test.target(0).as_subclass(Tensor) == IGNORED).all()):
            found.remove("test")
    return tuple(found)


def open(root: Path, split: str, *, seed: int = 0) -> MaskSet:
    """The images of a split, sorted by name. Raises FovealError, naming it, for a file without its counterpart."""
    return read(root, split, seed=seed).settled()


def read(root: Path, split: str, *, seed: int = 0) -> MaskSet:
    """As `open`, with what has no counterpart left out and among the set's `faults`."""
    check_split(root, split, splits(root))
    return _read(root, split)


def write(sets: Mapping[str, MaskSet], root: Path) -> None:
    """Write images as PNG, in one city called set, and masks of the format's numbers.

    Raises FovealError for other classes than its 19, and for an image that is not in colour.
    """
    table = np.full(256, 0, np.uint8)
    table[: len(CLASSES)] = list(_NUMBERS.values())
    for split, part in sets.items():
        if part.classes != CLASSES:
            raise FovealError(
                f"the classes {', '.join(part.classes[:3])} … are not those of Cityscapes",
                "write them as masks or voc_masks, which take any",
            )
        folders = [root / kind / split / "set" for kind in (_IMAGES, _MASKS)]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for i, stem in enumerate(unique_stems(part.paths)):
            name = stem.removesuffix(_IMAGE)
            picture = folders[0] / f"{name}{_IMAGE}.png"
            if Path(part.paths[i]).suffix.lower() == ".png":
                shutil.copyfile(part.paths[i], picture)
            else:
                Image.fromarray(part.load(i).movedim(0, -1).squeeze(-1).contiguous().numpy()).save(picture)
            Image.fromarray(table[part.target(i).numpy()]).save(folders[1] / f"{name}{_MASK}.png")


def example(root: Path) -> None:
    """Images of a bright square on dark ground: a wall and the road."""
    masks.example(root / "samples")
    sets = {}
    for split, called in (("train", "train"), ("test", "val")):
        part = masks.open(root / "samples", split)
        sets[called] = MaskSet(part.paths, part.masks, CLASSES, called)
    write(sets, root)
    shutil.rmtree(root / "samples")


def _read(root: Path, split: str) -> MaskSet:
    images = {Path(path).stem.removesuffix(_IMAGE): path for path in pictures_in(root / _IMAGES / split)[0]}
    drawn = [path for path in pictures_in(root / _MASKS / split)[0] if Path(path).stem.endswith(_MASK)]
    found = {Path(path).stem.removesuffix(_MASK): path for path in drawn}
    faults = [
        Fault("no_mask", "error", f"{images[name]} has no mask", f"add {name}{_MASK}.png, or take it away")
        for name in sorted(images.keys() - found.keys())
    ] + [
        Fault("no_image", "error", f"{found[name]} has no image", f"add {name}{_IMAGE}.png, or take it away")
        for name in sorted(found.keys() - images.keys())
    ]
    names = sorted(images.keys() & found.keys())
    return MaskSet(
        [images[name] for name in names],
        [found[name] for name in names],
        CLASSES,
        split,
        ignore=_NO_CLASS,
        values=tuple(_NUMBERS.values()),
        faults=faults,
    )
