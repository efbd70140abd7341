"""What part of the image each value of each layer sees, exactly, through any joins.

Along one dimension, position o of a layer sees the image's positions first(o) … last(o). Both repeat with a shift:
after `period` positions the same pattern stands `shift` image positions further. Convolution and pooling have period 1;
transposed convolution, upsampling and uneven adaptive pooling have more, which is why a single affine rule would be
wrong for them. Positions are those of the unpadded image and may lie outside it (in the padding). Holes of dilated
windows are not shown; for a dilated transposed convolution the extent is an upper bound. So it is for positions that
zero-insertion leaves empty (they get the extent between their neighbours'). What unpooling puts where is the gradient's
way alone: its switches, which have no slope, look at more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

from torch import nn

from foveal.errors import FovealError
from foveal.graph.shapes import LayerShape, check_input, shapes, text
from foveal.graph.windows import ADAPTIVE, GUIDED, Size, Window, output_sizes, window
from foveal.layers.alignment import CropLike, ResizeLike
from foveal.layers.crf import DenseCRF


@dataclass(frozen=True)
class Reach:
    """One dimension: position o sees lo[o % period] … hi[o % period], moved by shift * (o // period)."""

    lo: tuple[int, ...]
    hi: tuple[int, ...]
    shift: int

    @property
    def period(self) -> int:
        """After how many positions the pattern repeats."""
        return len(self.lo)

    @property
    def size(self) -> int:
        """The largest extent of any position."""
        return max(hi - lo + 1 for lo, hi in zip(self.lo, self.hi, strict=True))

    def first(self, position: int) -> int:
        """The first image position that `position` sees."""
        turns, phase = divmod(position, self.period)
        return self.lo[phase] + turns * self.shift

    def last(self, position: int) -> int:
        """The last image position that `position` sees."""
        turns, phase = divmod(position, self.period)
        return self.hi[phase] + turns * self.shift

    def through(self, layer: Reach) -> Reach:
        """The reach of a layer that looks at this one's positions as `layer` says."""
        period = layer.period * self.period // math.gcd(layer.shift, self.period)
        shift = self.shift * layer.shift * (period // layer.period) // self.period
        lo = tuple(self.first(layer.first(o)) for o in range(period))
        hi = tuple(self.last(layer.last(o)) for o in range(period))
        return _shortest(Reach(lo, hi, shift))

    def joined(self, other: Reach) -> Reach:
        """The reach of a sum or concatenation. Raises ValueError where the strides differ."""
        if self.shift * other.period != other.shift * self.period:
            raise ValueError("different strides")
        period = math.lcm(self.period, other.period)
        lo = tuple(min(self.first(o), other.first(o)) for o in range(period))
        hi = tuple(max(self.last(o), other.last(o)) for o in range(period))
        return _shortest(Reach(lo, hi, self.shift * (period // self.period)))


@dataclass(frozen=True)
class Field:
    """The receptive field of a layer, one number per dimension of the image's grid.

    `size` is the extent (the largest, where it differs between positions), `start` the first image position that output
    position 0 sees (negative: in the padding), `stride` how far the field moves from one output position to the next,
    a fraction after upsampling, and 0 for vectors (after Flatten), whose values all see the same.
    """

    reaches: tuple[Reach, ...]

    @property
    def size(self) -> Size:
        """The extent in image positions, those of the padding included."""
        return tuple(reach.size for reach in self.reaches)

    @property
    def stride(self) -> tuple[Fraction, ...]:
        """The layer's stride in image positions (also called jump)."""
        return tuple(Fraction(reach.shift, reach.period) for reach in self.reaches)

    @property
    def start(self) -> Size:
        """The first image position seen by output position 0."""
        return tuple(reach.lo[0] for reach in self.reaches)

    @property
    def centre(self) -> tuple[float, ...]:
        """The middle of what output position 0 sees."""
        return tuple((reach.lo[0] + reach.hi[0]) / 2 for reach in self.reaches)

    def interval(self, position: Size) -> tuple[tuple[int, int], ...]:
        """First and last image position that the output at `position` sees, per dimension; maybe in the padding."""
        each = zip(self.reaches, position, strict=True)
        return tuple((reach.first(o), reach.last(o)) for reach, o in each)


def receptive_field(model: nn.Module, input: Size) -> dict[str, Field]:
    """The receptive field of every layer and join by path, for one image of shape `input`, in one to three dimensions.

    Statistics of batch norm are constants, as in evaluation. Raises FovealError for an unknown layer, a network that
    cannot take the input, a join of maps with different strides, and layers that mix positions in other ways.
    """
    check_input(input)
    return fields(shapes(model, input), input)


def fields(layers: list[LayerShape], input: Size) -> dict[str, Field]:
    """The same from shapes that are known already."""
    found = {"input": Field((Reach((0,), (0,), 1),) * (len(input) - 1))}
    for layer in layers:
        sources = [found[source] for source in layer.sources]
        found[layer.path] = _join(layer, sources) if layer.module is None else _look(layer, layer.module, sources)
    return {path: field for path, field in found.items() if path != "input"}


def _look(layer: LayerShape, module: nn.Module, sources: list[Field]) -> Field:
    if len(sources) != 1 and not isinstance(module, GUIDED):
        raise FovealError(
            f"layer '{layer.path}' ({layer.kind}) takes {len(sources)} inputs", "join them with + or torch.cat"
        )
    source, size = sources[0], layer.inputs[0][1:]
    if isinstance(module, ADAPTIVE):
        return _through(source, [_adaptive(n, o) for n, o in zip(size, output_sizes(module, size), strict=True)])
    if isinstance(module, nn.Upsample | ResizeLike | CropLike):
        each = zip(size, layer.output[1:], strict=True)
        return _through(source, [_fitted(layer, module, n, o) for n, o in each])
    seen = window(module, path=layer.path)
    if seen is None:
        return _whole(layer, source, size)
    if seen.kernel == seen.stride == (1,):
        return source
    return _through(source, [_sliding(seen.over(len(size)), dim) for dim in range(len(size))])


def _join(layer: LayerShape, sources: list[Field]) -> Field:
    if layer.kind == "flatten":
        return _whole(layer, sources[0], layer.inputs[0][1:])
    if any(size[1:] != layer.output[1:] for size in layer.inputs):
        raise FovealError(
            f"the join '{layer.path}' puts {' and '.join(map(text, layer.inputs))} together along the grid",
            "maps can be joined along channels only",
        )
    try:
        return reduce(_joined, sources)
    except ValueError as error:
        strides = " and ".join("x".join(map(str, field.stride)) for field in sources)
        raise FovealError(
            f"the join '{layer.path}' puts maps of strides {strides} together",
            "their positions are not the same places of the image; resample one of them first",
        ) from error


def _joined(a: Field, b: Field) -> Field:
    return Field(tuple(p.joined(q) for p, q in zip(a.reaches, b.reaches, strict=True)))


def _through(source: Field, layer: list[Reach]) -> Field:
    return Field(tuple(reach.through(step) for reach, step in zip(source.reaches, layer, strict=True)))


def _whole(layer: LayerShape, source: Field, size: Size) -> Field:
    """A layer that makes a vector of its whole input, or of a vector."""
    if all(reach.shift == 0 for reach in source.reaches):
        return source
    if len(layer.output) > 1 and not isinstance(layer.module, DenseCRF):
        raise FovealError(
            f"layer '{layer.path}' ({layer.kind}) mixes the positions of a map and keeps it a map",
            "put nn.Flatten before it, or register its window",
        )
    return _through(source, [Reach((0,), (n - 1,), 0) for n in size])


def _sliding(seen: Window, dim: int) -> Reach:
    stride, start, extent = seen.stride[dim], -seen.padding[dim], seen.extent[dim]
    if not seen.transposed:
        return Reach((start,), (start + extent - 1,), stride)
    # Input i writes to outputs i * stride + start … + extent - 1; which i write to output o?
    lo = tuple(-((extent - 1 - o + start) // stride) for o in range(stride))
    hi = tuple((o - start) // stride for o in range(stride))
    return Reach(lo, hi, 1)


def _adaptive(size: int, wanted: int) -> Reach:
    common = math.gcd(size, wanted)
    cells = range(wanted // common)
    lo = tuple(i * size // wanted for i in cells)
    hi = tuple(-(-(i + 1) * size // wanted) - 1 for i in cells)
    return Reach(lo, hi, size // common)


def _fitted(layer: LayerShape, module: nn.Upsample | ResizeLike | CropLike, size: int, wanted: int) -> Reach:
    """A layer whose result depends on both sizes."""
    if isinstance(module, ResizeLike):
        return _resized(module.mode, size, wanted)
    if isinstance(module, nn.Upsample):
        return _upsampled(layer, module, size, wanted)
    start = (size - wanted) // 2 if module.offset is None else module.offset
    return Reach((start,), (start,), 1)


def _upsampled(layer: LayerShape, module: nn.Upsample, size: int, wanted: int) -> Reach:
    """Output o reads source position (o + 1/2) size/wanted - 1/2, or that of the mode, and its two neighbours."""
    if wanted % size:
        raise FovealError(
            f"layer '{layer.path}' (Upsample) makes {wanted} of {size} positions", "use a whole scale factor"
        )
    linear = module.mode in ("linear", "bilinear", "trilinear") and not module.align_corners
    if not linear and module.mode not in ("nearest", "nearest-exact"):
        raise FovealError(
            f"layer '{layer.path}' (Upsample, {module.mode}) has no stride that is the same everywhere",
            "use mode nearest, or linear, bilinear, trilinear with align_corners=False",
        )
    return _resized("bilinear" if linear else "nearest", size, wanted)


def _resized(mode: str, size: int, wanted: int) -> Reach:
    cells = range(wanted // math.gcd(size, wanted))
    if mode == "nearest":
        lo = hi = tuple(o * size // wanted for o in cells)
    else:
        lo = tuple(((2 * o + 1) * size - wanted) // (2 * wanted) for o in cells)
        hi = tuple(-((wanted - (2 * o + 1) * size) // (2 * wanted)) for o in cells)
    return Reach(lo, hi, size // math.gcd(size, wanted))


def _shortest(reach: Reach) -> Reach:
    """The same with the smallest period."""
    for period in range(1, reach.period):
        if reach.period % period or reach.shift * period % reach.period:
            continue
        short = Reach(reach.lo[:period], reach.hi[:period], reach.shift * period // reach.period)
        if all(short.first(o) == reach.lo[o] and short.last(o) == reach.hi[o] for o in range(reach.period)):
            return short
    return reach
