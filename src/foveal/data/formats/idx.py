"""The idx files of MNIST, Fashion-MNIST and their kin, plain or gzipped.

`train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and `t10k-…` for test, in the folder or in its subfolder `raw`.
An idx file is: two zero bytes, 8 for unsigned bytes, the number of dimensions, each size as a big-endian 32-bit number,
the data (Y. LeCun, C. Cortes, C. Burges: The MNIST database, 1998). The files hold no class names: classes are called
"0", "1", … unless a `classes.txt` beside them gives a name a line (T-shirt/top, Trouser, …).
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from foveal.data.dataset import ArraySet, ImageSet
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

_PREFIXES = {"train": ("train",), "val": ("val",), "test": ("t10k", "test")}
_MAX_RATIO = 1032  # no gzip file holds more than this many bytes in one


def sniff(root: Path) -> bool:
    """A folder that holds the images of at least one split."""
    return bool(splits(root))


def splits(root: Path) -> tuple[str, ...]:
    """The splits whose images are there."""
    return tuple(split for split in SPLITS if _find(root, split, "images") is not None)


def open(root: Path, split: str, *, seed: int = 0) -> ArraySet:
    """Images uint8 [N, 1, H, W]; `seed` is not used: the files say the split. FovealError naming the damaged file."""
    present = splits(root)
    check_split(root, split, present)
    labels = {name: _labels(root, name) for name in present}
    file = _needed(root, split, "images")
    classes = read_classes(file.parent)
    if classes is None:
        classes = tuple(str(label) for label in range(max(int(part.max()) for part in labels.values()) + 1))
    check_presence(root, {name: named(classes, part) for name, part in labels.items()})
    images = _read(file, 3)
    if len(images) != len(labels[split]):
        raise FovealError(
            f"{file}: {len(images)} images, but {len(labels[split])} labels in {_needed(root, split, 'labels').name}",
            "the two files do not belong together: download both again",
        )
    return ArraySet(torch.from_numpy(images)[:, None], torch.from_numpy(labels[split]), classes, split, str(file))


def write(sets: Mapping[str, ImageSet], root: Path) -> None:
    """Write the gzipped idx pair of each split, and classes.txt. FovealError unless all are grey and of one size."""
    root.mkdir(parents=True, exist_ok=True)
    for split, images in sets.items():
        if len(images.classes) > 256:
            raise FovealError(f"{len(images.classes)} classes: idx labels are bytes, 256 at most", "choose format=csv")
        pixels = stacked(images, "idx", 1)[:, 0].numpy()
        prefix = _PREFIXES[split][0]
        _write(root / f"{prefix}-images-idx3-ubyte.gz", pixels)
        _write(root / f"{prefix}-labels-idx1-ubyte.gz", images.labels.to(torch.uint8).numpy())
        write_classes(root, images.classes)


def example(root: Path) -> None:
    """Write a few real digits as gzipped idx files."""
    write(digit_samples(), root)


def _find(root: Path, split: str, what: str) -> Path | None:
    dimensions = 3 if what == "images" else 1
    for folder in (root, root / "raw"):
        for prefix in _PREFIXES[split]:
            for joint in "-.":
                for suffix in ("", ".gz"):
                    file = folder / f"{prefix}-{what}{joint}idx{dimensions}-ubyte{suffix}"
                    if file.is_file():
                        return file
    return None


def _needed(root: Path, split: str, what: str) -> Path:
    file = _find(root, split, what)
    if file is None:
        wanted = f"{_PREFIXES[split][0]}-{what}-idx{3 if what == 'images' else 1}-ubyte[.gz]"
        raise FovealError(f"{root}: {wanted} is missing", "images and labels come in pairs: download it too")
    return file


def _labels(root: Path, split: str) -> np.ndarray:
    """int64 [N]."""
    file = _needed(root, split, "labels")
    labels = _read(file, 1)
    if not len(labels):
        raise FovealError(f"{file}: holds no label", "download it again")
    return labels.astype(np.int64)


def _read(file: Path, dimensions: int) -> np.ndarray:
    """The array of an idx file, uint8, writable. No more is unpacked than the header announces."""
    again = "download it again"
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            head = stream.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
                raise FovealError(f"{file}: is no idx file of {dimensions} dimensions of bytes", again)
            shape = tuple(int(size) for size in np.frombuffer(head, ">u4", offset=4))
            size = math.prod(shape)
            if size > file.stat().st_size * _MAX_RATIO:
                raise FovealError(f"{file}: is too short for the {size:,} bytes that its header announces", again)
            data = bytearray(stream.read(size))
            if len(data) < size or stream.read(1):
                many = "fewer" if len(data) < size else "more"
                raise FovealError(f"{file}: holds {many} than the {size:,} bytes that its header announces", again)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FovealError(f"{file}: is damaged ({error})", again) from error
    return np.frombuffer(data, np.uint8).reshape(shape)


def _write(file: Path, array: np.ndarray) -> None:
    head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    file.write_bytes(gzip.compress(head + array.tobytes(), compresslevel=6, mtime=0))  # same set, same bytes
