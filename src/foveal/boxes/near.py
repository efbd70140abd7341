"""Pairs of boxes that overlap much, found among neighbours only: a grid for each range of sizes.

Two boxes with IoU > t have sides in a ratio above t, and centres apart by less than (1 - t)/(1 + t) of their mean side,
in each direction. So boxes are sorted into levels by their longer side, each level at least 1/t times the one before,
and into cells of a level about as wide as that distance: a box's partners lie in its own level or in the next ones, in
cells around its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

_FINEST = 64  # cells along each side of a level at most
_SLACK = 1.001  # above all rounding
_CHUNK = 1 << 14  # pairs at a time: what is worked on stays in the cache


def areas(boxes: Floats) -> Floats:
    """Square pixels of [N, 4], signed, as torchvision computes them: an overflow is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        area: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


class Grid:
    """N boxes [N, 4] by falling score, finite and with areas above 0, in cells; partners have an IoU above `threshold`.

    Positions are those in cell order unless said otherwise: `rank[p]` is the place of p in `boxes`, `places[n]` the
    position of box n.
    """

    def __init__(self, boxes: Floats, threshold: float) -> None:
        self.threshold = threshold
        longer = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]).astype(np.float64)
        level = _levels(longer, threshold)
        self.widest = np.zeros(int(level.max()) + 1)
        np.maximum.at(self.widest, level, longer)
        x, y = boxes[:, 0] / 2 + boxes[:, 2] / 2, boxes[:, 1] / 2 + boxes[:, 3] / 2
        self.left, self.top = float(x.min()), float(y.min())
        extent = max(float(x.max()) - self.left, float(y.max()) - self.top)
        self.reach = (1 - threshold) / (1 + threshold) * _SLACK
        self.cell = np.maximum(np.maximum(self.widest * self.reach, extent / _FINEST * _SLACK), 1e-30)
        column = ((x - self.left) / self.cell[level]).astype(np.int64)
        row = ((y - self.top) / self.cell[level]).astype(np.int64)
        key = (level * _FINEST + row) * _FINEST + column
        self.rank = np.argsort(key, kind="stable")
        self.places = np.empty_like(self.rank)
        self.places[self.rank] = np.arange(len(key))
        counts = np.bincount(key, minlength=len(self.widest) * _FINEST * _FINEST)
        self.starts = np.concatenate(([0], np.cumsum(counts)))
        self.sides = boxes[self.rank]
        self.sides[:, 2:] *= -1
        self.area = areas(boxes)[self.rank]
        self.x, self.y, self.level = x[self.rank], y[self.rank], level[self.rank]

    def pairs(self, who: Ints, eligible: NDArray[np.bool_], limit: np.floating) -> tuple[Ints, Ints]:
        """Pairs (a, b), a in `who` and b `eligible` [N] and of lower score, whose IoU is above `limit`: positions."""
        firsts: list[Ints] = []
        seconds: list[Ints] = []
        for a, b in self._candidates(who):
            open_ = np.flatnonzero(eligible.take(b))
            first, second = self._overlapping(a.take(open_), b.take(open_), limit)
            lower = np.flatnonzero(self.rank.take(second) > self.rank.take(first))
            firsts.append(first.take(lower))
            seconds.append(second.take(lower))
        return _joined(firsts), _joined(seconds)

    def _ranges(self, who: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Boxes, and where their candidates start and stop: rows of cells of one level."""
        for own in np.unique(self.level.take(who)).tolist():
            some = who[self.level.take(who) == own]
            x, y = self.x.take(some) - self.left, self.y.take(some) - self.top
            for other in range(max(own - 1, 0), min(own + 2, len(self.widest))):
                if not self.widest[other]:
                    continue
                cell = self.cell[other]
                distance = (self.widest[own] + self.widest[other]) / 2 * self.reach
                first = np.clip(((x - distance) / cell).astype(np.int64), 0, _FINEST - 1)
                last = np.clip(((x + distance) / cell).astype(np.int64), 0, _FINEST - 1)
                middle = (y / cell).astype(np.int64)
                for shift in range(-math.ceil(distance / cell), math.ceil(distance / cell) + 1):
                    row = middle + shift
                    there = np.flatnonzero((row >= 0) & (row < _FINEST))
                    line = (other * _FINEST + row[there]) * _FINEST
                    yield some[there], self.starts[line + first[there]], self.starts[line + last[there] + 1]

    def _candidates(self, who: Ints) -> Iterator[tuple[Ints, Ints]]:
        """The pairs of `_ranges`, some ten thousands at a time."""
        found = list(self._ranges(who))
        owner = _joined([part[0] for part in found])
        start, stop = _joined([part[1] for part in found]), _joined([part[2] for part in found])
        some = np.flatnonzero(stop > start)
        owner, start, count = owner[some], start[some], (stop - start)[some]
        ends = np.cumsum(count)
        begin = 0
        while begin < len(owner):
            done = ends[begin - 1] if begin else 0
            until = max(int(np.searchsorted(ends, done + _CHUNK, "right")), begin + 1)
            part = count[begin:until]
            a = np.repeat(owner[begin:until], part)
            b = np.repeat(start[begin:until] - (ends[begin:until] - part - done), part)
            b += np.arange(len(b))
            yield a, b
            begin = until

    def _overlapping(self, a: Ints, b: Ints, limit: np.floating) -> tuple[Ints, Ints]:
        """Those pairs whose IoU is above `limit`, computed as torchvision's kernel does: ties fall alike."""
        inner = self.sides.take(a, axis=0)  # left, top, -right, -bottom: one maximum gives the intersection
        np.maximum(inner, self.sides.take(b, axis=0), out=inner)
        common = np.minimum(inner[:, 0] + inner[:, 2], 0)  # minus its width
        common *= np.minimum(inner[:, 1] + inner[:, 3], 0)
        union = self.area.take(a)
        union += self.area.take(b)
        union -= common
        over = np.flatnonzero(common / union > limit)
        return a.take(over), b.take(over)


def _levels(longer: NDArray[np.float64], threshold: float) -> Ints:
    """Whole numbers from 0: sides of partners differ by one level at most."""
    if threshold < 0.2:  # boxes of any sizes may overlap so little
        return np.zeros(len(longer), np.int64)
    logarithm = np.log(longer) / math.log(max(1 / threshold * _SLACK, 1.25))
    level: Ints = np.floor(logarithm - logarithm.min()).astype(np.int64)
    return level


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
