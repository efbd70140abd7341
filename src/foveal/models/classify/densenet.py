"""DenseNets: within a block, each layer reads the maps of all layers before it.

G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, «Densely connected convolutional networks», CVPR 2017, section 3
and table 1. A layer adds `growth` maps; B (bottleneck) puts a 1x1 convolution to 4·growth maps before its 3x3; C
(compression) lets the transition between two blocks keep only that share of the maps.

The stem of the CIFAR nets has 16 maps, that of DenseNet-BC 2·growth, as in section 3 (the released code has 2·growth in
both, and then L=40, k=12 has 1.06 instead of 1.02 million parameters).

Keys of torchvision's state_dict: features.conv0 and norm0 are conv1 and bn1, features.denseblock{b}.denselayer{i}.norm1
(conv1, norm2, conv2) is dense{b}_{i}.bn1 (conv1, bn2, conv2), features.transition{b}.norm (conv) is transition{b}.bn
(conv), features.norm5 is bn_last and classifier is fc.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.layers.pooling import GlobalAvgPool2d
from foveal.layers.residual import initialise
from foveal.types import Facts

_PAPER = "Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks"


def _imagenet(parameters: int, macs: int, top1: float, top5: float | None = None) -> Facts:
    """Errors of one 224x224 crop, validation set (table 3; DenseNet-161: the authors' page)."""
    published = {"protocol": "one 224x224 crop, validation set"}
    return Facts(_PAPER, 2017, (3, 224, 224), 1000, parameters, macs, "ImageNet", top1, top5, published)


def _cifar(parameters: int, macs: int, millions: float, top1: float, plain: float) -> Facts:
    """Table 2: `top1` with flips and shifts (C10+), `plain` without, trained with dropout=0.2 (C10)."""
    published = {"parameters_in_millions": millions, "top1_error_without_augmentation": plain}
    return Facts(_PAPER, 2017, (3, 32, 32), 10, parameters, macs, "CIFAR-10", top1, published=published)


FACTS = {
    "densenet121": _imagenet(7_978_856, 2_834_161_664, 25.02, 7.71),
    "densenet169": _imagenet(14_149_480, 3_359_843_328, 23.80, 6.85),
    "densenet201": _imagenet(20_013_928, 4_291_365_888, 22.58, 6.34),
    "densenet161": _imagenet(28_681_000, 7_727_907_072, 22.2),
    "densenet_cifar": _cifar(1_019_722, 264_812_928, 1.0, 5.24, 7.00),
    "densenet40_cifar": _cifar(1_019_722, 264_812_928, 1.0, 5.24, 7.00),
    "densenet100_cifar": _cifar(6_979_642, 1_769_516_448, 7.0, 4.10, 5.77),
    "densenet_bc100_cifar": _cifar(769_162, 287_929_692, 0.8, 4.51, 5.92),
}


class DenseLayer(nn.Module):
    """BN, ReLU, [1x1 convolution to 4·growth, BN, ReLU,] 3x3 convolution: [N, C, H, W] → [N, C + growth, H, W].

    The input comes first in the output: the maps of a block stand in the order in which they were made.
    """

    def __init__(self, channels: int, growth: int, bottleneck: bool, dropout: float = 0.0) -> None:
        super().__init__()
        for number, kernel in enumerate((1, 3) if bottleneck else (3,), start=1):
            out = growth if kernel == 3 else 4 * growth
            self.add_module(f"bn{number}", nn.BatchNorm2d(channels))
            self.add_module(f"relu{number}", nn.ReLU())
            self.add_module(f"conv{number}", nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False))
            if dropout:
                self.add_module(f"drop{number}", nn.Dropout(dropout))
            channels = out

    def forward(self, x: Tensor) -> Tensor:
        new = x
        for layer in self.children():
            new = layer(new)
        return torch.cat((x, new), 1)


def densenet121(num_classes: int = 1000) -> nn.Sequential:
    """DenseNet-BC-121, growth 32, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _imagenet_network((6, 12, 24, 16), 32, num_classes)


def densenet169(num_classes: int = 1000) -> nn.Sequential:
    """DenseNet-BC-169, growth 32, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _imagenet_network((6, 12, 32, 32), 32, num_classes)


def densenet201(num_classes: int = 1000) -> nn.Sequential:
    """DenseNet-BC-201, growth 32, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _imagenet_network((6, 12, 48, 32), 32, num_classes)


def densenet161(num_classes: int = 1000) -> nn.Sequential:
    """DenseNet-BC-161, growth 48, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _imagenet_network((6, 12, 36, 24), 48, num_classes)


def densenet_cifar(
    num_classes: int = 10,
    *,
    depth: int = 40,
    growth: int = 12,
    bottleneck: bool = False,
    compression: float = 1.0,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A DenseNet of three blocks for CIFAR, [N, 3, 32, 32] → scores [N, num_classes].

    depth: layers with weights, 3n + 4, with bottleneck 6n + 4. compression: in (0, 1]. dropout: behind each convolution
    but the first; the paper has 0.2 where it trains without augmentation. Raises FovealError for values outside.
    """
    convolutions = 6 if bottleneck else 3  # of one layer in each of the three blocks
    if depth <= 4 or (depth - 4) % convolutions:
        raise FovealError(f"depth={depth}: three equal blocks need {convolutions}n + 4 layers", "such as 40 or 100")
    if not 0 < compression <= 1 or not 0 <= dropout < 1 or growth < 1:
        raise FovealError(
            f"growth={growth}, compression={compression:g}, dropout={dropout:g}",
            "growth is at least 1, compression in (0, 1], dropout in [0, 1)",
        )
    channels = 2 * growth if bottleneck and compression < 1 else 16
    stem: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, channels, 3, padding=1, bias=False))
    counts = ((depth - 4) // convolutions,) * 3
    return _network(
        stem,
        channels,
        counts,
        num_classes,
        growth=growth,
        bottleneck=bottleneck,
        compression=compression,
        dropout=dropout,
    )


def densenet40_cifar(num_classes: int = 10, *, dropout: float = 0.0) -> nn.Sequential:
    """DenseNet, L=40, k=12, [N, 3, 32, 32] → scores [N, num_classes]."""
    return densenet_cifar(num_classes, depth=40, growth=12, dropout=dropout)


def densenet100_cifar(num_classes: int = 10, *, dropout: float = 0.0) -> nn.Sequential:
    """DenseNet, L=100, k=12, [N, 3, 32, 32] → scores [N, num_classes]."""
    return densenet_cifar(num_classes, depth=100, growth=12, dropout=dropout)


def densenet_bc100_cifar(num_classes: int = 10, *, dropout: float = 0.0) -> nn.Sequential:
    """DenseNet-BC, L=100, k=12, compression 0.5, [N, 3, 32, 32] → scores [N, num_classes]."""
    return densenet_cifar(num_classes, depth=100, growth=12, bottleneck=True, compression=0.5, dropout=dropout)


def _imagenet_network(counts: tuple[int, ...], growth: int, num_classes: int) -> nn.Sequential:
    stem: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 2 * growth, 7, 2, 3, bias=False),  # [N, 2·growth, 112, 112]
        bn1=nn.BatchNorm2d(2 * growth),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(3, 2, 1),  # [N, 2·growth, 56, 56]
    )
    return _network(stem, 2 * growth, counts, num_classes, growth=growth, bottleneck=True, compression=0.5)


def _network(
    layers: OrderedDict[str, nn.Module],
    channels: int,
    counts: tuple[int, ...],
    num_classes: int,
    *,
    growth: int,
    bottleneck: bool,
    compression: float,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Blocks of `counts` layers behind a stem of `channels` maps, a transition between two."""
    for block, count in enumerate(counts, start=1):
        for number in range(1, count + 1):
            layers[f"dense{block}_{number}"] = DenseLayer(channels, growth, bottleneck, dropout)
            channels += growth
        if block < len(counts):
            layers[f"transition{block}"] = _transition(channels, int(channels * compression), dropout)
            channels = int(channels * compression)
    layers["bn_last"] = nn.BatchNorm2d(channels)
    layers["relu_last"] = nn.ReLU()
    layers["avgpool"] = GlobalAvgPool2d()
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    model = nn.Sequential(layers)
    initialise(model)
    return model


def _transition(channels: int, out: int, dropout: float) -> nn.Sequential:
    """BN, ReLU, 1x1 convolution, 2x2 average: half the size, `out` maps."""
    layers = OrderedDict(bn=nn.BatchNorm2d(channels), relu=nn.ReLU(), conv=nn.Conv2d(channels, out, 1, bias=False))
    if dropout:
        layers["drop"] = nn.Dropout(dropout)
    layers["pool"] = nn.AvgPool2d(2)
    return nn.Sequential(layers)
