"""What a detector sees in pictures: boxes with a class and a score, masks or keypoints, in the picture's own pixels."""

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
from foveal.data.outlines import Runs
from foveal.data.pose import Pose
from foveal.errors import FovealError
from foveal.metrics.boxes import Found
from foveal.prediction.files import viewer
from foveal.protocols._ahead import ahead
from foveal.training.detector import Detector

_TOGETHER = 16  # pictures that are decoded and looked at together
_SURE = 0.05  # how probable a keypoint's place is that is drawn
_View = tuple[Tensor, tuple[int, int]]  # the prepared picture, the original's height and width


@dataclass(frozen=True)
class BoxPrediction:
    """The objects found on one file, best first, or the reason why it could not be read.

    `boxes` float32 [K, 4] (x1, y1, x2, y2 in pixels of the picture), `scores` float32 [K] falling, in 0 … 1, `labels`
    int64 [K]: places in `classes`; `size`: the picture's width and height. Of a network that finds them, K `masks` as
    run lengths (`.mask()` is bool [H, W]), or keypoints float32 [K, J, 3] (x, y in pixels, how probable that place is)
    and the `pose` that names them.
    """

    file: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    error: str | None = None
    masks: tuple[Runs, ...] | None = None
    keypoints: Tensor | None = None
    pose: Pose | None = None

    def drawn(self) -> Image.Image:
        """The picture, read again, with the boxes in the colours of their classes, the best on top; masks as a tint,
        keypoints of a probability of 0.05 and more with the lines that join them.

        Raises FovealError for a picture that could not be read.
        """
        if self.error is not None:
            raise FovealError(f"{self.file} was not read: {self.error}", "nothing can be drawn")
        colours = [drawing.class_colour(label, len(self.classes)) for label in self.labels.tolist()]
        words = [
            f"{self.classes[label]} {score:.2f}"
            for label, score in zip(self.labels.tolist(), self.scores.tolist(), strict=True)
        ]
        image = load_image(self.file, mode=None)
        if self.masks is not None:
            image = drawing.tinted(
                image, [(mask.mask(), colour) for mask, colour in zip(self.masks, colours, strict=True)][::-1]
            )
        picture = drawing.boxed(image, list(zip(self.boxes.tolist(), colours, words, strict=True))[::-1])
        if self.keypoints is None:
            return picture
        poses = list(zip(self.keypoints, colours, strict=True))[::-1]
        return drawing.posed(picture, poses, self.pose.edges if self.pose else (), _SURE)

    def save_drawing(self, file: str | os.PathLike[str]) -> Path:
        """Write `drawn` as PNG. FovealError for another ending or a bad place."""
        place = Path(file)
        if place.suffix.lower() != ".png":
            raise FovealError(f"{file}: drawings are written as .png", "give such a name")
        drawing.save(self.drawn(), place)
        return place

    def as_json(self) -> dict[str, Any]:
        """Plain values: file, size and the boxes, or the error; masks as COCO's run lengths, keypoints by name."""
        if self.error is not None:
            return {"file": self.file, "error": self.error}
        rows = zip(self.labels.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True)
        boxes: list[dict[str, Any]] = [
            {"name": self.classes[label], "score": score, "box": box} for label, score, box in rows
        ]
        for n, box in enumerate(boxes):
            if self.masks is not None:
                box["mask"] = self.masks[n].as_json()
            if self.keypoints is not None:
                box["keypoints"] = self._named(self.keypoints[n])
        return {"file": self.file, "width": self.size[0], "height": self.size[1], "boxes": boxes}

    def _named(self, points: Tensor) -> list[dict[str, Any]]:
        names = self.pose.names if self.pose else [str(j) for j in range(len(points))]
        rows = zip(names, points.tolist(), strict=True)
        return [{"name": name, "x": x, "y": y, "score": score} for name, (x, y, score) in rows]

    def text(self) -> str:
        """One line for the terminal: how many of each class."""
        if self.error is not None:
            return f"{self.file}: not read: {self.error}"
        counts = self.labels.bincount(minlength=len(self.classes)).tolist()
        found = [f"{count} {name}" for name, count in zip(self.classes, counts, strict=True) if count]
        return f"{self.file}: {', '.join(found) or 'nothing'}"


def predict_boxes(
    detector: Detector, paths: Sequence[str], score: float = 0.5, *, strict: bool = False, pose: Pose | None = None
) -> Iterator[BoxPrediction]:
    """One BoxPrediction per file, in order, with the boxes that score `score` or more.

    Pictures are decoded and prepared in threads; those of one size then are looked at together. `pose` names the
    keypoints that the detector gives. With `strict` raises FovealError for a file that cannot be read.
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
            kept = Found(**parts).select(parts["scores"] >= score)
            height, width = one[1]
            yield BoxPrediction(
                path,
                detector.classes,
                (width, height),
                kept.boxes,
                kept.scores,
                kept.labels,
                masks=kept.masks,
                keypoints=kept.keypoints,
                pose=pose,
            )
        done += len(views)


_NOTHING = (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
