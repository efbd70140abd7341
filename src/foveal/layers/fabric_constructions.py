"""Weights with which a fabric computes what other networks have layers for.

Saxena and Verbeek (2016), section 3.2. Each function makes a small trellis of dense edges without batch norm, sets its
weights by hand, and says which node and maps hold the result. Images are not negative, as responses behind a ReLU are;
results are seen through a ReLU, too. Sides are multiples of 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from foveal.errors import FovealError, unknown
from foveal.layers.fabric import Place, Trellis

_CENTRE = torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])
_VERTICAL, _HORIZONTAL = (2, 1), (1, 2)  # where the neighbour below, or to the right, stands in a 3x3 kernel


@dataclass(frozen=True)
class Construction:
    """A trellis whose weights are set, and the node whose first `maps` maps are the result."""

    trellis: Trellis
    place: Place
    maps: int

    def __call__(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] → the result [N, maps, H', W']."""
        return self.trellis.responses(images)[self.place][:, : self.maps]


def average_pooling(maps: int = 1, window: Literal[2, 3] = 2) -> Construction:
    """Average pooling over windows of 2x2, or of 3x3 with padding 1, with stride 2: a uniform filter on a strided edge.

    [N, maps, H, W] → [N, maps, H/2, W/2].
    """
    if window not in (2, 3):
        raise unknown("window of average pooling", str(window), ("2", "3"))
    trellis = _blank(maps, 2, maps)
    uniform = torch.zeros(3, 3)
    uniform[3 - window :, 3 - window :] = 1 / window**2
    for m in range(maps):
        _set(trellis, "node2_1.finer", m, m, uniform)
    return Construction(trellis, (2, 1), maps)


def max_pooling(maps: int = 1) -> Construction:
    """2x2 max pooling, [N, maps, H, W] → [N, maps, H/2, W/2].

    max(a, b) = (a + b)/2 + relu((a - b)/2) + relu((b - a)/2) takes three maps and a second layer that adds them up: for
    vertical neighbours, then for horizontal ones with the stride.
    """
    trellis = _blank(maps, 5, 3 * maps)
    for split, (row, column), add in (
        ("node2_0.same", _VERTICAL, "node3_0.same"),
        ("node4_0.same", _HORIZONTAL, "node5_1.finer"),
    ):
        neighbour = torch.zeros(3, 3)
        neighbour[row, column] = 1
        for m in range(maps):
            for turn, kernel in enumerate((_CENTRE + neighbour, _CENTRE - neighbour, neighbour - _CENTRE)):
                _set(trellis, split, maps * turn + m, m, kernel / 2)
                _set(trellis, add, m, maps * turn + m, _CENTRE)
    return Construction(trellis, (5, 1), maps)


def strided_convolution(weight: Tensor) -> Construction:
    """relu of the convolution with `weight` [out, in, 3, 3], stride 2, padding 1: one edge to the coarser scale."""
    out, maps = _filters(weight, 3)
    trellis = _blank(maps, 2, max(out, maps))
    for o in range(out):
        for i in range(maps):
            _set(trellis, "node2_1.finer", o, i, weight[o, i])
    return Construction(trellis, (2, 1), out)


def interpolation(mode: Literal["nearest", "bilinear"], maps: int = 1) -> Construction:
    """Upsampling by 2 of every second pixel, x[::2, ::2]: an edge to the finer scale. [N, maps, H, W] → the same.

    «nearest» repeats each value in a 2x2 block; «bilinear» puts means between the values, and halves the last row and
    column, behind which there are zeros.
    """
    kernels = {
        "nearest": torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 0]]),
        "bilinear": torch.tensor([[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]]),
    }
    if mode not in kernels:
        raise unknown("interpolation", str(mode), kernels)
    trellis = _blank(maps, 2, maps)
    for m in range(maps):
        _set(trellis, "node1_1.down", m, m, _CENTRE)
        _set(trellis, "node2_0.coarser", m, m, kernels[mode])
    return Construction(trellis, (2, 0), maps)


def larger_filter(weight: Tensor) -> Construction:
    """relu of the 5x5 convolution with `weight` [out, in, 5, 5], padding 2.

    The first layer copies the nine neighbours of each pixel into nine maps; a 3x3 kernel over those sees 5x5 pixels.
    Repeated, this gives filters of any size.
    """
    out, maps = _filters(weight, 5)
    trellis = _blank(maps, 3, max(out, 9 * maps))
    shifted = [(row, column) for row in range(3) for column in range(3)]
    for i in range(maps):
        for s, (row, column) in enumerate(shifted):
            copy = torch.zeros(3, 3)
            copy[row, column] = 1
            _set(trellis, "node2_0.same", 9 * i + s, i, copy)
            for o in range(out):
                part = torch.zeros(3, 3)
                for r in _shares(row):
                    for c in _shares(column):
                        part[r - row, c - column] = weight[o, i, r, c]
                _set(trellis, "node3_0.same", o, 9 * i + s, part)
    return Construction(trellis, (3, 0), out)


def _shares(shift: int) -> range:
    """Rows of a 5x5 filter that the copy shifted to row `shift` of 3x3 serves; row r is then row r - shift of 3x3."""
    return (range(2), range(2, 3), range(3, 5))[shift]


def _filters(weight: Tensor, size: int) -> tuple[int, int]:
    if weight.ndim != 4 or tuple(weight.shape[2:]) != (size, size):
        raise FovealError(f"a weight of shape {tuple(weight.shape)}", f"give [out, in, {size}, {size}]")
    return weight.shape[0], weight.shape[1]


def _blank(maps: int, layers: int, channels: int) -> Trellis:
    """Two scales; the first layer holds the image, and what no construction sets is zero."""
    trellis = Trellis(maps, 2, layers, channels, normalise=False)
    with torch.no_grad():
        for parameter in trellis.parameters():
            parameter.zero_()
    for m in range(maps):
        _set(trellis, "node1_0.image", m, m, _CENTRE)
    return trellis


@torch.no_grad()
def _set(trellis: Trellis, path: str, out: int, map_in: int, kernel: Tensor) -> None:
    """Give an edge the kernel [3, 3] that joins two maps; torch mirrors the kernels of transposed convolutions."""
    conv = trellis.get_submodule(path)
    weight = conv.get_parameter("weight")
    if isinstance(conv, nn.ConvTranspose2d):
        weight[map_in, out] = kernel.flip(0, 1)
    else:
        weight[out, map_in] = kernel
