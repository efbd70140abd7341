"""Images with any number of classes each: which of them are there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from foveal.data.boxset import BoxSet
from foveal.data.dataset import LabelledSet
from foveal.data.image import load_image, verify
from foveal.types import IGNORED


class TagSet(LabelledSet):
    """Images in files with a row each of `labels`, uint8 [N, classes]: 1 where the class is there, 0 where it is not,
    `IGNORED` (255) where it does not count."""

    task: ClassVar[str] = "tag"

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]], labels: Tensor, classes: Sequence[str], split: str
    ) -> None:
        super().__init__(labels, classes, split)
        if labels.dtype != torch.uint8 or labels.shape != (len(paths), len(self.classes)):
            raise ValueError(f"labels must be uint8 [{len(paths)}, {len(self.classes)}], not {list(labels.shape)}")
        self.paths = tuple(os.fspath(path) for path in paths)

    def load(self, i: int, min_side: int | None = None) -> Tensor:
        """Image i as uint8 [C, H, W]. Raises ImageDecodeError."""
        return load_image(self.paths[i], mode=None, min_side=min_side)

    def target(self, i: int) -> Tensor:
        """The classes of image i: uint8 [classes]."""
        return self.labels[i]

    def verify(self, i: int) -> str | None:
        """Why the file cannot be read, or None."""
        return verify(self.paths[i])

    def name(self, i: int) -> str:
        """The file's path."""
        return self.paths[i]

    def select(self, indices: Sequence[int] | Tensor, split: str | None = None) -> Self:
        """The files at `indices`."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        return type(self)(
            [self.paths[i] for i in index.tolist()], self.labels[index], self.classes, split or self.split
        )

    @property
    def strata(self) -> Tensor:
        """Zeros: a cut is random."""
        return torch.zeros(len(self), dtype=torch.int64)


def tags_of(images: BoxSet) -> TagSet:
    """The classes that occur among each image's objects, by the rule of PASCAL VOC's classification challenge: a class
    all of whose objects are difficult, or a crowd, does not count (M. Everingham et al., «The PASCAL Visual Object
    Classes challenge», IJCV 2010, section 3)."""
    labels = torch.zeros(len(images), len(images.classes), dtype=torch.uint8)
    for row, found in zip(labels, images.objects, strict=True):
        hard = found.difficult | found.crowd
        row[found.labels[hard]] = IGNORED
        row[found.labels[~hard]] = 1
    return TagSet(images.paths, labels, images.classes, images.split)
