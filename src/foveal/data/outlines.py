"""Masks of objects as files hold them, polygons or run lengths: checked first, drawn when asked for, in NumPy alone.

Nothing that a file says is trusted: coordinates without bound, run lengths of other images and counts that do not add
up are refused before any memory is taken for them. `encoded` makes run lengths of a mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST_POINTS = 100_000
_FARTHEST = 1e6  # pixels outside the image, from where a coordinate is nonsense
Polygons = tuple[NDArray[np.float64], ...]  # each [P, 2] of x, y in pixels


class Runs:
    """COCO's run lengths: off, on, off, … down the columns of a mask of `height` × `width` pixels."""

    def __init__(self, counts: NDArray[np.int64], height: int, width: int) -> None:
        self.counts, self.height, self.width = counts, height, width

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.counts[1::2].sum())

    def mask(self) -> Tensor:
        """The mask, bool [height, width]."""
        flat = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        return torch.from_numpy(np.ascontiguousarray(flat.reshape(self.width, self.height).T))

    def as_json(self) -> dict[str, Any]:
        """As COCO's files have it, {"size": [height, width], "counts": text}."""
        return {"size": [self.height, self.width], "counts": packed(self)}


Outline = Polygons | Runs


class OutlineError(Exception):
    """An outline that cannot be used; the text says why."""


def polygons(parts: Any) -> Polygons:
    """Lists x1, y1, x2, y2, … as polygons. Raises OutlineError for what is none."""
    if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
        raise OutlineError("its polygons are no list of lists of numbers")
    found = []
    for part in parts:
        if not isinstance(part, Sequence) or isinstance(part, str) or len(part) < 6 or len(part) % 2:
            raise OutlineError("a polygon is a list of at least three points x, y")
        if len(part) > 2 * MOST_POINTS:
            raise OutlineError(f"a polygon has {len(part) // 2:,} points, more than {MOST_POINTS:,}")
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in part):
            raise OutlineError("a polygon holds something that is no number")
        try:
            points = np.array(part, np.float64).reshape(-1, 2)
        except OverflowError as error:
            raise OutlineError("a polygon's number is too large") from error
        if not np.isfinite(points).all() or np.abs(points).max() > _FARTHEST:
            raise OutlineError(f"a polygon reaches to {_largest(part)}, far outside any image")
        found.append(points)
    return tuple(found)


def runs(value: Any, height: int, width: int) -> Runs:
    """COCO's {"size": [height, width], "counts": list or text} of an image of that size. Raises OutlineError."""
    size = value.get("size")
    if size != [height, width]:
        raise OutlineError(f"its run lengths are of {size}, its image has [{height}, {width}]")
    counts = value.get("counts")
    if isinstance(counts, str):
        numbers = _unpacked(counts)
    elif isinstance(counts, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in counts):
        numbers = counts
    else:
        raise OutlineError("its run lengths are no list of whole numbers, and no text")
    if any(n < 0 for n in numbers) or sum(numbers) != height * width:
        raise OutlineError(f"its run lengths cover {sum(numbers):,} pixels of {height * width:,}")
    return Runs(np.array(numbers, np.int64), height, width)


def packed(found: Runs) -> str:
    """Run lengths as COCO's text: each the difference to the one before last, five bits a letter."""
    letters = []
    counts = found.counts.tolist()
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            low, value = value & 31, value >> 5
            done = value == (-1 if low & 16 else 0)
            letters.append(chr(48 + (low if done else low | 32)))
            if done:
                break
    return "".join(letters)


def encoded(mask: Tensor, height: int, width: int, corner: tuple[int, int] = (0, 0)) -> Runs:
    """The run lengths of a mask, bool [h, w], that lies in an image of `height` x `width`, empty elsewhere; corner: row
    and column of its first pixel."""
    columns = np.pad(mask.numpy().T.astype(np.int8), ((0, 0), (1, 1)))
    change = np.diff(columns, axis=1)
    (column, first), (_, last) = np.nonzero(change > 0), np.nonzero(change < 0)
    start = (column + corner[1]) * height + corner[0]
    first, last = start + first, start + last
    apart = first[1:] > last[:-1]  # a run from the bottom goes on at the next column's top
    first, last = first[np.append(True, apart)[: len(first)]], last[np.append(apart, True)[: len(last)]]
    bounds = np.concatenate(([0], np.stack((first, last), 1).ravel(), [height * width]))
    counts = np.diff(bounds)
    return Runs(counts if counts[-1] or len(counts) == 1 else counts[:-1], height, width)


def rasterised(outline: Outline | None, box: Tensor, height: int, width: int) -> Tensor:
    """The mask, bool [height, width]: pixels whose centre lies inside. Without an outline, those of the box [4]."""
    if isinstance(outline, Runs):
        return outline.mask()
    mask = np.zeros((height, width), bool)
    if outline is None:
        left, top, right, bottom = box.double().tolist()
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        outline = (corners,)
    for points in outline:
        mask |= _filled(points, height, width)
    return torch.from_numpy(mask)


def bounds(outline: Outline) -> tuple[float, float, float, float]:
    """The upright box around it, x1, y1, x2, y2 in pixels; of an empty mask all 0."""
    if isinstance(outline, Runs):
        mask = outline.mask().numpy()
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return 0.0, 0.0, 0.0, 0.0
        return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
    points = np.concatenate(outline)
    return float(points[:, 0].min()), float(points[:, 1].min()), float(points[:, 0].max()), float(points[:, 1].max())


def outline_area(outline: Outline) -> float:
    """Square pixels: of polygons by Gauss's formula, of run lengths by count."""
    if isinstance(outline, Runs):
        return float(outline.area)
    total = 0.0
    for points in outline:
        x, y = points.T
        total += abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    return total


def _filled(points: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """Even and odd: a pixel is inside when the edges left of its centre, along its row, are odd in number."""
    flips = np.zeros((height, width + 1), np.int64)
    following = np.roll(points, -1, 0)
    for (x1, y1), (x2, y2) in zip(points.tolist(), following.tolist(), strict=True):
        (xa, ya), (xb, yb) = ((x1, y1), (x2, y2)) if y1 <= y2 else ((x2, y2), (x1, y1))
        first, last = max(math.ceil(ya - 0.5), 0), min(math.ceil(yb - 0.5), height)  # rows whose centre it passes
        if first < last:
            rows = np.arange(first, last)
            across = xa + (rows + 0.5 - ya) * (xb - xa) / (yb - ya)
            flips[rows, np.clip(np.ceil(across - 0.5), 0, width).astype(np.int64)] += 1
    inside: NDArray[np.bool_] = np.cumsum(flips[:, :-1], 1) % 2 == 1
    return inside


def _unpacked(text: str) -> list[int]:
    if len(text) > 8 * MOST_POINTS:
        raise OutlineError(f"its run lengths take {len(text):,} letters")
    numbers: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise OutlineError(f"its run lengths hold the letter {letter!r}")
        value |= (bits & 31) << shift
        shift += 5
        if shift > 60:
            raise OutlineError("a run length is too large")
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
            value = shift = 0
    if shift:
        raise OutlineError("its run lengths end in the middle of a number")
    return numbers


def _largest(part: Sequence[Any]) -> str:
    return f"{max(part, key=abs):g}"
