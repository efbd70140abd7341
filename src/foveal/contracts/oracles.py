"""Recognisers that are always right or always wrong, and the sets they know: what protocols are examined with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from foveal.contracts.report import Violation
from foveal.data.dataset import ArraySet

CLASSES, COUNT, SIDE = 10, 37, 8  # more classes than five, and a count that no batch size divides
_STEP = 25  # grey levels from class to class


class Oracle:
    """A recogniser that reads an image's class off its grey level: always right, or always wrong.

    Flips, crops and changes of size do not touch a uniform grey, so that every protocol of classification can be asked.
    It can do whatever a predictor of `foveal.types` can: be slid over larger images, and answer at three exits.
    """

    input = (1, SIDE, SIDE)
    classes = tuple(f"class {i}" for i in range(CLASSES))
    sides = (SIDE, SIDE)
    costs = (1, 2, 4)

    def __init__(self, right: bool) -> None:
        self.right = right

    @staticmethod
    def prepare(image: Tensor) -> Tensor:
        """The image as it is."""
        return image

    def __call__(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.ndim != 4 or tuple(images.shape[1:]) != self.input:
            raise Violation(f"the network is given {images.dtype} {list(images.shape)}, not uint8 [B, 1, 8, 8]")
        return torch.softmax(self._scores(images), dim=1)

    @staticmethod
    def scaled(image: Tensor, side: int) -> Tensor:
        """The same grey at another size."""
        return image[:, :1, :1].expand(-1, side, side).contiguous()

    def maps(self, images: Tensor, *, offsets: bool = False) -> Tensor:
        """The same scores at each place where the input fits."""
        height, width = images.shape[2] - SIDE + 1, images.shape[3] - SIDE + 1
        if images.dtype != torch.uint8 or images.shape[1] != 1 or min(height, width) < 1:
            raise Violation(f"the network slides over {images.dtype} {list(images.shape)}, not uint8 [B, 1, ≥8, ≥8]")
        return self._scores(images)[:, :, None, None].expand(-1, -1, height, width)

    def exits(self, images: Tensor) -> Tensor:
        """The same probabilities at three exits."""
        return self(images).expand(len(self.costs), -1, -1)

    def _scores(self, images: Tensor) -> Tensor:
        shown = (images.float().mean((1, 2, 3)) / _STEP).round().long()
        distance = (torch.arange(CLASSES) - shown[:, None]) % CLASSES
        return (-distance if self.right else distance).float()  # the true class first, or last behind all others


class TagOracle(Oracle):
    """A tagger that knows an image's class and the next one, or gives these two the lowest scores."""

    def __call__(self, images: Tensor) -> Tensor:
        own = Oracle(True)(images)
        both = own + own.roll(1, 1)
        return both if self.right else -both


class MaskOracle:
    """A segmenter that reads the class of every pixel off its grey level, or says another for each."""

    classes = Oracle.classes

    def __init__(self, right: bool) -> None:
        self.shift = 0 if right else 1

    def labels(self, image: Tensor) -> Tensor:
        """uint8 [H, W]."""
        if image.dtype != torch.uint8 or image.ndim != 3:
            raise Violation(f"the network is given {image.dtype} {list(image.shape)}, not uint8 [C, H, W]")
        shown = (image.float().mean(0) / _STEP).round().long()
        return ((shown + self.shift) % CLASSES).to(torch.uint8)

    def probabilities(self, image: Tensor) -> Tensor:
        """All of it for that class: float32 [classes, H, W]."""
        return torch.nn.functional.one_hot(self.labels(image).long(), CLASSES).movedim(-1, 0).float()


class BoxOracle:
    """A detector that knows an image's object by its grey level, or sees another one beside it."""

    classes = Oracle.classes

    def __init__(self, right: bool) -> None:
        self.right = right

    @staticmethod
    def prepare(image: Tensor) -> Tensor:
        """The image as it is."""
        return image

    def located(self, prepared: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """One box an image."""
        found = []
        for image, size in zip(prepared, sizes, strict=True):
            if image.dtype != torch.uint8 or tuple(image.shape[1:]) != size:
                raise Violation(f"the network is given {image.dtype} {list(image.shape)} for an image of {size}")
            label = round(float(image.float().mean()) / _STEP)
            boxes = _box(label) if self.right else _box(label) + SIDE
            labels = torch.tensor([label if self.right else (label + 1) % CLASSES])
            found.append({"boxes": boxes, "scores": torch.tensor([0.9]), "labels": labels})
        return found


class Scenes:
    """Images with their targets, as a protocol reads them."""

    def __init__(self, pairs: Sequence[tuple[Tensor, Any]]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> tuple[Tensor, Any]:
        return self.pairs[i]

    def name(self, i: int) -> str:
        """Its place."""
        return f"image {i}"


def _grey(labels: Tensor) -> Tensor:
    return (labels * _STEP).to(torch.uint8)[:, None, None, None].expand(-1, *Oracle.input).contiguous()


def _box(label: int) -> Tensor:
    return torch.tensor([[0.0, 0.0, 3.0 + label % 4, 4.0]])


def _tags(labels: Tensor) -> Scenes:
    """A class and its next in each."""
    rows = torch.zeros(len(labels), CLASSES, dtype=torch.uint8)
    rows.scatter_(1, torch.stack([labels, (labels + 1) % CLASSES], 1), 1)
    return Scenes(list(zip(_grey(labels), rows, strict=True)))


def _masks(labels: Tensor) -> Scenes:
    """Two halves each, of a class and its next."""
    masks = torch.stack([labels, (labels + 1) % CLASSES], 1).repeat_interleave(SIDE // 2, 1)  # [N, W]
    masks = masks[:, None].expand(-1, SIDE, -1).to(torch.uint8)
    return Scenes([((mask * _STEP).expand(3, -1, -1).contiguous(), mask) for mask in masks])


def _objects(labels: Tensor) -> Scenes:
    targets = [{"boxes": _box(int(label)), "labels": label[None]} for label in labels]
    return Scenes(list(zip(_grey(labels), targets, strict=True)))


ORACLES: dict[str, tuple[Callable[[bool], Any], Callable[[Tensor], Any]]] = {
    "classify": (Oracle, lambda labels: ArraySet(_grey(labels), labels, Oracle.classes, "test", "oracle")),
    "tag": (TagOracle, _tags),
    "segment": (MaskOracle, _masks),
    "detect": (BoxOracle, _objects),
}
"""Of each task the recogniser and, from class numbers int64 [N], the set it knows."""
