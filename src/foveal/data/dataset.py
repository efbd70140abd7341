"""Sets of images: what all have in common (`VisionSet`), those whose targets stay as they are however the image is cut
(`LabelledSet`), and those with a class each, in memory or in files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from foveal.data.image import load_image, verify
from foveal.errors import FovealError, unknown


class VisionSet(Dataset[tuple[tv_tensors.Image, Any]], ABC):
    """Images and what is to be told of them, as torchvision's v2 datasets: `set[i]` is (uint8 image [C, H, W], target).

    `task` names the kind of target: a class number ("classify"), which classes there are ("tag"), a mask ("segment"),
    boxes ("detect"); `classes` are the names that its numbers stand for; `split` is "train", "val" or "test". Images
    may differ in size, and in channels too (1 for grey, 3 for colour): a set gives what the file holds, the pipeline
    conforms it.
    """

    task: ClassVar[str]

    def __init__(self, classes: Sequence[str], split: str) -> None:
        self.classes = tuple(classes)
        self.split = split
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise FovealError(f"two classes are called '{twice}'", "give each class a name of its own")

    def __getitem__(self, i: int) -> tuple[tv_tensors.Image, Any]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        return tv_tensors.Image(self.load(i)), self.target(i)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, i: int, min_side: int | None = None) -> Tensor:
        """Image i as uint8 [C, H, W]. A large one may come smaller, but no side below `min_side` pixels."""

    @abstractmethod
    def target(self, i: int) -> Any:
        """What is to be told of image i, in the pixels of its full size."""

    @abstractmethod
    def name(self, i: int) -> str:
        """Where image i comes from, for messages."""

    @abstractmethod
    def select(self, indices: Sequence[int] | Tensor, split: str | None = None) -> Self:
        """The images at `indices`, in that order, with all classes kept; `split` renames the split."""

    @abstractmethod
    def verify(self, i: int) -> str | None:
        """Why image i cannot be read, or None. Raises FovealError for a target that is wrong."""

    @property
    @abstractmethod
    def strata(self) -> Tensor:
        """int64 [N]: images of one number are spread evenly when the set is cut."""

    @abstractmethod
    def signature(self) -> bytes:
        """What of all targets decides whether two sets are the same, without decoding an image."""


class LabelledSet(VisionSet):
    """Images with a row of `labels` each, a tensor [N, …] that no transform of the image changes."""

    def __init__(self, labels: Tensor, classes: Sequence[str], split: str) -> None:
        super().__init__(classes, split)
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def signature(self) -> bytes:
        """The labels."""
        return self.labels.numpy().tobytes()


class ImageSet(LabelledSet):
    """Images with one class each: `labels` is an int64 tensor [N] of indices into `classes`."""

    task: ClassVar[str] = "classify"

    def __init__(self, labels: Tensor, classes: Sequence[str], split: str) -> None:
        super().__init__(labels.to(torch.int64), classes, split)
        if self.labels.ndim != 1:
            raise ValueError(f"labels must be one number an image, not of shape {tuple(labels.shape)}")

    def _check_labels(self) -> None:
        """Raise FovealError that names the first image whose label is no class; called at the end of `__init__`."""
        wrong = ((self.labels < 0) | (self.labels >= len(self.classes))).nonzero()
        if len(wrong):
            i = int(wrong[0])
            raise FovealError(
                f"{self.name(i)}: label {int(self.labels[i])}, but there are {len(self.classes)} classes",
                f"labels go from 0 to {len(self.classes) - 1}",
            )

    def target(self, i: int) -> int:
        """The class number of image i."""
        return int(self.labels[i])

    @property
    def strata(self) -> Tensor:
        """The labels: every part of a cut has its share of each class."""
        return self.labels


class ArraySet(ImageSet):
    """Images of one size, all in memory: `images` uint8 [N, C, H, W]. `source` says where they were read."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        classes: Sequence[str],
        split: str,
        source: str = "memory",
        *,
        numbers: Tensor | None = None,
    ) -> None:
        super().__init__(labels, classes, split)
        if images.ndim != 4 or images.dtype != torch.uint8:
            raise ValueError(f"images must be uint8 [N, C, H, W], not {images.dtype} {tuple(images.shape)}")
        if len(images) != len(self.labels):
            raise FovealError(f"{source}: {len(images)} images, but {len(self.labels)} labels")
        self.images = images
        self.source = source
        self._numbers = torch.arange(len(images)) if numbers is None else numbers  # positions in the source
        self._check_labels()

    def load(self, i: int, min_side: int | None = None) -> Tensor:
        """Image i as uint8 [C, H, W], always at its own size."""
        return self.images[i]

    def verify(self, i: int) -> str | None:
        """None: it is in memory."""
        return None

    def name(self, i: int) -> str:
        """The source and the image's position in it, as `mnist/train[17]`."""
        return f"{self.source}[{int(self._numbers[i])}]"

    def select(self, indices: Sequence[int] | Tensor, split: str | None = None) -> Self:
        """The images at `indices` (a copy); they keep their names."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        return type(self)(
            self.images[index],
            self.labels[index],
            self.classes,
            split or self.split,
            self.source,
            numbers=self._numbers[index],
        )


class FileSet(ImageSet):
    """Images in files, decoded when asked for: `paths` are str. `ignored` counts other files met beside them."""

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        labels: Tensor,
        classes: Sequence[str],
        split: str,
        ignored: int = 0,
    ) -> None:
        super().__init__(labels, classes, split)
        if len(paths) != len(self.labels):
            raise ValueError(f"{len(paths)} files, but {len(self.labels)} labels")
        self.paths = tuple(os.fspath(path) for path in paths)
        self.ignored = ignored
        self._check_labels()

    def load(self, i: int, min_side: int | None = None) -> Tensor:
        """Image i as uint8 [C, H, W], C = 1 for grey files; `min_side` lets a large JPEG be decoded at a fraction.

        Raises ImageDecodeError.
        """
        return load_image(self.paths[i], mode=None, min_side=min_side)

    def verify(self, i: int) -> str | None:
        """Why the file cannot be read, or None."""
        return verify(self.paths[i])

    def name(self, i: int) -> str:
        """The file's path."""
        return self.paths[i]

    def select(self, indices: Sequence[int] | Tensor, split: str | None = None) -> Self:
        """The files at `indices`."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        paths = [self.paths[i] for i in index.tolist()]
        return type(self)(paths, self.labels[index], self.classes, split or self.split, self.ignored)


def only(images: ImageSet, classes: Sequence[str]) -> ImageSet:
    """The images of some classes, numbered in the order given. FovealError for a class that the set does not have."""
    for name in classes:
        if name not in images.classes:
            raise unknown("class", name, images.classes)
    numbers = torch.full((len(images.classes),), -1)
    numbers[[images.classes.index(name) for name in classes]] = torch.arange(len(classes))
    kept = images.select((numbers[images.labels] >= 0).nonzero().flatten())
    kept.labels, kept.classes = numbers[kept.labels], tuple(classes)
    return kept


def stratified(labels: Tensor, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Cut 0 … N-1 into (rest, part), both int64 and ascending, `part` holding about `fraction` of each class.

    Every class of two images or more is in both; a class of one stays in `rest`. Same labels, same seed, same cut.
    """
    if not 0 < fraction < 1:
        raise FovealError(f"a share of {fraction} cannot be split off", "shares lie between 0 and 1")
    random = np.random.RandomState(seed)  # NumPy promises never to change this stream; that of Generator may change
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):  # ascending
        members = (labels == label).nonzero().flatten()
        count = len(members)
        part = min(max(round(count * fraction), 1), count - 1)
        chosen[members[torch.from_numpy(random.permutation(count)[:part])]] = True
    return (~chosen).nonzero().flatten(), chosen.nonzero().flatten()
