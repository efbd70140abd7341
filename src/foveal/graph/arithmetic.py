"""The size questions of convolution, pooling and transposed convolution, answered with the lectures' formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from foveal.errors import FovealError, unknown
from foveal.graph.windows import Size, Window

Kind = Literal["conv", "pool", "transposed"]
KINDS: tuple[Kind, ...] = ("conv", "pool", "transposed")
_MOST_DIMS = 3


@dataclass(frozen=True)
class Arithmetic:
    """What one layer makes of a grid, and what it costs. `arithmetic` makes one.

    `window` has a number for each dimension of `input`, the grid without channels. `filters` is 0 for pooling.
    """

    kind: Kind
    input: Size
    window: Window
    channels: int
    filters: int
    groups: int
    bias: bool

    @property
    def exact(self) -> tuple[Fraction, ...]:
        """(W - F + 2P)/S + 1 of each dimension before rounding; transposed: S(W - 1) + F - 2P, and what is added."""
        if self.window.transposed:
            return tuple(map(Fraction, self.output))
        each = zip(self.input, self.window.extent, self.window.padding, self.window.stride, strict=True)
        return tuple(Fraction(n - e + 2 * p, s) + 1 for n, e, p, s in each)

    @property
    def output(self) -> Size:
        """The grid that comes out."""
        return self.window.output(self.input)

    @property
    def divides(self) -> bool:
        """Whether the windows cover the padded grid without a rest, in every dimension."""
        return all(size.denominator == 1 for size in self.exact)

    @property
    def maps(self) -> int:
        """Channels that come out."""
        return self.filters or self.channels

    @property
    def weights(self) -> int:
        """Numbers in the filters: F · F · D · K, of grouped ones D/groups channels each."""
        return math.prod(self.window.kernel) * self.channels // self.groups * self.filters

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.filters * self.bias

    @property
    def values(self) -> int:
        """Numbers that come out, of all channels."""
        return math.prod(self.output) * self.maps

    @property
    def macs(self) -> int:
        """Multiply-adds. A transposed convolution is counted as it writes: padding cut off is counted too."""
        return math.prod(self.input if self.window.transposed else self.output) * self.weights

    def reads(self, dim: int, position: int) -> tuple[int, ...]:
        """Positions of the input, from -padding on, that an output reads; transposed: of the output, that an input
        writes."""
        w = self.window
        start = position * w.stride[dim] - w.padding[dim]
        return tuple(start + i * w.dilation[dim] for i in range(w.kernel[dim]))

    def unused(self, dim: int) -> int:
        """Positions at the end of the padded grid that no window reaches."""
        if self.window.transposed:
            return 0
        last = self.reads(dim, self.output[dim] - 1)[-1]
        return max(0, self.input[dim] + self.window.padding[dim] - 1 - last)

    def writers(self, dim: int) -> tuple[int, ...]:
        """Of a transposed convolution: how many inputs write to each output."""
        counts = [0] * self.output[dim]
        for position in range(self.input[dim]):
            for place in self.reads(dim, position):
                if 0 <= place < len(counts):
                    counts[place] += 1
        return tuple(counts)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        w = self.window
        return {
            "kind": self.kind,
            "input": [self.channels, *self.input],
            "kernel": list(w.kernel),
            "stride": list(w.stride),
            "padding": list(w.padding),
            "dilation": list(w.dilation),
            "exact": [float(size) for size in self.exact],
            "divides": self.divides,
            "output": [self.maps, *self.output],
            "weights": self.weights,
            "parameters": self.parameters,
            "values": self.values,
            "macs": self.macs,
        }


def arithmetic(
    kind: Kind,
    input: Size,
    kernel: Size,
    *,
    stride: Size | None = None,
    padding: Size = (0,),
    dilation: Size = (1,),
    output_padding: Size = (0,),
    channels: int = 1,
    filters: int = 1,
    groups: int = 1,
    bias: bool = True,
    ceil: bool = False,
) -> Arithmetic:
    """One layer on a grid of `input` positions: its output's size, whether the stride divides, parameters and work.

    Tuples have one number for every dimension of `input` or one for all. `stride` is by default 1, and for pooling the
    window itself. `filters` and `groups` are not for pooling, `ceil` (a last window over the edge counts) is for
    pooling alone, `output_padding` for transposed convolution.

    Raises FovealError for an unknown kind, numbers that are too small, a window larger than the padded input, and
    groups that do not divide.
    """
    if kind not in KINDS:
        raise unknown("kind of layer", str(kind), KINDS)
    dims = len(input)
    if not 1 <= dims <= _MOST_DIMS:
        raise FovealError(f"a grid of {dims} dimensions", "give one to three: a sequence, an image, a volume")
    if kind == "pool" and (filters != 1 or groups != 1):
        raise FovealError("a pooling has no filters and no groups", "leave them away, or ask about conv")
    if kind != "pool" and ceil:
        raise FovealError(f"rounding up is for poolings, not for {kind}", "leave ceil away")
    if kind != "transposed" and any(output_padding):
        raise FovealError(f"output padding is for transposed convolutions, not for {kind}", "leave it away")
    numbers = {
        "input": (input, 1),
        "kernel": (kernel, 1),
        "stride": (stride or (kernel if kind == "pool" else (1,)), 1),
        "padding": (padding, 0),
        "dilation": (dilation, 1),
        "output padding": (output_padding, 0),
    }
    grid, size, steps, pad, holes, extra = (_each(name, *pair, dims) for name, pair in numbers.items())
    _check_channels(channels, filters, groups)
    window = Window(size, steps, pad, holes, ceil, kind == "transposed", extra)
    result = Arithmetic(
        kind, grid, window, channels, 0 if kind == "pool" else filters, groups, bias and kind != "pool"
    )  # fmt: skip
    _check_fit(result)
    return result


def _each(name: str, numbers: Size, least: int, dims: int) -> Size:
    if len(numbers) not in (1, dims):
        raise FovealError(
            f"{len(numbers)} numbers for the {name} of a grid of {dims} dimensions", f"give one, or {dims}"
        )
    if min(numbers) < least:
        raise FovealError(f"{name} {min(numbers)} is too small", f"give whole numbers from {least}")
    return numbers * dims if len(numbers) == 1 else numbers


def _check_channels(channels: int, filters: int, groups: int) -> None:
    if min(channels, filters, groups) < 1:
        raise FovealError(f"{channels} channels, {filters} filters, {groups} groups", "there is one of each at least")
    if channels % groups or filters % groups:
        raise FovealError(
            f"{groups} groups do not divide {channels} channels and {filters} filters", "choose a common divisor"
        )


def _check_fit(found: Arithmetic) -> None:
    w = found.window
    for n, e, p, k, o in zip(found.input, w.extent, w.padding, w.kernel, found.output, strict=True):
        if found.kind == "pool" and 2 * p > k:
            raise FovealError(f"padding {p} of a pooling of {k}", "padding is at most half of the window")
        if not w.transposed and n + 2 * p < e:
            padded = f"{n} + 2·{p} = {n + 2 * p}" if p else str(n)
            raise FovealError(
                f"a window over {e} positions does not fit into {padded}", "give a larger input, or more padding"
            )
        if o < 1:
            raise FovealError(f"the output would have {o} positions", "give less padding")
    for x, s, d in zip(w.extra, w.stride, w.dilation, strict=True):
        if x and x >= max(s, d):
            raise FovealError(f"output padding {x} with stride {s}", "it is smaller than the stride or the dilation")
