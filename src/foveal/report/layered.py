"""Where the boxes of a directed graph without circles stand: in ranks, one below the other, edges between neighbours.

K. Sugiyama, S. Tagawa, M. Toda: Methods for visual understanding of hierarchical system structures, IEEE Transactions
on Systems, Man and Cybernetics 11(2), 1981: ranks by the longest path, a knot on every rank that an edge passes,
crossings lessened by barycentres. Places in a rank are then least squares: near the neighbours, in order, apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

Node = Hashable
Point = tuple[float, float]
_SWEEPS = 12
_APART = 22.0  # between boxes of a rank
_AISLE = 50.0  # between columns
_KNOT, _STIFF = 14.0, 6.0  # the room of a passing edge, and how much straighter it wants to be than an edge of boxes


@dataclass(frozen=True)
class Layout:
    """The middle of every box, the points of every edge, and the size of all of it; y grows downwards."""

    places: Mapping[Node, Point]
    edges: Mapping[tuple[Node, Node], tuple[Point, ...]]
    width: float
    height: float


@dataclass
class _Knot:
    """A box, or the place where an edge passes a rank."""

    rank: int
    wide: float
    x: float = 0.0
    stiff: float = 1.0


def ranks(sources: Mapping[Node, Sequence[Node]]) -> dict[Node, int]:
    """The length of the longest path to each node. ValueError for a graph with a circle."""
    found: dict[Node, int] = {}
    waiting = dict(sources)
    while waiting:
        ready = [node for node, before in waiting.items() if all(one in found for one in before)]
        if not ready:
            raise ValueError("the graph has a circle")
        for node in ready:
            found[node] = max((found[one] + 1 for one in waiting.pop(node)), default=0)
    return found


def layered(
    sizes: Mapping[Node, Point], sources: Mapping[Node, Sequence[Node]], *, gap: float = 26, columns: int = 0
) -> Layout:
    """Place boxes of `sizes` (width, height) whose edges come from `sources`.

    columns: the drawing is cut into so many, side by side, where all edges come from one box; 0 for as many as make it
    about as wide as high. ValueError for a graph with a circle.
    """
    drawing = _Drawing(sizes, sources, gap)
    drawing.order()
    for sweep in range(_SWEEPS):
        drawing.settle(downwards=sweep % 2 == 0)
    return drawing.placed(columns)


class _Drawing:
    """Boxes and passing edges by rank, each edge as a chain of them."""

    def __init__(self, sizes: Mapping[Node, Point], sources: Mapping[Node, Sequence[Node]], gap: float) -> None:
        self.sizes, self.gap = sizes, gap
        self.level = ranks(sources)
        self.knots: dict[Node, _Knot] = {
            node: _Knot(self.level[node], size[0] + _APART) for node, size in sizes.items()
        }
        self.rows: list[list[Node]] = [[] for _ in range(max(self.level.values()) + 1)]
        self.paths: dict[tuple[Node, Node], list[Node]] = {}
        self.up: dict[Node, list[Node]] = {}
        self.down: dict[Node, list[Node]] = {}
        for node in sizes:
            self.rows[self.level[node]].append(node)
            for source in sources[node]:
                self._connect(source, node)
        self.heights = [max(self._height(node) for node in row) for row in self.rows]

    def _connect(self, source: Node, node: Node) -> None:
        between = [(source, node, rank) for rank in range(self.level[source] + 1, self.level[node])]
        for knot in between:
            self.knots[knot] = _Knot(knot[2], _KNOT, stiff=_STIFF)
            self.rows[knot[2]].append(knot)
        path = self.paths[source, node] = [source, *between, node]
        for above, below in itertools.pairwise(path):
            self.up.setdefault(below, []).append(above)
            self.down.setdefault(above, []).append(below)

    def _height(self, node: Node) -> float:
        return self.sizes[node][1] if node in self.sizes else 0.0

    def order(self) -> None:
        """Sort each row by the mean place of the neighbours above, then below, in turn; put it side by side."""
        index = {node: i - (len(row) - 1) / 2 for row in self.rows for i, node in enumerate(row)}
        for sweep in range(_SWEEPS):
            near = self.up if sweep % 2 == 0 else self.down
            for row in self.rows if sweep % 2 == 0 else self.rows[::-1]:
                means = {node: _mean([index[n] for n in near.get(node, ())], index[node]) for node in row}
                row.sort(key=means.__getitem__)
                index.update({node: i - (len(row) - 1) / 2 for i, node in enumerate(row)})
        for row in self.rows:
            x = -sum(self.knots[node].wide for node in row) / 2
            for node in row:
                self.knots[node].x = x + self.knots[node].wide / 2
                x += self.knots[node].wide

    def settle(self, downwards: bool) -> None:
        """Move each row's knots towards their neighbours, as far as those beside them allow."""
        for row in self.rows if downwards else self.rows[::-1]:
            wanted = [self._wanted(node, downwards) for node in row] if len(row) > 1 else [(0.0, 1.0)]
            for node, x in zip(row, _apart(wanted, [self.knots[node].wide for node in row]), strict=True):
                self.knots[node].x = x

    def _wanted(self, node: Node, downwards: bool) -> tuple[float, float]:
        """The mean place of the neighbours, those just settled counting most, and how much it matters."""
        total = weight = 0.0
        for near, part in ((self.up, 1.0 if downwards else 0.3), (self.down, 0.3 if downwards else 1.0)):
            for other in near.get(node, ()):
                pull = part * min(self.knots[other].stiff, self.knots[node].stiff)
                total, weight = total + pull * self.knots[other].x, weight + pull
        return (total / weight, weight) if weight else (self.knots[node].x, 1e-3)

    def _cuts(self, width: float, columns: int) -> list[int]:
        """The ranks at which a new column begins, 0 first."""
        crossing: list[set[Node]] = [set() for _ in self.rows]  # where the edges come from that enter a rank
        for source, node in self.paths:
            for rank in range(self.level[source] + 1, self.level[node] + 1):
                crossing[rank].add(source)
        total = sum(self.heights) + self.gap * len(self.rows)
        wanted = columns or max(1, round((total / (width + _AISLE)) ** 0.5))
        cuts, filled = [0], 0.0
        for rank, height in enumerate(self.heights):
            if len(crossing[rank]) == 1 and filled + (height + self.gap) / 2 > total / wanted and len(cuts) < wanted:
                cuts.append(rank)
                filled = 0.0
            filled += height + self.gap
        return cuts

    def placed(self, columns: int) -> Layout:
        """Coordinates, column by column."""
        left = min(knot.x - knot.wide / 2 for knot in self.knots.values())
        width = max(knot.x + knot.wide / 2 for knot in self.knots.values()) - left
        cuts = self._cuts(width, columns)
        starts, middles = [], []  # of each rank: where its column begins, and its y
        column, y, tallest = -1, 0.0, 0.0
        for rank, height in enumerate(self.heights):
            if rank in cuts:
                column, y = column + 1, 0.0
            starts.append(column * (width + _AISLE))
            middles.append(y + height / 2)
            y += height + self.gap
            tallest = max(tallest, y - self.gap)

        def at(node: Node, side: int = 0) -> Point:
            """The middle of a box, of its top (-1) or its bottom (1); a passing edge goes straight through its rank."""
            rank = self.knots[node].rank
            height = self._height(node) or self.heights[rank]
            return self.knots[node].x - left + starts[rank], middles[rank] + side * height / 2

        edges = {}
        for (source, node), path in self.paths.items():
            points = [at(source, 1), *(at(knot, side) for knot in path[1:-1] for side in (-1, 1)), at(node, -1)]
            start = starts[self.level[source]]
            same = start == starts[self.level[node]]
            edges[source, node] = tuple(points if same else _around(points, start + width))
        places = {node: at(node) for node in self.sizes}
        return Layout(places, edges, (column + 1) * (width + _AISLE) - _AISLE, tallest)


def _mean(numbers: Sequence[float], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise


def _apart(wanted: Sequence[tuple[float, float]], wide: Sequence[float]) -> list[float]:
    """The places nearest to those wanted, by weighted squares, in order and without overlap: isotonic regression."""
    offsets = [0.0]
    for a, b in itertools.pairwise(wide):
        offsets.append(offsets[-1] + (a + b) / 2)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, how many
    for (x, weight), offset in zip(wanted, offsets, strict=True):
        block = (x - offset, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, mass, count = blocks.pop()
            total = mass + block[1]
            block = ((mean * mass + block[0] * block[1]) / total, total, count + block[2])
        blocks.append(block)
    places = [mean for mean, _, count in blocks for _ in range(count)]
    return [place + offset for place, offset in zip(places, offsets, strict=True)]


def _around(points: list[Point], edge: float) -> list[Point]:
    """A line that leads to the next column goes up between the two; `edge` is the first one's right side."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    aisle = edge + _AISLE / 2
    return [(x0, y0), (x0, y0 + 10), (aisle, y0 + 10), (aisle, y1 - 14), (x1, y1 - 14), (x1, y1)]
