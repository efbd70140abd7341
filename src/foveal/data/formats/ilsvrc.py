"""The ImageNet challenge (ILSVRC, classification and localisation) as it is distributed.

`train/n01440764/*.JPEG`, a folder a synset; `val/ILSVRC2012_val_00000001.JPEG …`, all in one folder, whose classes a
ground truth beside them tells; or the same below `Data/CLS-LOC`. The ground truth is any of LOC_val_solution.csv,
ILSVRC…_validation_ground_truth.txt (with map_clsloc.txt or meta.mat, which say what its numbers mean),
…_validation_synset_labels.txt, or the XML files of Annotations/CLS-LOC/val. They are looked for in the folder, in its
`data`, in a devkit's, and beside the images. The images of the test split have no published classes: they are not read.

Classes are sorted by synset, as in published weights, and called `tench (n01440764)`, or by the synset alone where no
list of words is there. A set whose val split has a folder a class is the format `folder`.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from foveal.data.dataset import ArraySet, FileSet, ImageSet
from foveal.data.formats._common import (
    check_presence,
    check_split,
    photo_samples,
    pictures_in,
    read_lines,
    suffix_of,
    write_pictures,
)
from foveal.data.formats._voc import Box, read_boxes
from foveal.data.image import SUFFIXES
from foveal.data.wordnet import read_meta, read_words, synset_of
from foveal.errors import FovealError

_SYNSET = re.compile(r"n\d{8}")
_NUMBERED = re.compile(r"(ILSVRC\d{4}_val_(\d{8}))\.")
_BELOW = ("", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")
_GROUND_TRUTH = "LOC_val_solution.csv, ILSVRC…_validation_ground_truth.txt with map_clsloc.txt, or Annotations/CLS-LOC"


def sniff(root: Path) -> bool:
    """Training folders called after synsets, and validation images called ILSVRC…_val_… in one folder."""
    return _place(root) is not None


def splits(root: Path) -> tuple[str, ...]:
    """Train and val: the challenge keeps the classes of its test images to itself."""
    return ("train", "val") if sniff(root) else ()


def open(root: Path, split: str, *, seed: int = 0) -> FileSet:
    """The files of a split; `seed` is not used. FovealError naming what is missing, or the file that is damaged."""
    place = _place(root)
    check_split(root, split, splits(root))
    assert place is not None
    synsets = sorted(entry.name for entry in os.scandir(place / "train") if _is_class(entry))
    classes = tuple(_names(root, place, synsets).values())
    if split == "train":
        return _train(place / "train", synsets, classes)
    found = _validation(root, place)
    check_presence(root, {"train": synsets, "val": set(found.values())})
    numbers = {synset: number for number, synset in enumerate(synsets)}
    labels = torch.tensor([numbers[synset] for synset in found.values()])
    ignored = sum(1 for _ in (place / "val").iterdir()) - len(found)
    return FileSet(list(found), labels, classes, split, ignored)


def boxes(root: Path, images: FileSet) -> list[tuple[Box, ...]]:
    """The objects of each image by Annotations/CLS-LOC; none for images without a file there.

    Sides are in pixels of the picture as it is stored. FovealError for a damaged file.
    """
    result = []
    for path in map(Path, images.paths):
        folder = path.parent.name if images.split == "train" else ""
        files = [base / images.split / folder / f"{path.stem}.xml" for base in _annotations(root)]
        result.append(next((read_boxes(file) for file in files if file.is_file()), ()))
    return result


def write(sets: Mapping[str, ImageSet], root: Path) -> None:
    """Write train and val, synset_words.txt, map_clsloc.txt and the ground truth of val.

    Class names must hold a synset, as `tench (n01440764)`. Files keep their bytes, arrays become PNG.
    """
    for split, images in sets.items():
        if split not in ("train", "val"):
            raise FovealError(f"the challenge's layout holds train and val, no {split}", "choose format=folder")
        synsets = [_synset(name) for name in images.classes]
        chosen = [synsets[label] for label in images.labels.tolist()]
        for synset in sorted(set(chosen)):
            (root / "train" / synset).mkdir(parents=True, exist_ok=True)
        if split == "train":
            stems = [root / "train" / synset / f"{synset}_{i}" for i, synset in enumerate(chosen)]
        else:
            (root / "val").mkdir(parents=True, exist_ok=True)
            stems = [root / "val" / f"ILSVRC2012_val_{i:08d}" for i in range(1, len(images) + 1)]
            numbers = "".join(f"{label + 1}\n" for label in images.labels.tolist())
            _text(root / "ILSVRC2012_validation_ground_truth.txt", numbers)
        write_pictures(images, stems)
        words = [name.removesuffix(f"({synset})").strip() for name, synset in zip(images.classes, synsets, strict=True)]
        pairs = [(synset, word) for synset, word in zip(synsets, words, strict=True) if word != synset]
        _text(root / "synset_words.txt", "".join(f"{synset} {word}\n" for synset, word in pairs))
        lines = (f"{synset} {number} {word.replace(' ', '_')}\n" for number, (synset, word) in enumerate(pairs, 1))
        _text(root / "map_clsloc.txt", "".join(lines))


def example(root: Path) -> None:
    """Write a few tiles of two real photographs, of a palace and of a flower."""
    names = ("palace (n03877845)", "flower (n11669921)")
    train, test = photo_samples().values()
    sets = {
        split: ArraySet(images.images, images.labels, names, split)
        for split, images in (("train", train), ("val", test))
    }
    write(sets, root)


def _place(root: Path) -> Path | None:
    """The folder that holds train and val; None for another layout."""
    for below in _BELOW:
        place = root / below
        if (place / "train").is_dir() and (place / "val").is_dir():
            with os.scandir(place / "train") as entries:
                classes = any(_is_class(entry) for entry in entries)
            with os.scandir(place / "val") as entries:
                loose = any(_NUMBERED.match(entry.name) and entry.is_file() for entry in entries)
            if classes and loose:
                return place
    return None


def _is_class(entry: os.DirEntry[str]) -> bool:
    return _SYNSET.fullmatch(entry.name) is not None and entry.is_dir()


def _train(folder: Path, synsets: list[str], classes: tuple[str, ...]) -> FileSet:
    paths: list[str] = []
    labels: list[int] = []
    ignored = 0
    for label, synset in enumerate(synsets):
        found, others = pictures_in(folder / synset)
        if not found:
            raise FovealError(f"{folder / synset}: the class folder holds no picture", "unpack its archive again")
        paths += found
        labels += [label] * len(found)
        ignored += others
    return FileSet(paths, torch.tensor(labels, dtype=torch.int64), classes, "train", ignored)


def _names(root: Path, place: Path, synsets: list[str]) -> dict[str, str]:
    """Synset → the class's name."""
    words: Mapping[str, str]
    for name in ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt"):
        file = _beside(root, place, name)
        if file is not None:
            words = read_words(file)
            break
    else:
        meta = _beside(root, place, "meta.mat")
        words = read_meta(meta).words if meta is not None else {}
    firsts = {synset: words[synset].partition(", ")[0] for synset in synsets if synset in words}
    return {synset: f"{firsts[synset]} ({synset})" if synset in firsts else synset for synset in synsets}


def _validation(root: Path, place: Path) -> dict[str, str]:
    """Path of each validation image → its synset, in the order of their numbers."""
    images = {}
    for entry in os.scandir(place / "val"):
        match = _NUMBERED.match(entry.name)
        if match and suffix_of(entry.name) in SUFFIXES:
            images[match[1]] = (int(match[2]), entry.path)
    ordered = sorted((number, path, stem) for stem, (number, path) in images.items())
    truth = _solution(root, place) or _numbered(root, place)
    if truth is None:
        files = {stem: base / "val" / f"{stem}.xml" for base in _annotations(root) for _, _, stem in ordered}
        if not any(file.is_file() for file in files.values()):
            raise FovealError(f"{place / 'val'}: nothing says the classes of its images", f"put {_GROUND_TRUTH} beside")
        truth = {
            stem: objects[0].name for stem, file in files.items() if file.is_file() and (objects := read_boxes(file))
        }
    result = {}
    for number, path, stem in ordered:
        synset = truth.get(stem) or truth.get(str(number))
        if synset is None:
            raise FovealError(
                f"{path}: the ground truth does not tell its class", "is it of the same year's challenge?"
            )
        result[path] = synset
    return result


def _solution(root: Path, place: Path) -> dict[str, str] | None:
    """LOC_val_solution.csv: image → synset of its first object."""
    file = _beside(root, place, "LOC_val_solution.csv")
    if file is None:
        return None
    rows = list(csv.reader(read_lines(file)))[1:]
    for number, row in enumerate(rows, 2):
        if len(row) != 2 or not _SYNSET.match(row[1]):
            raise FovealError(f"{file}, line {number}: is not an image and its objects", "download it again")
    return {row[0]: row[1][:9] for row in rows}


def _numbered(root: Path, place: Path) -> dict[str, str] | None:
    """A ground truth of a line an image: number of the image, as text → synset."""
    for file in _files(root, place, "*_validation_synset_labels.txt"):
        return {str(number): line for number, line in enumerate(_checked(file, read_lines(file)), 1)}
    for file in _files(root, place, "*_validation_ground_truth.txt"):
        table = _numbers(root, place, file)
        lines = read_lines(file)
        for number, line in enumerate(lines, 1):
            if line not in table:
                raise FovealError(f"{file}, line {number}: no class has the number '{line}'", "download it again")
        return {str(number): table[line] for number, line in enumerate(lines, 1)}
    return None


def _numbers(root: Path, place: Path, truth: Path) -> dict[str, str]:
    """The challenge's number of each class, as text → synset. It is not the order of the synsets."""
    file = _beside(root, place, "map_clsloc.txt")
    if file is not None:
        rows = [line.split() for line in read_lines(file)]
        _checked(file, [row[0] for row in rows])
        return {row[1]: row[0] for row in rows if len(row) > 1}
    meta = _beside(root, place, "meta.mat")
    if meta is None:
        raise FovealError(f"{truth}: holds numbers that nothing explains", "put map_clsloc.txt or meta.mat beside it")
    return {str(number): synset for number, synset in read_meta(meta).numbers.items()}


def _checked(file: Path, synsets: list[str] | tuple[str, ...]) -> list[str]:
    for number, synset in enumerate(synsets, 1):
        if not _SYNSET.fullmatch(synset):
            raise FovealError(f"{file}, line {number}: '{synset[:40]}' is no synset such as n01440764", "mend the line")
    return list(synsets)


def _files(root: Path, place: Path, pattern: str) -> Iterator[Path]:
    devkits = [*sorted(root.glob("*devkit*/data")), *sorted(root.glob("devkit/data"))]
    for folder in dict.fromkeys([root, place, root / "data", *devkits, place / "val"]):
        if folder.is_dir():
            yield from sorted(folder.glob(pattern))


def _beside(root: Path, place: Path, name: str) -> Path | None:
    return next(_files(root, place, name), None)


def _annotations(root: Path) -> list[Path]:
    places = (root / "Annotations" / "CLS-LOC", root / "ILSVRC" / "Annotations" / "CLS-LOC")
    return [place for place in places if place.is_dir()]


def _synset(name: str) -> str:
    synset = synset_of(name)
    if synset is None:
        raise FovealError(
            f"class '{name}' names no synset, by which the challenge calls its folders",
            "call it as 'tench (n01440764)', or choose format=folder",
        )
    return synset


def _text(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")
