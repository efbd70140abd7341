"""CIFAR-10 and CIFAR-100, 32 × 32 colour: the binary and the Python version.

Binary: records of the label (one byte; CIFAR-100: coarse label, fine label) and 3,072 bytes, red, green and blue planes
row by row, with the class names in a text file. Python: pickled dictionaries of the same, read without executing them.
CIFAR-100 opens with its 100 fine labels. (A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foveal.data.dataset import ArraySet, ImageSet
from foveal.data.formats._common import SPLITS, check_split, photo_samples, read_lines, stacked, write_classes
from foveal.data.formats._pickle import read_pickle
from foveal.errors import FovealError

_PIXELS = 3 * 32 * 32
_RECORDS = 10_000  # a file of the binary version


@dataclass(frozen=True)
class _Layout:
    """How one of the four versions calls its files, by split, and its labels."""

    folder: str
    files: Mapping[str, str]  # split → pattern
    names: str  # file with the class names
    key: str = ""  # Python versions: the labels' key
    names_key: str = ""
    label_bytes: int = 1  # binary versions: the last of them counts


_LAYOUTS = (
    _Layout(
        "cifar-10-batches-bin",
        {"train": "data_batch_*.bin", "val": "val_batch.bin", "test": "test_batch.bin"},
        "batches.meta.txt",
    ),
    _Layout("cifar-100-binary", {"train": "train.bin", "test": "test.bin"}, "fine_label_names.txt", label_bytes=2),
    _Layout(
        "cifar-10-batches-py",
        {"train": "data_batch_[0-9]", "test": "test_batch"},
        "batches.meta",
        key="labels",
        names_key="label_names",
    ),
    _Layout(
        "cifar-100-python",
        {"train": "train", "test": "test"},
        "meta",
        key="fine_labels",
        names_key="fine_label_names",
    ),
)


def sniff(root: Path) -> bool:
    """A folder that holds (or whose usual subfolder holds) the class names and a batch of one of the four versions."""
    return _layout(root) is not None


def splits(root: Path) -> tuple[str, ...]:
    """The splits whose batches are there."""
    found = _layout(root)
    if found is None:
        return ()
    folder, layout = found
    return tuple(split for split in SPLITS if _files(folder, layout, split))


def open(root: Path, split: str, *, seed: int = 0) -> ArraySet:
    """Images uint8 [N, 3, 32, 32]; `seed` is not used: the files say the split. FovealError naming the damaged file."""
    found = _layout(root)
    if found is None:
        raise FovealError(f"{root} holds no CIFAR files", "a folder such as cifar-10-batches-bin is wanted")
    folder, layout = found
    check_split(root, split, splits(root))
    read = _read_python if layout.key else _read_binary
    parts = [read(file, layout) for file in _files(folder, layout, split)]
    images = np.concatenate([part[0] for part in parts])
    labels = np.concatenate([part[1] for part in parts])
    return ArraySet(
        torch.from_numpy(images), torch.from_numpy(labels), _classes(folder, layout), split, f"{folder}/{split}"
    )


def write(sets: Mapping[str, ImageSet], root: Path) -> None:
    """Write CIFAR-10's binary version (val as val_batch.bin). FovealError unless all images are 32 × 32 colour."""
    root.mkdir(parents=True, exist_ok=True)
    for split, images in sets.items():
        if len(images.classes) > 256:
            raise FovealError(
                f"{len(images.classes)} classes: CIFAR labels are bytes, 256 at most", "choose format=csv"
            )
        pixels = stacked(images, "cifar", 3, (32, 32)).flatten(1)
        records = torch.cat([images.labels.to(torch.uint8)[:, None], pixels], dim=1).numpy()
        if split != "train":
            (root / f"{split}_batch.bin").write_bytes(records.tobytes())
        else:
            for at in range(0, len(records), _RECORDS):
                file = root / f"data_batch_{at // _RECORDS + 1}.bin"
                file.write_bytes(records[at : at + _RECORDS].tobytes())
        write_classes(root, images.classes, "batches.meta.txt")


def example(root: Path) -> None:
    """Write a few tiles of two real photographs as CIFAR-10's binary version."""
    write(photo_samples(), root)


def _layout(root: Path) -> tuple[Path, _Layout] | None:
    for layout in _LAYOUTS:
        for folder in (root, root / layout.folder):
            if (folder / layout.names).is_file() and any(_files(folder, layout, split) for split in layout.files):
                return folder, layout
    return None


def _files(folder: Path, layout: _Layout, split: str) -> list[Path]:
    if split not in layout.files:
        return []
    files = (file for file in folder.glob(layout.files[split]) if file.is_file())
    return sorted(files, key=lambda file: (len(file.name), file.name))  # data_batch_10 after data_batch_9


def _classes(folder: Path, layout: _Layout) -> tuple[str, ...]:
    file = folder / layout.names
    if not layout.key:
        return read_lines(file)
    names = _entry(file, read_pickle(file), layout.names_key, list)
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)


def _read_binary(file: Path, layout: _Layout) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, 3, 32, 32] and int64 [N]."""
    data = np.fromfile(file, np.uint8)
    record = layout.label_bytes + _PIXELS
    if not len(data) or len(data) % record:
        raise FovealError(
            f"{file}: {len(data):,} bytes are not a whole number of records of {record:,}", "download it again"
        )
    table = data.reshape(-1, record)
    images = table[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
    return images, table[:, layout.label_bytes - 1].astype(np.int64)


def _read_python(file: Path, layout: _Layout) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, 3, 32, 32] and int64 [N]."""
    batch = read_pickle(file)
    images = _entry(file, batch, "data", np.ndarray)
    labels = np.array(_entry(file, batch, layout.key, (list, tuple, np.ndarray)))
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != _PIXELS:
        raise FovealError(
            f"{file}: 'data' is {images.dtype} {images.shape}, not uint8 [N, {_PIXELS}]", "download it again"
        )
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise FovealError(
            f"{file}: {len(images)} images, but '{layout.key}' is not as many whole numbers", "download it again"
        )
    return np.ascontiguousarray(images).reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _entry(file: Path, batch: Any, key: str, kind: type | tuple[type, ...]) -> Any:
    value = batch.get(key) if isinstance(batch, dict) else None
    if not isinstance(value, kind):
        raise FovealError(
            f"{file}: has no '{key}'", "it is not the file of CIFAR that its name says: download it again"
        )
    return value
