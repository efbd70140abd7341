"""A set on one page: rows of classes, samples in each, with names and counts, split by split."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from foveal.data.boxset import BoxSet
from foveal.data.dataset import ImageSet, VisionSet
from foveal.data.drawing import BAD, CELL_PAPER, FAINT, INK, LINE, PAPER, font, paste, save, text, veiled
from foveal.data.image import ImageDecodeError
from foveal.data.masks import MaskSet
from foveal.data.scan import tally
from foveal.errors import FovealError

_CELL = 72  # pixels, the side of the square that a sample is fitted into
_GAP = 6
_MARGIN = 32
_BETWEEN = 40  # two splits
_WIDEST_NAME = 260
_COUNT = 76  # the column of counts and bars, left of each split's samples
_ROW = _CELL + 2 * _GAP
_HEAD = 56  # above the first row: the split's name
_TITLE = 44
_BAR = (66, 112, 186)
_TALLEST = 65_000  # PNG viewers and Pillow's encoders of other formats stop at 65,535


def contact_sheet(
    sets: Mapping[str, VisionSet],
    file: str | os.PathLike[str] | None = None,
    *,
    samples: int = 8,
    classes: int = 40,
    title: str = "",
    seed: int = 0,
) -> Image.Image:
    """The picture of some sets by split, RGB: a row for each class with `samples` images drawn by `seed`.

    Of a set of boxes these are images with an object of the class, with its boxes drawn; the count is of objects.

    Splits stand side by side. Small images are enlarged by whole factors, pixel by pixel; large ones are made smaller;
    all keep their proportions. A bar under the count compares it with the largest class of the split. At most `classes`
    rows are shown, and the sheet says how many are left out. An image that cannot be read shows as a crossed cell. With
    `file` it is written there as PNG. Raises FovealError for sets without an image and for a file that cannot be made.
    """
    if not any(len(images) for images in sets.values()):
        raise FovealError("a contact sheet needs images, and there are none", "give a set with at least one image")
    if samples < 1 or classes < 1:
        raise FovealError(f"samples={samples}, classes={classes}: a contact sheet needs one of each at least")
    names = list(dict.fromkeys(name for images in sets.values() for name in images.classes))
    shown = names[: min(classes, (_TALLEST - 200) // _ROW)]
    columns = [_Column(split, images, _column_width(images, samples)) for split, images in sets.items()]
    left = min(max(round(font(16).getlength(name)) for name in shown), _WIDEST_NAME) + _BETWEEN
    width = 2 * _MARGIN + left + sum(column.wide for column in columns) + _BETWEEN * (len(columns) - 1)
    top = _MARGIN + (_TITLE if title else 0)
    foot = 30 if len(shown) < len(names) else 0
    sheet = Image.new("RGB", (width, top + _HEAD + _ROW * len(shown) + foot + _MARGIN - _GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        text(draw, (_MARGIN, _MARGIN - 4), title, width - 2 * _MARGIN, 24)
    for row, name in enumerate(shown):
        y = top + _HEAD + row * _ROW
        draw.line([(_MARGIN, y), (width - _MARGIN, y)], fill=LINE)
        text(draw, (_MARGIN, y + _ROW // 2 - 10), name, left - 16, 16)
    x = _MARGIN + left
    for column in columns:
        _draw_column(sheet, (x, top), column, shown, samples=samples, seed=seed)
        x += column.wide + _BETWEEN
    if foot:
        y = top + _HEAD + _ROW * len(shown)
        draw.line([(_MARGIN, y), (width - _MARGIN, y)], fill=LINE)
        text(draw, (_MARGIN, y + 12), f"and {len(names) - len(shown):,} more classes", width, 14, colour=FAINT)
    if file is not None:
        save(sheet, Path(file))
    return sheet


@dataclass(frozen=True)
class _Column:
    split: str
    images: VisionSet
    wide: int


def _column_width(images: VisionSet, samples: int) -> int:
    """Room for counts and for the longest row of samples, and for the split's name at least."""
    most = min(max((len(_members(images, k)) for k in range(len(images.classes))), default=0), samples)
    return max(_COUNT + most * (_CELL + _GAP) - _GAP, 3 * _CELL)


def _draw_column(
    sheet: Image.Image, at: tuple[int, int], column: _Column, names: list[str], *, samples: int, seed: int
) -> None:
    """One split: its head, then for each class count, bar and samples."""
    draw = ImageDraw.Draw(sheet)
    x, y = at
    images = column.images
    text(draw, (x, y), column.split, column.wide, 20)
    left = x + draw.textlength(column.split, font(20)) + 12
    text(draw, (left, y + 5), f"{len(images):,} images", x + column.wide - left, 14, colour=FAINT)
    counts = tally(images)
    largest = max(counts.values(), default=1)
    for row, name in enumerate(names):
        top = y + _HEAD + row * _ROW
        label = images.classes.index(name) if name in images.classes else -1
        count = counts[name]
        middle = top + _ROW // 2
        text(draw, (x, middle - 14), f"{count:,}", _COUNT, 15, colour=INK if count else BAD)
        full = _COUNT - 20
        draw.rounded_rectangle((x, middle + 9, x + full, middle + 12), 2, fill=LINE)
        if count:
            draw.rounded_rectangle(
                (x, middle + 9, x + max(round(full * count / largest), 3), middle + 12), 2, fill=_BAR
            )
        members = _members(images, label)
        random = np.random.RandomState((seed + 7919 * row) % 2**32)  # a row does not depend on the others
        chosen = np.sort(random.permutation(members)[:samples])
        for place, i in enumerate(chosen.tolist()):
            _draw_sample(sheet, (x + _COUNT + place * (_CELL + _GAP), top + _GAP), images, i, label)


def _members(images: VisionSet, label: int) -> NDArray[np.int64]:
    """The images of a class, of a set of boxes those with an object of it."""
    if isinstance(images, ImageSet):
        return np.flatnonzero(images.labels.numpy() == label)
    if isinstance(images, BoxSet):
        return np.flatnonzero([bool((found.labels == label).any()) for found in images.objects])
    assert isinstance(images, MaskSet)  # there are no other sets
    return np.flatnonzero(images.census[0][:, label].numpy())


def _shown(images: VisionSet, i: int) -> Tensor:
    """Image i no larger than needed, under its mask if it has one: uint8 [C, H, W]."""
    if not isinstance(images, MaskSet):
        return images.load(i, min_side=_CELL)
    image = images.load(i)
    mask = images.target(i).as_subclass(Tensor)
    return veiled(image, mask, len(images.classes)) if mask.shape == image.shape[-2:] else image


def _draw_sample(sheet: Image.Image, at: tuple[int, int], images: VisionSet, i: int, label: int) -> None:
    draw = ImageDraw.Draw(sheet)
    x, y = at
    draw.rectangle((x, y, x + _CELL - 1, y + _CELL - 1), fill=CELL_PAPER)
    try:
        pixels = _shown(images, i)
    except ImageDecodeError:  # the doctor lists it with its reason; here its place is marked
        inset = _CELL // 3
        for top, bottom in ((inset, _CELL - inset), (_CELL - inset, inset)):
            draw.line([(x + inset, y + top), (x + _CELL - inset, y + bottom)], fill=BAD, width=2)
        return
    left, top, width, height = paste(sheet, at, pixels, _CELL)
    if isinstance(images, BoxSet):
        found = images.objects[i]
        across, down = width / images.sizes[i][0], height / images.sizes[i][1]
        for x1, y1, x2, y2 in found.boxes[found.labels == label].tolist():
            corners = (left + x1 * across, top + y1 * down, left + x2 * across - 1, top + y2 * down - 1)
            draw.rectangle((*corners[:2], max(corners[0], corners[2]), max(corners[1], corners[3])), outline=BAD)
