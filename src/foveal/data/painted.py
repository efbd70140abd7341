"""Masks painted from the outlines of objects, so that what was drawn for detection serves segmentation too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torchvision import tv_tensors

from foveal.data.boxset import BoxSet
from foveal.data.masks import MaskSet
from foveal.data.outlines import rasterised
from foveal.errors import FovealError
from foveal.types import IGNORED

BACKGROUND = "background"


class PaintedSet(MaskSet):
    """The images of a BoxSet with the class of each pixel: class 0 is the background, the others follow in order.

    Objects are painted from the largest to the smallest, so that what lies on another shows. Crowds have no class.
    Raises FovealError, naming the image and the object, for one that has a box and no outline.
    """

    def __init__(self, objects: BoxSet) -> None:
        if BACKGROUND in objects.classes:
            raise FovealError(f"a class is called '{BACKGROUND}', which is what no object covers", "rename the class")
        super().__init__(objects.paths, objects.paths, (BACKGROUND, *objects.classes), objects.split)
        self.objects = objects
        objects.check_outlines("train a detector on these data")

    def target(self, i: int) -> tv_tensors.Mask:
        """The mask of image i, uint8 [H, W]."""
        found = self.objects.objects[i]
        width, height = self.objects.sizes[i]
        mask = torch.zeros(height, width, dtype=torch.uint8)
        for n in found.area.argsort(descending=True, stable=True).tolist():
            inside = rasterised(found.outlines[n], found.boxes[n], height, width)
            mask[inside] = IGNORED if bool(found.crowd[n]) else int(found.labels[n]) + 1
        return tv_tensors.Mask(mask)

    def size(self, i: int) -> tuple[int, int] | None:
        """Height and width as annotated."""
        width, height = self.objects.sizes[i]
        return height, width

    def verify(self, i: int) -> str | None:
        """Why the image cannot be read, or None. Raises FovealError when its size is not as annotated."""
        return self.objects.verify(i)

    def select(self, indices: Sequence[int] | Tensor, split: str | None = None) -> Self:
        """The images at `indices` with their outlines."""
        return type(self)(self.objects.select(indices, split))

    def signature(self) -> bytes:
        """A digest of all objects."""
        return self.objects.signature()
