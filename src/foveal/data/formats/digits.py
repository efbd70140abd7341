"""Handwritten digits, 8 × 8 grey: scikit-learn's embedded set («digits»), or UCI optdigits text files.

A line of the text is 64 counts 0 … 16, row by row, and the class, separated by commas (E. Alpaydin, C. Kaynak: Optical
Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998). Pixels are round(count · 255 / 16).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from foveal.data.dataset import ArraySet, ImageSet, stratified
from foveal.data.formats._common import (
    SPLITS,
    check_presence,
    check_split,
    digit_samples,
    named,
    read_classes,
    stacked,
    write_classes,
)
from foveal.errors import FovealError

_EMBEDDED = Path("digits")
_FILES = {"train": "optdigits.tra", "val": "optdigits.val", "test": "optdigits.tes"}
_PIXEL = torch.tensor([round(count * 255 / 16) for count in range(17)], dtype=torch.uint8)


def sniff(root: Path) -> bool:
    """The name «digits» itself, or a folder with optdigits.tra or optdigits.tes."""
    return root == _EMBEDDED or any((root / file).is_file() for file in _FILES.values())


def splits(root: Path) -> tuple[str, ...]:
    """The splits that are there; the embedded set has train and test."""
    if root == _EMBEDDED:
        return ("train", "test")
    return tuple(split for split in SPLITS if (root / _FILES[split]).is_file())


def open(root: Path, split: str, *, seed: int = 0) -> ArraySet:
    """Images uint8 [N, 1, 8, 8]. The embedded 1,797 are cut 80 / 20 by class and seed; files are taken as they are.

    Raises FovealError naming file and line.
    """
    check_split(root, split, splits(root))
    if root == _EMBEDDED:
        return _embedded(split, seed)
    tables = {name: _read(root / _FILES[name]) for name in splits(root)}
    labels = {name: table[:, 64] for name, table in tables.items()}
    classes = read_classes(root)
    if classes is None:
        classes = tuple(str(label) for label in range(max(int(part.max()) for part in labels.values()) + 1))
    check_presence(root, {name: named(classes, part) for name, part in labels.items()})
    pixels = _PIXEL[torch.from_numpy(tables[split][:, :64])].reshape(-1, 1, 8, 8)
    return ArraySet(pixels, torch.from_numpy(labels[split]), classes, split, str(root / _FILES[split]))


def write(sets: Mapping[str, ImageSet], root: Path) -> None:
    """Write optdigits.tra, .val, .tes and classes.txt. FovealError when a picture is not 8 × 8 grey of 17 levels."""
    root.mkdir(parents=True, exist_ok=True)
    for split, images in sets.items():
        pixels = stacked(images, "digits", 1, (8, 8)).flatten(1)
        counts = (pixels.to(torch.float32) * 16 / 255).round().to(torch.int64)
        between = (_PIXEL[counts] != pixels).any(dim=1).nonzero()
        if len(between):
            raise FovealError(
                f"{images.name(int(between[0]))}: has grey values between the 17 levels that digits files hold",
                "choose format=idx, which holds all 256 levels",
            )
        table = torch.cat([counts, images.labels[:, None]], dim=1).numpy()
        np.savetxt(root / _FILES[split], table, fmt="%d", delimiter=",", newline="\n")
        write_classes(root, images.classes)


def example(root: Path) -> None:
    """Write a few real digits as optdigits text."""
    write(digit_samples(), root)


def _embedded(split: str, seed: int) -> ArraySet:
    from sklearn.datasets import load_digits  # takes a second to import

    found = load_digits()
    labels = torch.from_numpy(found.target)
    rest, part = stratified(labels, 0.2, seed)
    index = rest if split == "train" else part
    pixels = _PIXEL[torch.from_numpy(found.images).to(torch.int64)][:, None]
    classes = tuple(str(label) for label in found.target_names)
    return ArraySet(pixels[index], labels[index], classes, split, "digits", numbers=index)


def _read(file: Path) -> np.ndarray:
    """int64 [N, 65]: 64 counts and the class."""
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = [int(cell) for cell in line.split(",")]
        except ValueError:
            row = []
        if len(row) != 65 or not all(0 <= cell <= 16 for cell in row[:64]) or row[64] not in range(1000):
            raise FovealError(f"{file}, line {number}: is not 64 numbers 0 … 16 and a class", "mend or delete the line")
        rows.append(row)
    if not rows:
        raise FovealError(f"{file}: holds no image", "take the file away, or download it again")
    return np.array(rows, dtype=np.int64)
