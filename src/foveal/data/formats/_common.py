"""What several formats share: names of splits and classes, the default cut, copies of pictures, small samples."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from foveal.data.dataset import ArraySet, FileSet, ImageSet, stratified
from foveal.data.image import SUFFIXES
from foveal.errors import FovealError, unknown

SPLITS = ("train", "val", "test")
CLASSES_FILE = "classes.txt"
_CALLED = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def split_called(name: str) -> str | None:
    """The split that a folder or a cell of a list means: `Validation` → "val"; None for any other word."""
    return _CALLED.get(name.strip().lower())


def check_split(root: Path, split: str, present: Sequence[str]) -> None:
    """Raise FovealError when `split` is no split's name, or not one of those `present`."""
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if split not in present:
        raise FovealError(f"{root} has no {split} split", f"it has: {', '.join(present) or 'none'}")


def read_classes(folder: Path) -> tuple[str, ...] | None:
    """The class names, one a line and in the order of their numbers, of `classes.txt` in a folder; None without one."""
    file = folder / CLASSES_FILE
    return read_lines(file) if file.is_file() else None


def read_lines(file: Path) -> tuple[str, ...]:
    """The lines of a UTF-8 text, stripped, without empty ones. FovealError when it is no text."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FovealError(f"{file}: byte {error.start} is not UTF-8 text", "save it as UTF-8") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def write_classes(folder: Path, classes: Sequence[str], file: str = CLASSES_FILE) -> None:
    """Write the class names, one a line, as `read_classes` reads them."""
    for name in classes:
        if name != name.strip() or not name or "\n" in name or "\r" in name:
            raise FovealError(f"the class name {name!r} cannot be a line of {file}", "rename the class")
    (folder / file).write_text("".join(f"{name}\n" for name in classes), encoding="utf-8", newline="\n")


def folder_name(class_name: str) -> str:
    """A class name as every file system takes it: `T-shirt/top` → `T-shirt_top`."""
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", class_name).rstrip(". ")
    reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)
    return f"_{name}" if reserved or not name or name.startswith(".") else name


def named(classes: Sequence[str], labels: np.ndarray) -> list[str]:
    """The classes that occur in int64 labels [N]; a label without a name by its number."""
    return [classes[i] if 0 <= i < len(classes) else f"number {i}" for i in np.unique(labels).tolist()]


def check_presence(root: Path, present: Mapping[str, Collection[str]]) -> None:
    """Raise FovealError naming a class that is in train and not in test, or in test or val and not in train."""
    train = set(present.get("train", ()))
    if not train:
        return
    for split in ("test", "val"):
        if split not in present:
            continue
        here = set(present[split])
        for name in sorted(here - train):
            raise FovealError(
                f"{root}: class '{name}' is in {split} and not in train", "add training images, or rename the class"
            )
        if split == "test":
            for name in sorted(train - here):
                raise FovealError(
                    f"{root}: class '{name}' is in train and not in test", "add test images, or rename the class"
                )


def cut(root: Path, labels: Tensor, classes: Sequence[str], split: str, seed: int) -> Tensor:
    """The indices of `split` when a set comes uncut: 70 % train, 15 % val, 15 % test of each class, by seed."""
    counts = torch.bincount(labels, minlength=len(classes))
    if int(counts.min()) < 3:
        few = int(counts.argmin())
        raise FovealError(
            f"{root}: class '{classes[few]}' has {int(counts[few])} images, too few for train, val and test",
            "add images (3 at least), or make the splits yourself",
        )
    rest, test = stratified(labels, 0.15, seed)
    train, val = stratified(labels[rest], 0.15 / 0.85, seed)
    return {"train": rest[train], "val": rest[val], "test": test}[split]


def stacked(images: ImageSet, format_name: str, channels: int, size: tuple[int, int] | None = None) -> Tensor:
    """All images as uint8 [N, C, H, W]; FovealError naming the first that has other channels or another size."""
    out: Tensor | None = None
    for i in range(len(images)):
        image = images.load(i)
        size = size or (image.shape[1], image.shape[2])
        if tuple(image.shape) != (channels, *size):
            c, h, w = image.shape
            raise FovealError(
                f"{images.name(i)}: {w} × {h} {'grey' if c == 1 else 'colour'}, but {format_name} holds "
                f"{size[1]} × {size[0]} {'grey' if channels == 1 else 'colour'} images only",
                "choose format=folder or format=csv, which hold any picture",
            )
        if out is None:
            out = torch.empty((len(images), channels, *size), dtype=torch.uint8)
        out[i] = image
    if out is None:
        raise FovealError(f"the {images.split} split has no image", "nothing can be written")
    return out


def pictures_in(folder: Path) -> tuple[list[str], int]:
    """The pictures in a folder and below it, sorted; and the number of visible files that are none."""
    pictures: list[str] = []
    others = 0
    waiting = [os.fspath(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):  # a link to a folder above would never end
                    waiting.append(entry.path)
                elif suffix_of(entry.name) in SUFFIXES:
                    pictures.append(entry.path)
                else:
                    others += 1
    return sorted(pictures), others


def suffix_of(name: str) -> str:
    """The suffix of a file's name, in lower case: "a.JPEG" → ".jpeg"."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (pathlib is ten times slower; sets have millions of files)


def write_pictures(images: ImageSet, stems: Sequence[Path]) -> list[Path]:
    """Write image i to `stems[i]` with a suffix added: files are copied as they are, arrays become PNG."""

    def one(i: int) -> Path:
        stem = stems[i]
        if isinstance(images, FileSet):
            suffix = Path(images.paths[i]).suffix.lower()
            if suffix in SUFFIXES:
                return Path(shutil.copyfile(images.paths[i], stem.with_name(stem.name + suffix)))
        pixels = images.load(i).permute(1, 2, 0).numpy()
        file = stem.with_name(stem.name + ".png")
        Image.fromarray(np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)).save(file)
        return file

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, range(len(images))))


def digit_samples() -> dict[str, ArraySet]:
    """A small real set, 8 × 8 grey: digits 0, 1 and 2 of the embedded set, 4 of each for train and 3 for test."""
    from foveal.data.formats import digits

    sets = {}
    for split, count in (("train", 4), ("test", 3)):
        whole = digits.open(Path("digits"), split)
        chosen = torch.cat([(whole.labels == label).nonzero().flatten()[:count] for label in range(3)])
        few = whole.select(chosen)
        sets[split] = ArraySet(few.images, few.labels, whole.classes[:3], split, "sample")
    return sets


def photo_samples() -> dict[str, ArraySet]:
    """A small real set, 32 × 32 colour: cut from scikit-learn's two photographs, 4 of each for train and 3 for test."""
    from sklearn.datasets import load_sample_images  # takes a second to import

    photos = [torch.from_numpy(photo.copy()).permute(2, 0, 1) for photo in load_sample_images().images]
    sets = {}
    for split, columns in (("train", range(4)), ("test", range(4, 7))):
        tiles = [photo[:, 200:232, 80 * c : 80 * c + 32] for photo in photos for c in columns]
        labels = torch.arange(2).repeat_interleave(len(columns))
        sets[split] = ArraySet(torch.stack(tiles), labels, ("china", "flower"), split, "sample")
    return sets
