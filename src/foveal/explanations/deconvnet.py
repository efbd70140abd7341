"""What in the image a unit of any layer answered to, by Zeiler and Fergus' deconvolutional network.

M. D. Zeiler, R. Fergus, «Visualizing and understanding convolutional networks», ECCV 2014, section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations._common import Explanation, layer_of, single
from foveal.explanations._deconvolution import Deconvnet
from foveal.explanations._draw import Spread, enlarged, photograph, sheet, signed
from foveal.explanations._patches import box, cut
from foveal.graph.modes import evaluating
from foveal.graph.receptive_field import receptive_field
from foveal.layers.unpooling import Overlap

_SIDE = 224  # pixels of a picture on the sheet


def deconvnet(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    layer: str | None = None,
    unit: int | None = None,
    place: Sequence[int] | None = None,
    overlap: Overlap = "last",
    mean: Spread = None,
    std: Spread = None,
) -> Explanation:
    """One activation of a layer, everything else there set to zero, sent back to the pixels.

    On the way back a max pooling puts each value where its largest came from (its switch), a ReLU lets through what is
    positive, a convolution filters with its own filters flipped. What each kind of layer does, and what the paper
    leaves open, is said in `foveal.explanations._deconvolution`.

    Arrays: projection [C, H, W], and place: unit, row, column of the activation and its value. The sheet shows the
    image and the projection whole, then the part that the unit sees of both.

    Args:
        model: a network that can be traced, of convolutions, ReLUs and max poolings up to the layer; left as it was.
        image: one image [C, H, W] as the network takes it.
        target: unused: what is explained is a unit. For a class name the last layer, and the class as its unit.
        layer: where the unit is; by default the last convolution. `fc6` and joins are layers, too.
        unit: the map, counted from 0; by default the one with the strongest activation.
        place: [row, column] in that map; by default where it is strongest.
        overlap: where overlapping windows of a pooling chose the same pixel: "last", the later one's value stays, which
            is unpooling to the letter, or "sum", which is what a gradient does. Without overlaps they are the same.
        mean, std: how the image was normalised, for drawing it.

    Raises:
        FovealError: a network that cannot be traced (the line is named), a layer on the way without a way back (mean
            pooling leaves no switches), a unit or place that does not exist, or that is silent on this image.
    """
    images = single(image, "deconvnet")
    net = Deconvnet(model, layer or layer_of(model, None), overlap)
    with evaluating(model):
        output = net.forward(images)[0]  # [C', h, w] or [C']
        unit, row, column = _chosen(output, unit, place, net.layer)
        at = torch.tensor([[row, column]])
        projection = net.project(images, torch.tensor([unit]), at)[0]
    value = float(output[unit, row, column] if output.ndim == 3 else output[unit])
    tiles = [(photograph(images[0], mean, std), "image"), (signed(projection), f"{net.layer}, unit {unit}: projection")]
    tiles = [(enlarged(tile, _SIDE), caption) for tile, caption in tiles]
    if output.ndim == 3:
        part = box(
            receptive_field(model, tuple(images.shape[1:]))[net.layer],
            (row, column),
            (images.shape[2], images.shape[3]),
        )
        tiles.append((enlarged(cut(photograph(images[0], mean, std), part, 255), _SIDE), "what the unit sees"))
        tiles.append((enlarged(cut(signed(projection), part, 255), _SIDE), "its projection"))
    text = f"{net.layer}, unit {unit} at row {row}, column {column}: {value:.4g}"
    where = torch.tensor([float(unit), float(row), float(column), value])
    return Explanation({"projection": projection, "place": where}, {"deconvnet": sheet(tiles)}, text)


def _chosen(output: Tensor, unit: int | None, place: Sequence[int] | None, layer: str) -> tuple[int, int, int]:
    """Unit, row and column, the strongest where they are not given. FovealError where nothing fires."""
    grids = output if output.ndim == 3 else output[:, None, None]
    if grids.ndim != 3 or (unit is not None and not 0 <= unit < len(grids)):
        raise FovealError(f"layer '{layer}' gives {list(output.shape)} and has no unit {unit}", "count from 0")
    unit = int(grids.flatten(1).amax(1).argmax()) if unit is None else unit
    h, w = grids.shape[1:]
    if place is None:
        row, column = divmod(int(grids[unit].argmax()), w)
    elif len(place) == 2 and 0 <= place[0] < h and 0 <= place[1] < w:
        row, column = int(place[0]), int(place[1])
    else:
        raise FovealError(f"place={list(place)}: the maps of '{layer}' are {h}x{w}", "give [row, column] from 0")
    if grids[unit, row, column] <= 0:
        raise FovealError(
            f"unit {unit} of '{layer}' is silent there ({float(grids[unit, row, column]):.3g})",
            "choose another unit, or leave it out for the strongest",
        )
    return unit, row, column
