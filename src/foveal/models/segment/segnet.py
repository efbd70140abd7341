"""SegNet: VGG-16's convolutions, and a decoder that puts values back where the poolings took them from.

V. Badrinarayanan, A. Kendall, R. Cipolla, «SegNet: a deep convolutional encoder-decoder architecture for image
segmentation», PAMI 2017, section 3 and figure 2. The decoder mirrors the encoder, and its last convolution of each
block makes the maps of the block before; the very last one makes the classes' scores.

Departures: the paper normalises the input's local contrast, which is left to the recipe (`data.transforms`); the class
weights (median frequency balancing) are the loss's.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from foveal.layers.switched import SwitchedChain, conv_bn_relu, initialise_he, vgg_encoder
from foveal.layers.unpooling import MaxUnpool2d
from foveal.types import Facts

FACTS = {
    "segnet": Facts(
        paper="Badrinarayanan, Kendall, Cipolla: SegNet",
        year=2017,
        input=(3, 360, 480),
        num_classes=11,
        dataset="CamVid",
        parameters=29_449_355,
        macs=106_287_759_360,
        published={
            "parameters_in_millions": 29.45,  # Kendall, Badrinarayanan, Cipolla: Bayesian SegNet
            # table 3, after 140,000 updates, trained on 3,433 road scenes of four sets
            "pixel_accuracy": 90.40, "mean_accuracy": 71.20, "mean_iu": 60.10, "boundary_f1": 46.84,
        },
    ),
}  # fmt: skip

_DECODER = ((8, 8, 8), (8, 8, 4), (4, 4, 2), (2, 1), (1,))  # times the width: blocks 5 … 1, before the scores


def segnet(num_classes: int = 11, *, channels: int = 3, width: int = 64) -> nn.Module:
    """SegNet, images [N, channels, H, W] of any size from 32 on → scores [N, num_classes, H, W].

    width: maps of the first and last blocks, 64 in the paper.
    """
    layers: OrderedDict[str, nn.Module] = vgg_encoder(channels, width)
    maps = 8 * width
    for block, factors in zip(range(5, 0, -1), _DECODER, strict=True):
        layers[f"unpool{block}"] = MaxUnpool2d(2)
        for number, factor in zip(range(len(factors) + (block == 1), 0, -1), factors, strict=False):
            layers[f"conv{block}_{number}_D"] = conv_bn_relu(maps, factor * width)
            maps = factor * width
    layers["conv1_1_D"] = nn.Conv2d(maps, num_classes, 3, padding=1)
    model = SwitchedChain(layers)
    initialise_he(model)
    return model
