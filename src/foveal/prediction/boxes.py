"""What a detector sees in pictures: boxes with a class and a score each, in the picture's own pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from foveal.data import drawing
from foveal.data.image import load_image
from foveal.errors import FovealError
from foveal.prediction.files import viewer
from foveal.protocols._ahead import ahead
from foveal.training.detector import Detector

_TOGETHER = 16  # pictures that are decoded and looked at together
_View = tuple[Tensor, tuple[int, int]]  # the prepared picture, the original's height and width


@dataclass(frozen=True)
class BoxPrediction:
    """The objects found on one file, best first, or the reason why it could not be read.

    `boxes` float32 [K, 4] (x1, y1, x2, y2 in pixels of the picture), `scores` float32 [K] falling, in 0 … 1, `labels`
    int64 [K]: places in `classes`; `size`: the picture's width and height.
    """

    file: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    error: str | None = None

    def drawn(self) -> Image.Image:
        """The picture, read again, with the boxes in the colours of their classes, the best on top.

        Raises FovealError for a picture that could not be read.
        """
        if self.error is not None:
            raise FovealError(f"{self.file} was not read: {self.error}", "nothing can be drawn")
        count = len(self.classes)
        rows = zip(self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), strict=True)
        marks = [
            (box, drawing.class_colour(label, count), f"{self.classes[label]} {score:.2f}")
            for box, score, label in rows
        ]
        return drawing.boxed(load_image(self.file, mode=None), marks[::-1])

    def save_drawing(self, file: str | os.PathLike[str]) -> Path:
        """Write `drawn` as PNG. FovealError for another ending or a bad place."""
        place = Path(file)
        if place.suffix.lower() != ".png":
            raise FovealError(f"{file}: drawings are written as .png", "give such a name")
        drawing.save(self.drawn(), place)
        return place

    def as_json(self) -> dict[str, Any]:
        """Plain values: file, size and the boxes, or the error."""
        if self.error is not None:
            return {"file": self.file, "error": self.error}
        rows = zip(self.labels.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True)
        return {
            "file": self.file,
            "width": self.size[0],
            "height": self.size[1],
            "boxes": [{"name": self.classes[label], "score": score, "box": box} for label, score, box in rows],
        }

    def text(self) -> str:
        """One line for the terminal: how many of each class."""
        if self.error is not None:
            return f"{self.file}: not read: {self.error}"
        counts = self.labels.bincount(minlength=len(self.classes)).tolist()
        found = [f"{count} {name}" for name, count in zip(self.classes, counts, strict=True) if count]
        return f"{self.file}: {', '.join(found) or 'nothing'}"


def predict_boxes(
    detector: Detector, paths: Sequence[str], score: float = 0.5, *, strict: bool = False
) -> Iterator[BoxPrediction]:
    """One BoxPrediction per file, in order, with the boxes that score `score` or more.

    Pictures are decoded and prepared in threads; those of one size then are looked at together. With `strict` raises
    FovealError for a file that cannot be read.
    """

    def view(image: Tensor, path: str) -> _View:
        try:
            prepared = detector.prepare(image)
        except FovealError as error:
            raise FovealError(f"{path}: {error.what}", error.mend) from error
        return prepared, (image.shape[-2], image.shape[-1])

    done = 0
    for views in ahead(paths, viewer(view, strict), _TOGETHER):
        seen = [one for one in views if not isinstance(one, str)]
        found = iter(detector.located([prepared for prepared, _ in seen], [size for _, size in seen]))
        for path, one in zip(paths[done : done + len(views)], views, strict=True):
            if isinstance(one, str):
                yield BoxPrediction(path, detector.classes, (0, 0), *_NOTHING, error=one)
                continue
            parts = next(found)
            kept = parts["scores"] >= score
            boxes, scores, labels = (parts[key][kept] for key in ("boxes", "scores", "labels"))
            height, width = one[1]
            yield BoxPrediction(path, detector.classes, (width, height), boxes, scores, labels)
        done += len(views)


_NOTHING = (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
