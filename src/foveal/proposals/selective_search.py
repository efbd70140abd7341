"""Selective search (Uijlings, van de Sande, Gevers and Smeulders, IJCV 2013): regions are joined, the most alike first,
and the box around every region on the way, from the small ones to the whole image, is a proposal.

It starts from Felzenszwalb and Huttenlocher's segmentation, and is run for several colour spaces, sizes of the first
regions and measures of likeness; the lists are put together by rank, larger regions first on the whole.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from foveal.errors import FovealError
from foveal.proposals.colours import converted
from foveal.proposals.segmentation import segment

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mode = Literal["single", "fast", "quality"]

_COLOUR_BINS, _TEXTURE_BINS = 25, 10
_ANGLES = np.arange(8) * np.pi / 4
# Section 5.2: colour spaces, measures (C colour, T texture, S size, F fill) and k
_MODES = {
    "single": (("hsv",), ("CTSF",), (100,)),
    "fast": (("hsv", "lab"), ("CTSF", "TSF"), (50, 100)),
    "quality": (("hsv", "lab", "rgi", "h", "i"), ("CTSF", "TSF", "F", "S"), (50, 100, 150, 300)),
}


def selective_search(image: Tensor, mode: Mode = "fast", *, least_side: int = 20, seed: int = 0) -> Tensor:
    """Windows that may hold an object, best first: image uint8 [3, H, W] → float32 [K, 4], x1, y1, x2, y2 in pixels.

    mode: one, 8 or 80 ways of joining (5.2 of the paper). Windows with a side below `least_side` pixels are left out,
    as in its evaluation on VOC (images 500 pixels wide). Ranks are mixed by random numbers of `seed`, as in 4.4: one
    seed, one list.
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise FovealError(f"an image of {image.dtype} {list(image.shape)}", "give uint8 [3, H, W]")
    if mode not in _MODES:
        raise FovealError(f"selective search has no mode '{mode}'", f"give one of {', '.join(_MODES)}")
    pixels = image.permute(1, 2, 0).numpy().astype(np.float64)
    spaces, measures, sizes = _MODES[mode]
    random = np.random.RandomState(seed)
    boxes, ranks = [], []
    for space in spaces:
        colours = converted(pixels, space)
        texture = _gradients(colours)
        for k in sizes:
            first = _Regions.of(segment(colours, k, least=k), colours, texture)
            for measure in measures:
                found = _joined(first, measure)
                boxes.append(found)
                ranks.append(
                    np.arange(len(found), 0, -1) * random.random_sample(len(found))
                )  # the last join has rank 1
    every, rank = np.concatenate(boxes), np.concatenate(ranks)
    order = np.argsort(rank, kind="stable")
    every = every[order]
    every = every[(every[:, 2:] - every[:, :2]).min(1) >= min(least_side, *pixels.shape[:2])]
    once = np.sort(np.unique(every, axis=0, return_index=True)[1])
    return torch.from_numpy(every[once].astype(np.float32))


@dataclass(frozen=True)
class _Regions:
    """R regions of an image of `pixels` pixels: size [R], box [R, 4] (ends excluded), histograms [R, bins] that sum to
    1, and which ones touch: pairs [P, 2]."""

    size: Floats
    box: Ints
    colour: Floats
    texture: Floats
    touching: Ints
    pixels: int

    @classmethod
    def of(cls, numbers: Ints, colours: Floats, gradients: Floats) -> _Regions:
        """What the measures need of a segmentation [H, W]."""
        height, width = numbers.shape
        count = int(numbers.max()) + 1
        flat = numbers.ravel()
        size = np.bincount(flat, minlength=count).astype(np.float64)
        y, x = (grid.ravel() for grid in np.mgrid[:height, :width])
        box = np.empty((count, 4), np.int64)
        box[:, :2], box[:, 2:] = max(height, width), 0
        np.minimum.at(box[:, 0], flat, x)
        np.minimum.at(box[:, 1], flat, y)
        np.maximum.at(box[:, 2], flat, x + 1)
        np.maximum.at(box[:, 3], flat, y + 1)
        sides = (
            (numbers[:, :-1], numbers[:, 1:]),
            (numbers[:-1], numbers[1:]),
            (numbers[:-1, :-1], numbers[1:, 1:]),
            (numbers[1:, :-1], numbers[:-1, 1:]),
        )
        codes = np.concatenate([
            (np.minimum(a, b) * count + np.maximum(a, b))[a != b].ravel() for a, b in sides
        ])  # fmt: skip
        codes = np.unique(codes)
        colour = _histograms(flat, colours, count, _COLOUR_BINS, 255.0)
        texture = _histograms(flat, gradients, count, _TEXTURE_BINS, float(gradients.max()) or 1.0)
        return cls(size, box, colour, texture, np.stack((codes // count, codes % count), 1), flat.size)


def _gradients(colours: Floats) -> Floats:
    """The positive parts of Gaussian derivatives (σ = 1) in eight directions of each channel: [H, W, 8 C]."""
    across = gaussian_filter(colours, (1, 1, 0), order=(0, 1, 0))
    down = gaussian_filter(colours, (1, 1, 0), order=(1, 0, 0))
    return np.concatenate([np.maximum(np.cos(a) * across + np.sin(a) * down, 0) for a in _ANGLES], -1)


def _histograms(flat: Ints, values: Floats, count: int, bins: int, most: float) -> Floats:
    """[regions, channels * bins], each row summing to 1."""
    channels = values.shape[-1]
    counts = np.empty((count, channels, bins))
    for c in range(channels):
        place = np.minimum((values[..., c].ravel() * (bins / most)).astype(np.int64), bins - 1)
        counts[:, c] = np.bincount(flat * bins + place, minlength=count * bins).reshape(count, bins)
    result: Floats = counts.reshape(count, -1)
    whole: Floats = result / result.sum(1, keepdims=True)
    return whole


class _Joining:
    """The regions during the joining: R first ones, and R - 1 more that are made."""

    def __init__(self, first: _Regions, measure: str) -> None:
        count = len(first.size)
        self.measure, self.pixels = measure, first.pixels
        self.size = np.concatenate((first.size, np.zeros(count)))
        self.box = np.concatenate((first.box, np.zeros_like(first.box)))
        self.colour = np.concatenate((first.colour, np.zeros_like(first.colour)))
        self.texture = np.concatenate((first.texture, np.zeros_like(first.texture)))

    def likeness(self, a: Ints, b: Ints) -> Floats:
        """The sum of the chosen measures, equations 1 to 5, of pairs of regions."""
        result = np.zeros(len(a))
        if "C" in self.measure:
            result += np.minimum(self.colour[a], self.colour[b]).sum(1)
        if "T" in self.measure:
            result += np.minimum(self.texture[a], self.texture[b]).sum(1)
        both = self.size[a] + self.size[b]
        if "S" in self.measure:
            result += 1 - both / self.pixels
        if "F" in self.measure:
            hull = np.maximum(self.box[a, 2:], self.box[b, 2:]) - np.minimum(self.box[a, :2], self.box[b, :2])
            result += 1 - (hull.prod(1) - both) / self.pixels
        return result

    def join(self, a: int, b: int, new: int) -> None:
        """Region `new` is a and b."""
        total = self.size[a] + self.size[b]
        for feature in (self.colour, self.texture):
            feature[new] = (self.size[a] * feature[a] + self.size[b] * feature[b]) / total
        self.size[new] = total
        self.box[new, :2] = np.minimum(self.box[a, :2], self.box[b, :2])
        self.box[new, 2:] = np.maximum(self.box[a, 2:], self.box[b, 2:])


def _joined(first: _Regions, measure: str) -> Ints:
    """The boxes of all regions on the way, the first ones first, the whole image last: [2 R - 1, 4]."""
    state = _Joining(first, measure)
    count = len(first.size)
    near: list[set[int]] = [set() for _ in range(2 * count)]
    for a, b in first.touching.tolist():
        near[a].add(b)
        near[b].add(a)
    values = state.likeness(first.touching[:, 0], first.touching[:, 1]).tolist()
    heap = [(-value, a, b) for value, (a, b) in zip(values, first.touching.tolist(), strict=True)]
    heapq.heapify(heap)
    gone = [False] * (2 * count)
    new = count
    while heap:
        _, a, b = heapq.heappop(heap)
        if gone[a] or gone[b]:
            continue
        gone[a] = gone[b] = True
        state.join(a, b, new)
        near[new] = (near[a] | near[b]) - {a, b}
        others = sorted(near[new])
        for other in others:
            near[other] -= {a, b}
            near[other].add(new)
        if others:
            pairs = np.array(others)
            for value, other in zip(state.likeness(pairs, np.full(len(pairs), new)).tolist(), others, strict=True):
                heapq.heappush(heap, (-value, other, new))
        new += 1
    return state.box[:new]
