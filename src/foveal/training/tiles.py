"""Large images piece by piece: tiles that overlap by what the network sees, so that no seam shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph.receptive_field import receptive_field
from foveal.graph.windows import ADAPTIVE
from foveal.layers.alignment import ResizeLike
from foveal.layers.crf import DenseCRF

Seams = Literal["none", "exact", "blended"]
Span = tuple[int, int]  # first row or column of a tile, and the one behind its last

_PROBE = 512  # pixels; every stride divides it
_PLAIN_UNIT = 32  # the stride that tiles keep to where that of the network cannot be told


@dataclass(frozen=True)
class Locality:
    """What a pixel's class depends on: pixels up to `reach` away, and its place modulo `unit`.

    reach None: on more than that, such as a mean over the whole image. resizes: maps are brought to another's size, so
    that it is independent of the image's size only for multiples of `unit`.
    """

    reach: int | None
    unit: int
    resizes: bool


def locality(model: nn.Module, channels: int) -> Locality:
    """The locality of a network whose scores have its input's size."""
    resizes = any(isinstance(layer, ResizeLike) for layer in model.modules())
    unlimited = any(isinstance(layer, (DenseCRF, *ADAPTIVE)) for layer in model.modules())
    try:
        found = list(receptive_field(model, (channels, _PROBE, _PROBE)).values())
    except FovealError:  # an untraceable network, or one of a single size: nothing is promised for its seams
        return Locality(None, _PLAIN_UNIT, resizes)
    if unlimited or any(reach.shift == 0 for reach in found[-1].reaches):
        return Locality(None, _PLAIN_UNIT, resizes)
    strides = [reach.shift // math.gcd(reach.shift, reach.period) for field in found for reach in field.reaches]
    reaches = [
        max(position - reach.first(position), reach.last(position) - position)
        for reach in found[-1].reaches
        for position in range(reach.period)
    ]
    return Locality(max(reaches), math.lcm(*(stride for stride in strides if stride > 0)), resizes)


@dataclass(frozen=True)
class Tiling:
    """The spans of rows and columns whose products are an image's tiles, and what their seams are.

    "none": one tile. "exact": each pixel is taken from a tile that holds all that its class depends on. "blended": the
    network sees further than the tiles overlap, and over the overlap goes linearly from one tile's to the next's.
    """

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    overlap: int
    seams: Seams

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return len(self.rows) * len(self.columns)


def tiling(height: int, width: int, side: int, known: Locality) -> Tiling:
    """The tiles of at most `side` pixels a side of an image of `height` x `width`.

    Tiles begin at multiples of the unit, so that poolings fall as they do on the whole image. They overlap by twice the
    reach, if that leaves half a tile to each, else by a quarter of their side.
    """
    unit = known.unit
    if height <= side and width <= side:
        return Tiling(((0, height),), ((0, width),), 0, "none")
    side = max(side // unit, 4) * unit
    needed = None if known.reach is None else 2 * math.ceil(known.reach / unit) * unit
    fits = needed is not None and needed <= side // 2
    even = not known.resizes or (height % unit == 0 and width % unit == 0)
    overlap = needed if needed is not None and fits else side // 4 // unit * unit
    spans = [_spans(length, side, unit, overlap) for length in (height, width)]
    return Tiling(spans[0], spans[1], overlap, "exact" if fits and even else "blended")


def assembled(
    plan: Tiling, answer: Callable[[Span, Span], Tensor], progress: Callable[[int, int], None] | None = None
) -> Iterator[Tensor]:
    """Finished rows from top to bottom, float32 [classes, h, width], of tiles that `answer` gives for their rows and
    columns, float32 [classes, ...]. `progress` is called with (tiles done, all tiles)."""
    blend = plan.overlap if plan.seams == "blended" else 0
    down, across = _weights(plan.rows, blend), _weights(plan.columns, blend)
    open_rows: Tensor | None = None  # of the strip before, which this one overlaps
    for r, (top, bottom) in enumerate(plan.rows):
        strip: Tensor | None = None
        for c, columns in enumerate(plan.columns):
            tile = answer((top, bottom), columns)
            if strip is None:
                strip = tile.new_zeros(len(tile), bottom - top, plan.columns[-1][1])
            strip[..., slice(*columns)] += tile * across[c]
            if progress:
                progress(r * len(plan.columns) + c + 1, plan.count)
        assert strip is not None  # there is a column
        strip *= down[r][:, None]
        if open_rows is not None:
            strip[:, : open_rows.shape[1]] += open_rows
        finished = (plan.rows[r + 1][0] if r + 1 < len(plan.rows) else bottom) - top
        yield strip[:, :finished]
        open_rows = strip[:, finished:]


def _spans(length: int, side: int, unit: int, overlap: int) -> tuple[Span, ...]:
    if length <= side:
        return ((0, length),)
    starts = [*range(0, length - side, side - overlap), math.ceil((length - side) / unit) * unit]
    return tuple((start, min(start + side, length)) for start in starts)


def _weights(spans: tuple[Span, ...], blend: int) -> list[Tensor]:
    """How much each position of each span counts, float32: at every position they add up to 1."""
    found = [torch.ones(end - start) for start, end in spans]
    for i in range(len(spans) - 1):
        centre = (spans[i + 1][0] + spans[i][1]) / 2
        positions = torch.arange(spans[i + 1][0], spans[i][1]) + 0.5 - centre
        rise = (positions / blend + 0.5).clamp(0, 1) if blend else (positions > 0).float()
        found[i][-len(rise) :] *= 1 - rise
        found[i + 1][: len(rise)] *= rise
    return found
