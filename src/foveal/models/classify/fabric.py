"""Convolutional neural fabrics: one grid of convolutions that holds exponentially many networks as its paths.

S. Saxena, J. Verbeek, «Convolutional neural fabrics», NIPS 2016. Images of 32x32 have six scales, down to 1x1, where
a linear classifier reads. With enough layers and maps, pooling, strides, interpolation and larger filters are all
settings of the 3x3 weights (`foveal.layers.fabric_constructions`); weak connections can be taken out
(`foveal.layers.fabric_pruning`).

The paper counts parameters as if every node had three edges: layers · scales · 3 · 9 · channels² is its 21.2 million.
At the borders of the grid edges are missing; what remains is counted here, with batch norm and classifier.
Convolutions have no bias, for batch norm follows; the authors' released code has one, without effect.
"""

from __future__ import annotations

from torch import nn

from foveal.errors import FovealError
from foveal.layers.fabric import Connectivity, Fabric, Trellis
from foveal.types import Facts

FACTS = {
    "fabric": Facts(
        paper="Saxena, Verbeek: Convolutional Neural Fabrics",
        year=2016,
        input=(3, 32, 32),
        num_classes=10,
        parameters=18_006_666,
        macs=2_217_002_240,
        dataset="CIFAR-10",
        top1_error=7.43,  # with flips and translations
        published={
            "parameters_without_borders": 21_200_000,
            "layers": 8,
            "channels": 128,
            "scales": 6,
            "pruned_share_of_connections": 1 / 3,
            "top1_error_pruned": 8.1,
        },
    ),
}


def fabric(
    num_classes: int = 10,
    *,
    layers: int = 8,
    channels: int = 128,
    connectivity: Connectivity = "dense",
    doubling: bool = False,
    input: tuple[int, int, int] = (3, 32, 32),
) -> Fabric:
    """A fabric from the image's scale down to 1x1, [N, 3, 32, 32] → scores [N, num_classes].

    connectivity: dense joins all maps of two nodes, sparse each with three. doubling: twice the maps at half the side.
    Raises FovealError for an `input` that is no square with a power of 2 for a side.
    """
    maps, height, width = input
    if height != width or height < 2 or height & (height - 1):
        raise FovealError(f"a fabric for images of {height}x{width}", "the side is a power of 2, such as 32")
    trellis = Trellis(maps, height.bit_length(), layers, channels, connectivity=connectivity, doubling=doubling)
    return Fabric(_initialised(trellis), num_classes)


def _initialised(trellis: Trellis) -> Trellis:
    """Weights N(0, 0.01²), as the authors' code; batch norm makes the scale a matter of the learning rate alone."""
    for edge in trellis.modules():
        weight = getattr(edge, "weight", None)
        if weight is not None and weight.ndim > 1:
            nn.init.normal_(weight, std=0.01)
    return trellis
