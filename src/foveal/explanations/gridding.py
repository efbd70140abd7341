"""Which pixels a unit of a layer sees, and how often: holes in its receptive field are the gridding of dilation.

F. Yu, V. Koltun, T. Funkhouser, «Dilated residual networks», CVPR 2017, section 4 (gridding); P. Wang et al.,
«Understanding convolution for semantic segmentation», WACV 2018, figure 2 (which pixels count).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError, unknown
from foveal.explanations._common import Explanation, batch
from foveal.explanations._draw import enlarged, heat, sheet
from foveal.graph.receptive_field import fields
from foveal.graph.shapes import LayerShape, shapes
from foveal.graph.windows import window

_SIDE = 320  # pixels of the picture


def gridding(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    input: Sequence[int] | None = None,
    layer: str | None = None,
    place: Sequence[int] | None = None,
) -> Explanation:
    """The number of paths from every pixel to one position of a layer, all filters thought full.

    A pixel within the receptive field without a path is a hole: several layers of the same dilation leave a grid of
    them. Arrays: paths, float64 [H, W].

    Args:
        model: a network that can be traced; its weights do not matter, and it is not run.
        image: only its size is used.
        target: unused.
        input: (C, H, W) where no image is given.
        layer: by default the last one that has maps of more than one position.
        place: [row, column] in the layer; by default its middle.

    Raises:
        FovealError: no size, an unknown layer or place, a layer on the way through which paths cannot be counted.
    """
    size = tuple(batch(image, "gridding").shape[1:]) if image is not None else tuple(input or ())
    if len(size) != 3:
        raise FovealError("gridding needs the size of the image", "give input=(C, H, W), or an image")
    layers = shapes(model, size)
    paths = {found.path: found for found in layers}
    spatial = [found.path for found in layers if len(found.output) == 3 and max(found.output[1:]) > 1]
    if layer is not None and layer not in paths:
        raise unknown("layer", layer, paths)
    if not spatial or (layer is not None and layer not in spatial):
        raise FovealError(f"layer '{layer}' has no map of positions", f"choose one of {', '.join(spatial[:8])}")
    name = layer or spatial[-1]
    grid = paths[name].output[1:]
    at = tuple(place) if place is not None else tuple(n // 2 for n in grid)
    if len(at) != 2 or not all(0 <= p < n for p, n in zip(at, grid, strict=True)):
        raise FovealError(
            f"place={list(at)}: the maps of '{name}' are {grid[0]}x{grid[1]}", "give [row, column] from 0"
        )
    counts = _counted(layers, name, (at[0], at[1]), size)
    edges = [
        (max(0, a), min(n - 1, b)) for (a, b), n in zip(fields(layers, size)[name].interval(at), size[1:], strict=True)
    ]
    inner = counts[edges[0][0] : edges[0][1] + 1, edges[1][0] : edges[1][1] + 1]
    holes = int((inner == 0).sum())
    text = f"{name} at {at[0]}, {at[1]} sees {inner.shape[0]}x{inner.shape[1]} pixels, {holes} of them by no path"
    shown = enlarged(heat((1 + inner).log()), _SIDE)
    return Explanation({"paths": counts}, {"gridding": sheet([(shown, text)])}, text)


def _counted(layers: list[LayerShape], name: str, at: tuple[int, int], size: tuple[int, ...]) -> Tensor:
    """Paths from each position of the image [H, W]: ones sent back from one position of a layer."""
    by_path = {layer.path: layer for layer in layers}
    start = torch.zeros(by_path[name].output[1:], dtype=torch.float64)
    start[at] = 1
    back: dict[str, Tensor] = {name: start}
    for layer in reversed(layers):
        if layer.path not in back:
            continue
        signal = back.pop(layer.path)
        for source, shape in zip(layer.sources, layer.inputs, strict=True):
            part = signal if layer.module is None else _through(layer, layer.module, signal, (shape[1], shape[2]))
            back[source] = back[source] + part if source in back else part
    return back.get("input", torch.zeros(size[1:], dtype=torch.float64))


def _through(layer: LayerShape, module: nn.Module, signal: Tensor, size: tuple[int, int]) -> Tensor:
    """Counts [h, w] behind a layer, sent back to its input of `size`: every tap of its window is one path."""
    seen = window(module, path=layer.path)
    if seen is None or seen.transposed:
        raise FovealError(f"layer '{layer.path}' ({layer.kind}) is no sliding window", "choose a layer before it")
    seen = seen.over(2)
    numbers: Any = (seen.stride, 0, seen.dilation)
    ones = torch.ones(1, 1, *seen.kernel, dtype=torch.float64)
    wide = F.conv_transpose2d(signal[None, None], ones, None, numbers[0], 0, 0, 1, numbers[2])[0, 0]
    top, left = seen.padding
    whole = torch.zeros(size, dtype=torch.float64)
    inside = wide[top : top + size[0], left : left + size[1]]
    whole[: inside.shape[0], : inside.shape[1]] = inside
    return whole
