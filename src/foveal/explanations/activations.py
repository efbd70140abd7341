"""The maps of a layer on an image: where each of its filters answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.errors import unknown
from foveal.explanations._common import Explanation, layer_of, outputs, single
from foveal.explanations._draw import Spread, columns_for, enlarged, grid, heat, photograph, sheet
from foveal.graph.modes import evaluating

_WIDTH, _TILE = 640, 96  # pixels of the grid, and at most of one map


def activations(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    layer: str | None = None,
    columns: int | None = None,
    scale: str = "all",
    mean: Spread = None,
    std: Spread = None,
) -> Explanation:
    """Every map of one layer, as it comes out of that layer (before the ReLU, if that is a layer of its own).

    Arrays: maps [C, h, w]. The sheet shows the image and the maps in the order of the filters, dark to bright.

    Args:
        model: any network; it need not be traceable. Left as it was.
        image: one image [C, H, W] as the network takes it.
        target: unused: maps belong to no class.
        layer: a layer that gives maps; by default the last convolution. `relu1`, `pool2` are layers, too.
        columns: maps in a row; by default the grid is about square.
        scale: "all" maps share one scale of brightness and can be compared, or "each" uses its whole range.
        mean, std: how the image was normalised, for drawing it.

    Raises:
        FovealError: no image or several, an image that does not fit, a layer that does not exist or gives no maps.
    """
    if scale not in ("each", "all"):
        raise unknown("scale", scale, ("each", "all"))
    images = single(image, "activations")
    name = layer_of(model, layer)
    with evaluating(model), torch.no_grad():
        seen = outputs(model, [name], images)[1][name][0]
    low, high = (float(seen.min()), float(seen.max())) if scale == "all" else (None, None)
    columns = columns or columns_for(len(seen))
    zoom = max(1, min(_TILE // max(seen.shape[1:]), _WIDTH // (columns * max(seen.shape[1:]))))
    pictured = grid(torch.stack([heat(map_, low, high) for map_ in seen]), columns, zoom)
    picture = enlarged(photograph(images[0], mean, std), 224)
    silent = int((seen.flatten(1).amax(1) <= 0).sum())
    text = f"{name}: {len(seen)} maps of {seen.shape[1]}x{seen.shape[2]}, {silent} of them nowhere above 0"
    return Explanation({"maps": seen}, {"activations": sheet([(picture, "image"), (pictured, text)])}, text)
