"""Pictures of boxes: samples of the training set, the surest false detections, the objects that were missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from foveal.data.boxset import BoxSet
from foveal.data.drawing import Colour, boxed, class_colour, posed, tinted
from foveal.data.image import ImageDecodeError
from foveal.data.outlines import rasterised
from foveal.evaluation.boxes import BoxEvaluation
from foveal.metrics.boxes import Ints, Table
from foveal.metrics.voc import KINDS, above, diagnosed
from foveal.report.html import Html, escape, join, paragraph, tag
from foveal.report.pictures import embed

_SAMPLES = 8
_WRONG, _MISSED, _WHOLE = 21, 14, 4  # pictures
_FOUND, _TRUE = (207, 90, 27), (36, 88, 197)
_LEAST = 64  # pixels: the side of the smallest cutting
_AROUND = 0.6  # of a box's longer side is shown on each side of it

_SHAPES = ("masks", "keypoints")
_GIVEN, _SURE = 0.5, 0.05  # from where on keypoints are drawn: true ones, and how probable found ones are


class _Mark(NamedTuple):
    """An object in a picture: its box and, where they are known, its mask, bool [H, W], and keypoints [J, 3]."""

    box: Sequence[float]
    colour: Colour
    mask: Tensor | None = None
    points: Tensor | None = None
    least: float = _SURE


def samples(train: BoxSet, side: int) -> Html:
    """Some training images with their boxes in the colours of the classes."""
    shown = min(len(train), _SAMPLES)
    pictures = [_truth(train, i * len(train) // shown, side) for i in range(shown)]
    return tag("div", *pictures, class_="masks")


class Galleries:
    """What a detector does on the images of an evaluation, as far as they are still in the set."""

    def __init__(self, test: BoxSet, e: BoxEvaluation, side: int) -> None:
        self.test, self.evaluation, self.side = test, e, side
        shown = above(e.found, e.score)
        self.table = Table(shown, e.truth)
        self.found = _Shapes(shown, self.table.row)
        self.truth = _Shapes(e.truth, self.table.t_row)
        self.kind, self.missed = diagnosed(self.table, 0.5)
        self.number = {test.name(i): i for i in range(len(test))}

    def whole(self) -> Html:
        """Some images drawn at random with all that was found, in the colours of the classes."""
        e = self.evaluation
        mixed = torch.randperm(e.images, generator=torch.Generator().manual_seed(0)).tolist()[:_WHOLE]
        cards = []
        for place in mixed:
            rows = np.flatnonzero(self.table.image == place)
            rows = rows[np.argsort(self.table.score[rows], kind="stable")]
            marks = [
                self._found(row, class_colour(int(self.table.label[row]), len(e.classes))) for row in rows.tolist()
            ]
            cards.append(self._picture(place, marks, None, 2 * self.side))
        return tag("div", *cards, class_="two")

    def false(self) -> Html:
        """The detections that are wrong, the surest first."""
        t, e = self.table, self.evaluation
        wrong = np.flatnonzero(self.kind >= 0)
        wrong = wrong[np.argsort(-t.score[wrong], kind="stable")][:_WRONG]
        if not len(wrong):
            return paragraph("There are none.")
        cards = []
        for row in wrong.tolist():
            place = int(t.image[row])
            box = t.box[row].tolist()
            marks = [*self._true(place), self._found(row, _FOUND)]
            said = f"{e.classes[int(t.label[row])]} · {t.score[row]:.2f}"
            cards.append(self._card(place, marks, box, (said, "wrong"), KINDS[int(self.kind[row])]))
        return tag("div", *cards, class_="gallery")

    def misses(self) -> Html:
        """Objects that no detection found, those of rare classes first."""
        t, e = self.table, self.evaluation
        rows = np.flatnonzero(self.missed)
        share = np.bincount(t.t_label, minlength=len(e.classes))
        rows = rows[np.argsort(share[t.t_label[rows]], kind="stable")][:_MISSED]
        if not len(rows):
            return paragraph("There are none.")
        cards = []
        for row in rows.tolist():
            place = int(t.t_image[row])
            box = t.t_box[row].tolist()
            near = [_Mark(other, _FOUND) for other in t.box[t.image == place].tolist()]
            marks = [*near, _Mark(box, _TRUE, *self.truth.of(row), _GIVEN)]
            cards.append(self._card(place, marks, box, (e.classes[int(t.t_label[row])], "right"), "missed"))
        return tag("div", *cards, class_="gallery")

    def _true(self, place: int) -> list[_Mark]:
        return [_Mark(box, _TRUE) for box in self.table.t_box[self.table.t_image == place].tolist()]

    def _found(self, row: int, colour: Colour) -> _Mark:
        return _Mark(self.table.box[row].tolist(), colour, *self.found.of(row))

    def _card(self, place: int, marks: Sequence[_Mark], box: Sequence[float], said: tuple[str, str], kind: str) -> Html:
        name = self.evaluation.names[place]
        words = [
            tag("p", escape(said[0]), class_=said[1]),
            tag("p", escape(kind), class_="right"),
            tag("p", escape(_short(name)), class_="name", title=name),
        ]
        return tag("div", self._picture(place, marks, box, self.side), join(words), class_="card")

    def _picture(self, place: int, marks: Sequence[_Mark], box: Sequence[float] | None, side: int) -> Html:
        """An image, or the surroundings of a box, with its marks; where it cannot be had, a tile that says so."""
        name = self.evaluation.names[place]
        if name not in self.number:
            return tag("span", escape("no longer in the set"), class_="missing")
        try:
            image = self.test.load(self.number[name])
        except ImageDecodeError as error:
            return tag("span", escape(error.reason), class_="missing")
        height, width = image.shape[-2:]
        window = (0, 0, width, height) if box is None else _window(box, width, height)
        edges = self.test.pose.edges if self.test.pose else ()
        return _cut(image, window, marks, name=name, side=side, edges=edges)


class _Shapes:
    """Masks and keypoints of all detections, or of all truths, in the order of a table's rows."""

    def __init__(self, records: Sequence[Any], order: Ints) -> None:
        self.masks, self.points = (self._rows([getattr(one, key) for one in records], order) for key in _SHAPES)

    @staticmethod
    def _rows(parts: Sequence[Any], order: Ints) -> list[Any] | None:
        if any(part is None for part in parts):
            return None
        rows = [row for part in parts for row in part]
        return [rows[i] for i in order.tolist()]

    def of(self, row: int) -> tuple[Tensor | None, Tensor | None]:
        """Mask and keypoints of a row, None for what is not known."""
        mask = None if self.masks is None else self.masks[row].mask()
        return mask, None if self.points is None else self.points[row]


def _truth(images: BoxSet, i: int, side: int) -> Html:
    try:
        image = images.load(i)
    except ImageDecodeError as error:
        return tag("span", escape(error.reason), class_="missing")
    found = images.objects[i]
    height, width = image.shape[-2:]
    marks = [
        _Mark(
            box.tolist(),
            class_colour(label, len(images.classes)),
            None if outline is None else rasterised(outline, box, height, width),
            points if images.pose else None,
            _GIVEN,
        )
        for box, label, outline, points in zip(
            found.boxes, found.labels.tolist(), found.outlines, found.keypoints, strict=True
        )
    ]
    edges = images.pose.edges if images.pose else ()
    return _cut(image, (0, 0, width, height), marks, name=images.name(i), side=side, edges=edges)


def _window(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """The surroundings of a box within the image: x1, y1, x2, y2."""
    x1, y1, x2, y2 = box
    half = max((0.5 + _AROUND) * max(x2 - x1, y2 - y1), _LEAST / 2)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return int(max(0, x - half)), int(max(0, y - half)), int(min(width, x + half)), int(min(height, y + half))


def _cut(
    image: Tensor,
    window: tuple[int, int, int, int],
    marks: Sequence[_Mark],
    *,
    name: str,
    side: int,
    edges: Sequence[tuple[int, int]],
) -> Html:
    """The window of an image at most `side` pixels wide and high, with its marks drawn at that size."""
    left, top, right, bottom = window
    tints = [(mark.mask, mark.colour) for mark in marks if mark.mask is not None]
    part = tinted(image, tints)[:, top:bottom, left:right].permute(1, 2, 0).contiguous().numpy()
    factor = side / max(part.shape[:2])
    size = max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor))
    small = torch.from_numpy(np.array(Image.fromarray(part).resize(size, Image.Resampling.LANCZOS))).permute(2, 0, 1)
    corner = (left, top, left, top)
    moved = [([(v - c) * factor for v, c in zip(mark.box, corner, strict=True)], mark.colour, "") for mark in marks]
    picture = boxed(small, moved)
    for mark in marks:
        if mark.points is not None:
            points = mark.points.float() - torch.tensor((left, top, 0.0))
            points = points * torch.tensor((factor, factor, 1.0))
            picture = posed(picture, [(points, mark.colour)], edges, mark.least)
    return embed(torch.from_numpy(np.array(picture)).permute(2, 0, 1), name, side)


def _short(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
