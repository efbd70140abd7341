"""The filters of a network's first layer as pictures.

As in Krizhevsky, Sutskever and Hinton (2012), figure 3, and Zeiler and Fergus (2014), figure 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations._common import Explanation
from foveal.explanations._draw import grid

_WIDTH, _TILE = 500, 80  # pixels of the grid, and at most of one tile, when the enlargement is not given


def filters(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    input: Sequence[int] | None = None,
    layer: str | None = None,
    columns: int | None = None,
    zoom: int | None = None,
    scale: str = "each",
) -> Explanation:
    """The weights that meet the pixels, one tile per filter.

    Arrays: filters, the weights as the layer has them.

    Mid-grey is a weight of 0, brighter is positive, darker is negative. A convolution over three channels is shown in
    colour, over one channel in grey; over any other number, each channel is a tile and each filter a row. A linear
    layer shows one template per output, in the shape of `image`.

    Args:
        model: a network; nothing of it is changed, and it is not run.
        image: an image [C, H, W] or batch [B, C, H, W] as the network takes it. Only its shape is used, and only for a
            linear layer; without it and without `input`, a square grey (or colour) image is assumed.
        target: unused: filters belong to no class.
        input: (C, H, W) where no image is given.
        layer: the layer's name; by default the first convolution or linear layer in the order of definition.
        columns: tiles in a row; by default the grid is about square.
        zoom: enlargement of each weight in pixels; by default the grid comes out about 500 pixels wide.
        scale: "each" filter uses the whole range of brightness, or "all" share one scale and can be compared.

    Raises:
        FovealError: no such layer, a layer without filters to show, or an image that does not fit a linear layer.
    """
    if scale not in ("each", "all"):
        raise FovealError(f"scale={scale!r}: filters are scaled together or one by one", "give scale=each or scale=all")
    name, found = _layer(model, layer)
    weights = found.weight.detach().to("cpu", torch.float32)
    tiles = (
        weights
        if isinstance(found, nn.Conv2d)
        else _templates(weights, image.shape if image is not None else input, name)
    )
    if not bool(tiles.isfinite().all()):
        raise FovealError(f"{name} holds weights that are not finite", "the training has diverged: lower its rate")
    dims = (1, 2, 3) if scale == "each" else (0, 1, 2, 3)
    largest = tiles.abs().amax(dims, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    pixels = (tiles / largest * 127.5 + 127.5).round().to(torch.uint8)
    if pixels.shape[1] not in (1, 3):
        columns = columns or pixels.shape[1]
        pixels = pixels.flatten(0, 1)[:, None]
    columns = columns or math.ceil(math.sqrt(len(pixels)))
    side = max(pixels.shape[2:])
    zoom = zoom or max(1, min(_TILE // side, _WIDTH // (columns * side)))
    picture = grid(pixels.expand(-1, 3, -1, -1), columns, zoom)
    return Explanation({"filters": weights.clone()}, {"filters": picture}, f"{name}: {len(weights)} filters")


def _layer(model: nn.Module, name: str | None) -> tuple[str, nn.Conv2d | nn.Linear]:
    if name is None:
        for path, module in model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                return path or type(module).__name__, module
        raise FovealError(
            f"{type(model).__name__} has no convolution and no linear layer, so no filters to show",
            "filters are shown of torch.nn.Conv2d and torch.nn.Linear layers",
        )
    layers = {path: module for path, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    if name not in layers:
        kinds = {path: type(module).__name__ for path, module in model.named_modules()}
        why = f"is a {kinds[name]}" if name in kinds else "does not exist"
        shown = ", ".join(list(layers)[:8]) + (", …" if len(layers) > 8 else "")
        raise FovealError(f"layer={name} {why}", f"layers with filters: {shown or 'none'}")
    return name, layers[name]


def _templates(weights: Tensor, image: Sequence[int] | None, name: str) -> Tensor:
    """The rows of a linear layer [N, features] in the shape of the image: [N, C, H, W]."""
    features = weights.shape[1]
    if image is not None:
        shape = tuple(image[-3:])
        if len(shape) == 3 and math.prod(shape) == features:
            return weights.reshape(-1, *shape)
        raise FovealError(
            f"{name} takes {features} values, but the image of shape {tuple(image)} has {math.prod(shape)}",
            "give an image of the size that the network takes",
        )
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if channels * side * side == features:
            return weights.reshape(-1, channels, side, side)
    raise FovealError(
        f"{name} takes {features} values, which are no square image", "give an image that the network takes"
    )
