"""PASCAL VOC's masks: SegmentationClass/NAME.png, JPEGImages/NAME.jpg, ImageSets/Segmentation/train.txt and val.txt.

Masks are PNG of class numbers, with the palette that the challenge uses; 255, the objects' outlines, has no class.
Classes are the challenge's 21, background first, unless a `classes.txt` gives others. Where there is no train.txt,
trainval.txt is train.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from foveal.data.boxset import Fault
from foveal.data.formats import masks
from foveal.data.formats._boxes import by_stem, in_order, unique_stems
from foveal.data.formats._common import SPLITS, check_split, read_classes, read_lines, write_classes
from foveal.data.masks import MaskSet

TASK = "segment"
_IMAGES, _MASKS, _LISTS = "JPEGImages", "SegmentationClass", Path("ImageSets") / "Segmentation"
CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def sniff(root: Path) -> bool:
    """A folder SegmentationClass beside a folder JPEGImages, and a list of a split."""
    return (root / _MASKS).is_dir() and (root / _IMAGES).is_dir() and bool(_lists(root))


def splits(root: Path) -> tuple[str, ...]:
    """The splits that are listed."""
    return in_order(_lists(root))


def open(root: Path, split: str, *, seed: int = 0) -> MaskSet:
    """The images of a split in the order of its list. Raises FovealError, naming it, for a file that is missing."""
    return read(root, split, seed=seed).settled()


def read(root: Path, split: str, *, seed: int = 0) -> MaskSet:
    """As `open`, with what is missing left out and among the set's `faults`."""
    check_split(root, split, splits(root))
    pictures, drawn = by_stem(root / _IMAGES), by_stem(root / _MASKS)
    paths, found, faults = [], [], []
    for line in read_lines(_lists(root)[split]):
        name = line.split()[0]
        if name in pictures and name in drawn:
            paths.append(pictures[name])
            found.append(drawn[name])
            continue
        kind, folder = ("no_mask", _MASKS) if name in pictures else ("no_image", _IMAGES)
        what = f"{root / folder / name} is missing, but {_lists(root)[split]} names it"
        faults.append(Fault(kind, "error", what, "add it, or take the name out of the list"))
    return MaskSet(paths, found, read_classes(root) or CLASSES, split, faults=faults)


def write(sets: Mapping[str, MaskSet], root: Path) -> None:
    """Write pictures as they are, masks with the challenge's palette, the splits' lists and classes.txt."""
    for folder in (_MASKS, _IMAGES, _LISTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    stems = iter(unique_stems([path for images in sets.values() for path in images.paths]))
    for split, images in sets.items():
        lines = []
        for i, path in enumerate(map(Path, images.paths)):
            stem = next(stems)
            lines.append(f"{stem}\n")
            shutil.copyfile(path, root / _IMAGES / f"{stem}{path.suffix.lower()}")
            mask = Image.fromarray(images.target(i).numpy())
            mask.putpalette(_PALETTE)
            mask.save(root / _MASKS / f"{stem}.png")
        (root / _LISTS / f"{split}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
        write_classes(root, images.classes)


def example(root: Path) -> None:
    """Images of a bright square on dark ground."""
    masks.example(root / "samples")
    write({split: masks.open(root / "samples", split) for split in ("train", "test")}, root)
    shutil.rmtree(root / "samples")


def _lists(root: Path) -> dict[str, Path]:
    files = {split: root / _LISTS / f"{split}.txt" for split in SPLITS}
    found = {split: file for split, file in files.items() if file.is_file()}
    both = root / _LISTS / "trainval.txt"
    if "train" not in found and both.is_file():
        found["train"] = both
    return found


def _palette() -> list[int]:
    """The challenge's colours: bit 3k of a number is the bit 7 - k of red, 3k + 1 of green, 3k + 2 of blue."""
    return [
        sum((number >> (3 * k + channel) & 1) << (7 - k) for k in range(3))
        for number in range(256)
        for channel in range(3)
    ]


_PALETTE = _palette()
