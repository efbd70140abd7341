"""A set on one page: rows of classes, samples in each, with names and counts, split by split."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from foveal.data.dataset import ImageSet
from foveal.data.image import ImageDecodeError
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
_PAPER, _INK, _FAINT, _LINE = (255, 255, 255), (32, 36, 44), (122, 128, 140), (228, 231, 236)
_CELL_PAPER = (243, 245, 248)
_BAR = (66, 112, 186)
_BAD = (190, 60, 60)
_TALLEST = 65_000  # PNG viewers and Pillow's encoders of other formats stop at 65,535


def contact_sheet(
    sets: Mapping[str, ImageSet],
    file: str | os.PathLike[str] | None = None,
    *,
    samples: int = 8,
    classes: int = 40,
    title: str = "",
    seed: int = 0,
) -> Image.Image:
    """The picture of some sets by split, RGB: a row for each class with `samples` images drawn by `seed`.

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
    left = min(max(round(_font(16).getlength(name)) for name in shown), _WIDEST_NAME) + _BETWEEN
    width = 2 * _MARGIN + left + sum(column.wide for column in columns) + _BETWEEN * (len(columns) - 1)
    top = _MARGIN + (_TITLE if title else 0)
    foot = 30 if len(shown) < len(names) else 0
    sheet = Image.new("RGB", (width, top + _HEAD + _ROW * len(shown) + foot + _MARGIN - _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        _text(draw, (_MARGIN, _MARGIN - 4), title, width - 2 * _MARGIN, 24)
    for row, name in enumerate(shown):
        y = top + _HEAD + row * _ROW
        draw.line([(_MARGIN, y), (width - _MARGIN, y)], fill=_LINE)
        _text(draw, (_MARGIN, y + _ROW // 2 - 10), name, left - 16, 16)
    x = _MARGIN + left
    for column in columns:
        _draw_column(sheet, (x, top), column, shown, samples=samples, seed=seed)
        x += column.wide + _BETWEEN
    if foot:
        y = top + _HEAD + _ROW * len(shown)
        draw.line([(_MARGIN, y), (width - _MARGIN, y)], fill=_LINE)
        _text(draw, (_MARGIN, y + 12), f"and {len(names) - len(shown):,} more classes", width, 14, colour=_FAINT)
    if file is not None:
        _save(sheet, Path(file))
    return sheet


@dataclass(frozen=True)
class _Column:
    split: str
    images: ImageSet
    wide: int


def _column_width(images: ImageSet, samples: int) -> int:
    """Room for counts and for the longest row of samples, and for the split's name at least."""
    most = min(int(np.bincount(images.labels.numpy(), minlength=1).max()), samples)
    return max(_COUNT + most * (_CELL + _GAP) - _GAP, 3 * _CELL)


def _draw_column(
    sheet: Image.Image, at: tuple[int, int], column: _Column, names: list[str], *, samples: int, seed: int
) -> None:
    """One split: its head, then for each class count, bar and samples."""
    draw = ImageDraw.Draw(sheet)
    x, y = at
    images = column.images
    _text(draw, (x, y), column.split, column.wide, 20)
    left = x + draw.textlength(column.split, _font(20)) + 12
    _text(draw, (left, y + 5), f"{len(images):,} images", x + column.wide - left, 14, colour=_FAINT)
    labels = images.labels.numpy()
    counts = np.bincount(labels, minlength=len(images.classes))
    largest = max(int(counts.max(initial=0)), 1)
    for row, name in enumerate(names):
        top = y + _HEAD + row * _ROW
        label = images.classes.index(name) if name in images.classes else -1
        count = int(counts[label]) if label >= 0 else 0
        middle = top + _ROW // 2
        _text(draw, (x, middle - 14), f"{count:,}", _COUNT, 15, colour=_INK if count else _BAD)
        full = _COUNT - 20
        draw.rounded_rectangle((x, middle + 9, x + full, middle + 12), 2, fill=_LINE)
        if count:
            draw.rounded_rectangle(
                (x, middle + 9, x + max(round(full * count / largest), 3), middle + 12), 2, fill=_BAR
            )
        members = np.flatnonzero(labels == label)
        random = np.random.RandomState((seed + 7919 * row) % 2**32)  # a row does not depend on the others
        chosen = np.sort(random.permutation(members)[:samples])
        for place, i in enumerate(chosen.tolist()):
            _draw_sample(sheet, (x + _COUNT + place * (_CELL + _GAP), top + _GAP), images, i)


def _draw_sample(sheet: Image.Image, at: tuple[int, int], images: ImageSet, i: int) -> None:
    draw = ImageDraw.Draw(sheet)
    x, y = at
    draw.rectangle((x, y, x + _CELL - 1, y + _CELL - 1), fill=_CELL_PAPER)
    try:
        pixels = images.load(i, min_side=_CELL).permute(1, 2, 0).numpy()
    except ImageDecodeError:  # the doctor lists it with its reason; here its place is marked
        inset = _CELL // 3
        for top, bottom in ((inset, _CELL - inset), (_CELL - inset, inset)):
            draw.line([(x + inset, y + top), (x + _CELL - inset, y + bottom)], fill=_BAD, width=2)
        return
    picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)).convert("RGB")
    picture = _fitted(picture)
    sheet.paste(picture, (x + (_CELL - picture.width) // 2, y + (_CELL - picture.height) // 2))


def _fitted(picture: Image.Image) -> Image.Image:
    """As large as the cell takes: by a whole factor when that enlarges it, smoothly when it must shrink."""
    longest = max(picture.size)
    if longest <= _CELL:
        factor = _CELL // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    sides = [max(round(side * _CELL / longest), 1) for side in picture.size]
    return picture.resize((sides[0], sides[1]), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    wide: float,
    size: int,
    *,
    colour: tuple[int, int, int] = _INK,
) -> None:
    """One line, cut with an ellipsis to `wide` pixels."""
    font = _font(size)
    text = " ".join(text.split())
    if draw.textlength(text, font) > wide:
        while text and draw.textlength(text + "…", font) > wide:
            text = text[:-1]
        text = text.rstrip() + "…"
    draw.text(at, text, fill=colour, font=font)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows Latin, Greek, Cyrillic and Arabic letters."""
    from matplotlib import get_data_path  # half a second, only for who draws

    return ImageFont.truetype(os.fspath(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _save(sheet: Image.Image, file: Path) -> None:
    data = io.BytesIO()
    sheet.save(data, "PNG", optimize=True)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.getvalue())
    except OSError as error:
        raise FovealError(f"{file}: cannot be written ({error.strerror or error})", "choose another place") from error
