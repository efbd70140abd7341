"""A folder per class, with or without folders train, val and test above them.

`photos/train/cat/1.jpg` or `photos/cat/1.jpg`. Folders for splits may be called train or training, val, valid or
validation, test or testing. Without them each class is cut 70 % train, 15 % val, 15 % test, the same way for the same
seed. Classes are sorted by name, unless a `classes.txt` beside the folders gives their order. Hidden files and folders
are passed over; other files that are no pictures by their name are counted as ignored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from foveal.data.dataset import FileSet, ImageSet
from foveal.data.formats._common import (
    SPLITS,
    check_presence,
    check_split,
    cut,
    folder_name,
    photo_samples,
    pictures_in,
    read_classes,
    split_called,
    suffix_of,
    write_classes,
    write_pictures,
)
from foveal.data.image import SUFFIXES
from foveal.errors import FovealError


def sniff(root: Path) -> bool:
    """A folder with at least one picture inside a subfolder."""
    return root.is_dir() and any(_has_picture(folder) for folder in _folders(root).values())


def splits(root: Path) -> tuple[str, ...]:
    """The splits that have folders; all three where none has, for then the set is cut.

    A test folder without class folders is none, as challenges publish theirs; `open` says what is wrong with others.
    """
    found = {*_split_folders(root), *(flat_splits(root).keys() - {"test"})}
    return tuple(split for split in SPLITS if split in found or not found)


def open(root: Path, split: str, *, seed: int = 0) -> FileSet:
    """The files of a split, class by class, each class sorted by path.

    Raises FovealError naming a split whose pictures lie in no class folder, a class folder without pictures, a class
    that is in train and not in test or the reverse, and, when the set is to be cut, a class of less than three
    pictures.
    """
    folders = _split_folders(root)
    if split in (flat := flat_splits(root)):
        raise FovealError(
            f"{flat[split]}: the pictures lie in no class folder, so nothing says their class",
            "put them into one folder per class, or move them away",
        )
    check_split(root, split, tuple(folders) or SPLITS)
    if not folders:
        whole = _files(root, _classes(root, {"": root}), split)
        return whole.select(cut(root, whole.labels, whole.classes, split, seed))
    check_presence(root, {name: _folders(folder) for name, folder in folders.items()})
    return _files(folders[split], _classes(root, folders), split)


def write(sets: Mapping[str, ImageSet], root: Path) -> None:
    """Write root/split/class/000017.png (files keep bytes and suffix), and classes.txt if order or names need it."""
    for split, images in sets.items():
        folders = [folder_name(name) for name in images.classes]
        for name, folder in zip(images.classes, folders, strict=True):
            if [other.lower() for other in folders].count(folder.lower()) > 1:
                raise FovealError(f"class '{name}' would share its folder '{folder}' with another", "rename the class")
        used = sorted(set(images.labels.tolist()))
        for label in used:
            (root / split / folders[label]).mkdir(parents=True, exist_ok=True)
        stems = [root / split / folders[label] / f"{i:06d}" for i, label in enumerate(images.labels.tolist())]
        write_pictures(images, stems)
        if list(images.classes) != sorted(folders[label] for label in used):
            write_classes(root, images.classes)


def example(root: Path) -> None:
    """Write a few tiles of two real photographs as PNG files."""
    write(photo_samples(), root)


def flat_splits(root: Path) -> dict[str, Path]:
    """Split → its folder, where the pictures lie in no class folder although those of another split do."""
    sorted_ones = _split_folders(root)
    named = {split: path for name, path in _folders(root).items() if (split := split_called(name)) is not None}
    return {
        split: path for split, path in named.items() if sorted_ones and split not in sorted_ones and _has_picture(path)
    }


def _folders(root: Path) -> dict[str, Path]:
    """Name → path of the visible subfolders, sorted by name."""
    with os.scandir(root) as found:
        entries = [entry for entry in found if entry.is_dir() and not entry.name.startswith(".")]
    return {entry.name: Path(entry.path) for entry in sorted(entries, key=lambda entry: entry.name)}


def _split_folders(root: Path) -> dict[str, Path]:
    """Split → its folder, in the order train, val, test; empty when no folder is called so."""
    found: dict[str, Path] = {}
    for name, path in _folders(root).items():
        split = split_called(name)
        if split is not None and _folders(path):
            if split in found:
                raise FovealError(
                    f"{root}: '{found[split].name}' and '{name}' both mean {split}", "put them into one folder"
                )
            found[split] = path
    return {split: found[split] for split in SPLITS if split in found}


def _classes(root: Path, folders: Mapping[str, Path]) -> dict[str, str]:
    """Folder name → class name, in the order of the class numbers."""
    here = sorted({name for folder in folders.values() for name in _folders(folder)})
    listed = read_classes(root)
    if listed is None:
        return {name: name for name in here}
    table = {folder_name(name): name for name in listed}
    for name in here:
        if name not in table:
            raise FovealError(
                f"{root}: there is a folder '{name}', but classes.txt has no such line", "add or delete it"
            )
    return table


def _files(root: Path, classes: Mapping[str, str], split: str) -> FileSet:
    paths: list[str] = []
    labels: list[int] = []
    ignored = sum(entry.is_file() and not entry.name.startswith(".") for entry in root.iterdir())
    there = _folders(root)
    for label, folder in enumerate(classes):
        if folder not in there:
            continue
        found, others = pictures_in(there[folder])
        if not found:
            raise FovealError(
                f"{there[folder]}: the class folder holds no picture"
                + (f" ({others} other files)" if others else " (it is empty)"),
                f"add images ({', '.join(sorted(SUFFIXES)[:6])}, …) or remove the folder",
            )
        paths += found
        labels += [label] * len(found)
        ignored += others
    return FileSet(paths, torch.tensor(labels, dtype=torch.int64), tuple(classes.values()), split, ignored)


def _has_picture(folder: Path) -> bool:
    for _, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if any(suffix_of(name) in SUFFIXES and not name.startswith(".") for name in files):
            return True
    return False
