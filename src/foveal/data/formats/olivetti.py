"""The Olivetti faces as scikit-learn keeps them: olivetti_py3.pkz, 400 pictures of 64 × 64 grey, ten of each person.

`sklearn.datasets.fetch_olivetti_faces` leaves the file in its data folder: one array [N, 4096], compressed, in a
pickle. The pickle is not run: its header is read for what the array is, and the array is what stands at the end. Pixels
lie column by column, the people one after the other. (F. Samaria, A. Harter: Parameterisation of a Stochastic Model for
Human Face Identification, 1994)
"""

from __future__ import annotations

import math
import pickletools
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.data.dataset import ArraySet, ImageSet
from foveal.data.formats._common import SPLITS, check_split, cut, stacked
from foveal.errors import FovealError

_FILES = ("olivetti_py3.pkz", "olivetti.pkz")
_SIDE, _EACH = 64, 10
_MOST_BYTES = 1 << 26  # the 400 faces have 1.6 MB as bytes, 13 as float64
_HEADER = 4096  # bytes within which the array is described


def sniff(root: Path) -> bool:
    """A folder that holds scikit-learn's file, or the file itself."""
    return _file(root) is not None


def splits(root: Path) -> tuple[str, ...]:
    """The file has no splits: each person's ten are cut 7 / 1 / 2 by seed."""
    return SPLITS if sniff(root) else ()


def open(root: Path, split: str, *, seed: int = 0) -> ArraySet:
    """Images uint8 [N, 1, 64, 64], people "s1", "s2", …; FovealError where the file is damaged or holds others."""
    check_split(root, split, splits(root))
    file = _file(root)
    assert file is not None  # check_split has seen it
    faces = torch.from_numpy(_read(file)).reshape(-1, 1, _SIDE, _SIDE).transpose(2, 3).contiguous()
    labels, classes = _people(len(faces))
    index = cut(file, labels, classes, split, seed)
    return ArraySet(faces[index], labels[index], classes, split, str(file), numbers=index)


def write(sets: Mapping[str, ImageSet], root: Path) -> None:
    """Write olivetti_py3.pkz. FovealError unless all are 64 × 64 grey, ten of each class, in the splits of seed 0."""
    import joblib  # what scikit-learn writes it with

    counts = sum(len(images) for images in sets.values())
    labels, classes = _people(counts)
    faces = torch.empty(counts, 1, _SIDE, _SIDE, dtype=torch.uint8)
    for split, images in sets.items():
        fits = counts % _EACH == 0 and len(images.classes) == len(classes) and set(sets) == set(SPLITS)
        index = cut(root, labels, classes, split, 0) if fits else labels[:0]
        if not torch.equal(images.labels, labels[index]):
            raise FovealError(
                f"{split}: {len(images)} images of {len(images.classes)} classes, but olivetti holds ten of each, "
                "7 in train, 1 in val and 2 in test",
                "choose format=folder or format=csv, which hold any picture",
            )
        faces[index] = stacked(images, "olivetti", 1, (_SIDE, _SIDE))
    root.mkdir(parents=True, exist_ok=True)
    joblib.dump(faces.transpose(2, 3).reshape(counts, -1).numpy(), root / _FILES[0], compress=6)


def example(root: Path) -> None:
    """Write thirty tiles of two real photographs, as three people."""
    from sklearn.datasets import load_sample_images  # takes a second to import

    photos = [torch.from_numpy(photo.copy()).float().mean(2).to(torch.uint8) for photo in load_sample_images().images]
    corners = [(photo, 64 * row, 64 * column) for photo in photos for row in range(3) for column in range(5)]
    tiles = torch.stack([photo[y : y + _SIDE, x : x + _SIDE] for photo, y, x in corners])[:, None]
    labels, classes = _people(len(tiles))
    sets = {}
    for split in SPLITS:
        index = cut(root, labels, classes, split, 0)
        sets[split] = ArraySet(tiles[index], labels[index], classes, split, "sample")
    write(sets, root)


def _people(count: int) -> tuple[Tensor, tuple[str, ...]]:
    people = count // _EACH
    return torch.arange(people).repeat_interleave(_EACH), tuple(f"s{number}" for number in range(1, people + 1))


def _file(root: Path) -> Path | None:
    candidates = [root, *(root / name for name in _FILES)]
    return next((file for file in candidates if file.name in _FILES and file.is_file()), None)


def _read(file: Path) -> np.ndarray:
    """uint8 [N, 4096], N a multiple of ten."""
    mend = "delete it and have scikit-learn's fetch_olivetti_faces bring it again"
    damaged = FovealError(f"{file} is damaged, or no array of faces", mend)
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(file.read_bytes(), _MOST_BYTES)
    except zlib.error as error:
        raise damaged from error
    shape, order, kind = _described(data[:_HEADER])
    count = math.prod(shape) * np.dtype(kind or "u1").itemsize
    whole = unpacker.eof and not unpacker.unused_data and data.endswith(b".")
    fits = len(shape) == 2 and shape[1] == _SIDE**2 and shape[0] % _EACH == 0 and 0 < len(data) - count < _HEADER
    if not (whole and fits and kind and order == "C"):
        raise damaged
    faces = np.frombuffer(data[-1 - count : -1], dtype=kind).reshape(shape)
    pixels = faces.astype(np.uint8) if np.isfinite(faces).all() and 0 <= faces.min() <= faces.max() <= 255 else None
    if pixels is None or not np.array_equal(pixels, faces):
        raise FovealError(f"{file} holds other numbers than whole ones from 0 to 255", mend)
    return pixels


def _described(header: bytes) -> tuple[tuple[int, ...], str, str]:
    """Shape, order and dtype (u1, f4 or f8) of the array that a pickle of joblib's begins with; () "" "" for others.

    The opcodes are listed, none is followed.
    """
    words: list[Any] = []
    built = 0  # first the dtype, then what joblib describes the array with
    try:
        for opcode, argument, _ in pickletools.genops(header):
            if argument is not None:
                words.append(argument)
            built += opcode.name == "BUILD"
            if built == 2:
                break
        after = words.index("shape")
        shape = [word for word in words[after + 1 : words.index("order")] if isinstance(word, int)][:2]
        order = next(word for word in words[words.index("order") + 1 :] if isinstance(word, str))
        kind = next((word for word in words if word in ("u1", "f4", "f8")), "")
    except (ValueError, StopIteration, UnicodeDecodeError):
        return (), "", ""  # no such pickle: the caller says which file
    return tuple(shape), order, kind
