"""Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation" (IJCV 2004): regions that look alike.

Pixels are nodes, the eight neighbours edges, weighted by the distance of their colours. Edges are taken from the
lightest on; two regions become one if the edge weighs no more than the largest inner weight of either plus k / size.
That order is the algorithm, and it is sequential. But a run of edges may be thinned before: those within one region,
and those of a region that has refused an edge already, for it refuses every later one (their lemma 1). So most edges
are dropped by the thousand, in arrays, and the loop sees the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_RUN = 1 << 14  # edges between two thinnings


def segment(image: Floats, k: float, *, sigma: float = 0.8, least: int = 20) -> Ints:
    """Region numbers 0 … R-1 of an image [H, W, C] with values to 255: int64 [H, W], in the order of their first pixel.

    k: the larger, the larger the regions; sigma: of the Gaussian that smooths first, in pixels (0.8 in the paper);
    regions smaller than `least` pixels join the neighbour to which the lightest edge leads.
    """
    height, width = image.shape[:2]
    smooth = gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="nearest", truncate=4.0)
    first, second, weight = _edges(smooth)
    forest = _Forest(height * width, k)
    forest.grow(first, second, weight)
    forest.absorb(first, second, least)
    roots = forest.roots()
    _, place, inverse = np.unique(roots, return_index=True, return_inverse=True)
    order = np.empty(len(place), np.int64)
    order[np.argsort(place)] = np.arange(len(place))
    numbers: Ints = order[inverse].reshape(height, width)
    return numbers


def _edges(image: Floats) -> tuple[Ints, Ints, Floats]:
    """Right, down, down right and up right neighbours of all pixels: two nodes and the weight, by rising weight."""
    height, width = image.shape[:2]
    node = np.arange(height * width).reshape(height, width)
    pairs = (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    )
    first = np.concatenate([node[a].ravel() for a, _ in pairs])
    second = np.concatenate([node[b].ravel() for _, b in pairs])
    weight = np.concatenate([np.sqrt(((image[a] - image[b]) ** 2).sum(-1)).ravel() for a, b in pairs])
    order = np.argsort(weight, kind="stable")
    return first[order], second[order], weight[order]


class _Forest:
    """Regions as trees; a root knows its region's size and the weight above which it refuses."""

    def __init__(self, count: int, k: float) -> None:
        self.k = k
        self.parent = list(range(count))
        self.size = [1] * count
        self.limit = [k] * count

    def roots(self) -> Ints:
        """The root of each node."""
        parent = np.array(self.parent)
        while True:
            above = parent[parent]
            if np.array_equal(above, parent):
                return parent
            parent = above

    def grow(self, first: Ints, second: Ints, weight: Floats) -> None:
        """Take the edges in their order."""
        final = np.zeros(len(self.parent), bool)  # roots that have refused
        for start in range(0, len(first), _RUN):
            run = slice(start, start + _RUN)
            roots = self.roots()
            self.parent = roots.tolist()
            a, b = roots[first[run]], roots[second[run]]
            open_ = (a != b) & ~final[a] & ~final[b]
            for root in self._take(a[open_].tolist(), b[open_].tolist(), weight[run][open_].tolist()):
                final[root] = True

    def _take(self, first: list[int], second: list[int], weight: list[float]) -> list[int]:
        """The edges of a run; which roots refused."""
        parent, size, limit, k = self.parent, self.size, self.limit, self.k
        refused = []
        for a, b, w in zip(first, second, weight, strict=True):
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]  # noqa: PLW2901 (climbing)
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]  # noqa: PLW2901
            if a == b:
                continue
            if w <= limit[a] and w <= limit[b]:
                if size[a] < size[b]:
                    a, b = b, a  # noqa: PLW2901
                parent[b] = a
                size[a] += size[b]
                limit[a] = w + k / size[a]
            else:
                refused += [root for root in (a, b) if w > limit[root]]
        return refused

    def absorb(self, first: Ints, second: Ints, least: int) -> None:
        """Join regions below `least` pixels to a neighbour, by rising weight."""
        roots = self.roots()
        self.parent = roots.tolist()
        sizes = np.array(self.size)
        a, b = roots[first], roots[second]
        between = (a != b) & ((sizes[a] < least) | (sizes[b] < least))
        parent, size = self.parent, self.size
        for one, other in zip(a[between].tolist(), b[between].tolist(), strict=True):
            x, y = one, other
            while parent[x] != x:
                x = parent[x]
            while parent[y] != y:
                y = parent[y]
            if x != y and (size[x] < least or size[y] < least):
                parent[y] = x
                size[x] += size[y]
