"""One look at every image of a set, in threads: its size and prints, or the reason why it cannot be read.

Whatever the size of the set, only as many images are held at full size as there are threads; what stays of each is
about 1 kB.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foveal.data.boxset import BoxSet
from foveal.data.dataset import ArraySet, FileSet, ImageSet, VisionSet
from foveal.data.duplicates import Array, Prints, digest, prints, thumbnails
from foveal.data.formats import _common, csv, folder
from foveal.data.image import ImageDecodeError
from foveal.data.masks import MaskSet
from foveal.data.open import detect, root_of
from foveal.errors import FovealError

_BLOCK = 1024
UNCUT = "all"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be decoded: its place, the reason and the mend."""

    name: str
    split: str
    reason: str
    mend: str


@dataclass(frozen=True)
class Scan:
    """What was seen of N readable images, one entry each, and the `unreadable` ones.

    `names`, `splits` and `labels` (class names) are lists; `sizes` int64 [N, 3] holds width, height and channels.
    """

    names: list[str]
    splits: list[str]
    labels: list[str]
    sizes: Array
    prints: Prints
    unreadable: tuple[Unreadable, ...]


def scan(sets: Mapping[str, VisionSet], progress: Progress | None = None) -> Scan:
    """Decode all images of the sets once. `progress` is called with (images done, all images)."""
    total = sum(len(images) for images in sets.values())
    done = 0
    names: list[str] = []
    splits: list[str] = []
    labels: list[str] = []
    bad: list[Unreadable] = []
    sizes: list[tuple[int, ...]] = []
    parts: list[Prints] = []
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for split, images in sets.items():
            classes = _labels(images)
            for start in range(0, len(images), _BLOCK):
                block = range(start, min(start + _BLOCK, len(images)))
                seen: list[_Seen] = []
                for i, one in zip(block, _look(images, block, pool), strict=True):
                    if isinstance(one, ImageDecodeError):
                        bad.append(Unreadable(images.name(i), split, one.reason, one.mend))
                        continue
                    seen.append(one)
                    names.append(images.name(i))
                    splits.append(split)
                    labels.append(classes[i])
                    sizes.append(one.size)
                if seen:
                    parts.append(prints([one.digest for one in seen], torch.stack([one.small for one in seen])))
                done += len(block)
                if progress is not None:
                    progress(done, total)
    return Scan(names, splits, labels, np.array(sizes, np.int64).reshape(-1, 3), Prints.join(parts), tuple(bad))


def open_all(path: str | os.PathLike[str], seed: int = 0) -> tuple[str, dict[str, VisionSet], list[FovealError]]:
    """Every split of the set at `path`, opened in spite of its faults: the format, the sets, and what was refused.

    A set that `open_data` would refuse as a whole (a class without images in one split, say) is read file by file where
    its format is folders or a table. Raises FovealError only when there is nothing to look at.
    """
    root = root_of(path)
    found = detect(root)
    sets: dict[str, VisionSet] = {}
    refused: dict[str, FovealError] = {}
    for split in found.splits(root):
        try:
            # Formats of boxes open with their faults, which the doctor lists
            sets[split] = getattr(found, "read", found.open)(root, split, seed=seed)
        except FovealError as error:
            refused.setdefault(error.what, error)  # several splits often give the same reason
        except OSError as error:
            what = f"{error.filename or root}: {error.strerror or error}"
            raise FovealError(what, "check the path and its rights") from error
    if refused and found in (folder, csv):
        sets = dict(_from_folders(root) if found is folder else _from_table(root))
    if not any(len(images) for images in sets.values()):
        raise next(iter(refused.values()))
    return found.__name__.rpartition(".")[2], sets, list(refused.values())


@dataclass(frozen=True)
class _Seen:
    digest: bytes
    size: tuple[int, int, int]  # width, height, channels
    small: Tensor


def tally(images: VisionSet) -> Counter[str]:
    """Images of each class; of a set of boxes its objects; of a set of masks the images in which a class occurs."""
    if isinstance(images, ImageSet):
        return Counter(_labels(images))
    if isinstance(images, BoxSet):
        return Counter(
            {name: count for name, count in zip(images.classes, images.counts.tolist(), strict=True) if count}
        )
    if isinstance(images, MaskSet):
        there = (images.census[0] > 0).sum(0).tolist()
        return Counter({name: there[number] for number, name in enumerate(images.classes) if there[number]})
    raise TypeError(f"{type(images).__name__} tells no classes")


def _labels(images: VisionSet) -> list[str]:
    """The class of each image; all the same word where images have none."""
    if isinstance(images, ImageSet):
        return [images.classes[label] for label in images.labels.tolist()]
    return [""] * len(images)


def _look(images: VisionSet, block: range, pool: ThreadPoolExecutor) -> list[_Seen | ImageDecodeError]:
    if isinstance(images, ArraySet):
        pixels = images.images[block.start : block.stop]
        size = (pixels.shape[3], pixels.shape[2], pixels.shape[1])
        return [_Seen(digest(image), size, small) for image, small in zip(pixels, thumbnails(pixels), strict=True)]

    def one(i: int) -> _Seen | ImageDecodeError:
        try:
            image = images.load(i)
        except ImageDecodeError as error:
            return error
        except FovealError as error:  # an image that is not of its annotation's size
            return ImageDecodeError(images.name(i), error.what, error.mend)
        return _Seen(digest(image), (image.shape[2], image.shape[1], image.shape[0]), thumbnails(image[None])[0])

    return list(pool.map(one, block))


def _from_folders(root: Path) -> Mapping[str, ImageSet]:
    """The splits of class folders, empty and unmatched ones included; one split "all" where the set is to be cut."""
    places = folder._split_folders(root) or {UNCUT: root}
    classes = sorted({name for place in places.values() for name in folder._folders(place)})
    sets: dict[str, ImageSet] = {}
    for split, place in places.items():
        paths: list[str] = []
        labels: list[int] = []
        ignored = 0
        for name, below in folder._folders(place).items():
            pictures, others = _common.pictures_in(below)
            paths += pictures
            labels += [classes.index(name)] * len(pictures)
            ignored += others
        sets[split] = FileSet(paths, torch.tensor(labels, dtype=torch.int64), classes, split, ignored)
    return sets


def _from_table(root: Path) -> Mapping[str, ImageSet]:
    """The splits of a table; one split "all" where the set is to be cut. FovealError for a row that is no good."""
    rows = csv._read(csv._needed(root))
    classes = sorted({row.label for row in rows})
    number = {name: i for i, name in enumerate(classes)}
    sets: dict[str, ImageSet] = {}
    for split in ("", *_common.SPLITS):
        here = [row for row in rows if row.split == split]
        if here:
            labels = torch.tensor([number[row.label] for row in here], dtype=torch.int64)
            sets[split or UNCUT] = FileSet([row.path for row in here], labels, classes, split or UNCUT)
    return sets
