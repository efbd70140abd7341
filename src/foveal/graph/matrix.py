"""A convolution written out as the sparse matrix that it is.

Each row holds the kernel at the places that one output sees: y = W x + b, with x and y the maps as vectors. The same
matrix, transposed, is the transposed convolution, and the gradient of the convolution; it is not the inverse
(V. Dumoulin, F. Visin, arXiv 1603.07285, chapter 4.1).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph.shapes import check_input, text
from foveal.graph.windows import Size, Window, window

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def matrix(layer: nn.Module, input: Size) -> Tensor:
    """W of a convolution or transposed convolution on maps of shape `input` = (C, H, W), one to three dimensions.

    A sparse COO tensor [C'·H'·W', C·H·W] with layer(x).flatten() = W @ x.flatten() + b, where b is the bias, each
    number H'·W' times. Groups, strides, zero padding and dilation are in it; numbers that fall on the padding are not
    stored. Of the layer's type and device, coalesced, and differentiable with respect to its weight.

    Raises FovealError for another layer, another number of channels, padding that repeats values, and a window that
    does not fit.
    """
    check_input(input)
    if not isinstance(layer, (*_CONVS, *_TRANSPOSED)):
        raise FovealError(
            f"{type(layer).__name__} is no convolution", "give an nn.Conv2d or nn.ConvTranspose2d (or 1d, 3d)"
        )
    if len(input) != len(layer.kernel_size) + 1 or input[0] != layer.in_channels:
        raise FovealError(
            f"{type(layer).__name__} of {layer.in_channels} maps on an input of {text(input)}",
            "give (C, H, W) with as many maps and dimensions as it takes",
        )
    if layer.padding_mode != "zeros":
        raise FovealError(f"padding_mode={layer.padding_mode!r} repeats values of the map", "set padding_mode='zeros'")
    seen = window(layer)
    assert seen is not None
    size = input[1:] if layer.padding == "same" else seen.output(input[1:])
    if min(size) < 1:
        raise FovealError(f"a window of {text(seen.extent)} does not fit on {text(input)}", "give a larger input")
    output = (layer.out_channels, *size)
    if seen.transposed:  # the transpose of the convolution that goes the other way
        columns, rows, weights = _places(layer, seen, output, input)
    else:
        rows, columns, weights = _places(layer, seen, input, output)
    values = layer.weight.flatten()[weights]
    shape = (math.prod(output), math.prod(input))
    return torch.sparse_coo_tensor(torch.stack((rows, columns)), values, shape, check_invariants=False).coalesce()


def _places(conv: Any, seen: Window, input: Size, output: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and place in the weight of every number, for a convolution from `input` to `output`."""
    (maps_in, *size), (maps_out, *positions) = input, output
    device = conv.weight.device
    row = column = kernel = torch.zeros(1, dtype=torch.long, device=device)
    each = zip(size, positions, seen.kernel, seen.stride, seen.padding, seen.dilation, strict=True)
    for n, count, k, s, p, d in each:  # the dimensions one by one: o·s + k·d - p is where output o sees through k
        o = torch.arange(count, device=device)[:, None].expand(count, k)
        tap = torch.arange(k, device=device).expand(count, k)
        i = o * s + tap * d - p
        inside = (i >= 0) & (i < n)
        row = (row[:, None] * count + o[inside]).flatten()
        column = (column[:, None] * n + i[inside]).flatten()
        kernel = (kernel[:, None] * k + tap[inside]).flatten()
    read = maps_in // conv.groups
    out = torch.arange(maps_out, device=device)[:, None, None]
    own = torch.arange(read, device=device)[None, :, None]
    source = out // (maps_out // conv.groups) * read + own
    rows = out * math.prod(positions) + row + 0 * own
    columns = source * math.prod(size) + column
    weights = (out * read + own) * math.prod(seen.kernel) + kernel
    return rows.flatten(), columns.flatten(), weights.flatten()
