"""The Tiramisu, fully convolutional DenseNets of 56, 67 and 103 layers: dense blocks down, dense blocks up.

S. Jégou, M. Drozdzal, D. Vazquez, A. Romero, Y. Bengio, «The one hundred layers Tiramisu: fully convolutional DenseNets
for semantic segmentation», CVPR workshops 2017, section 3, tables 1 and 2.

On the way down a block's input stays beside its new maps; on the way up it does not: only the new maps of a block are
upsampled (transposed 3x3 convolution of stride 2), and put beside those of the way down. Upsampling gives 2n + 1
positions, from which the first n' of the way down are taken, so that every size works, as in the authors' code.

Table 2 counts 16 maps too few from the bottleneck on (880 for 896, 1072 for 1088 …), as the authors say on their page.
Table 3's millions (1.5, 3.5, 9.4) count the running statistics of batch normalisation as parameters: with them the
networks hold 1.40, 3.50 and 9.43 million numbers; the 1.5 of the smallest is a little too much.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.layers.alignment import CropLike
from foveal.types import Facts

_STEM = 48


def _facts(parameters: int, macs: int, millions: float, iu: float, accuracy: float) -> Facts:
    """Results on CamVid's test images (table 3), no pre-training, no post-processing."""
    return Facts(
        paper="Jégou, Drozdzal, Vazquez, Romero, Bengio: The One Hundred Layers Tiramisu",
        year=2017,
        input=(3, 360, 480),
        num_classes=11,
        dataset="CamVid",
        parameters=parameters,
        macs=macs,
        published={"parameters_in_millions": millions, "mean_iu": iu, "pixel_accuracy": accuracy},
    )


FACTS = {
    "tiramisu56": _facts(1_376_795, 30_702_900_960, 1.5, 58.9, 88.9),
    "tiramisu67": _facts(3_463_243, 71_966_979_840, 3.5, 65.8, 90.8),
    "tiramisu103": _facts(9_322_091, 69_068_064_000, 9.4, 66.9, 91.5),
}


class DenseBlock(nn.Module):
    """`count` layers, each reading all before it: [N, C, H, W] → its new maps alone, [N, count·growth, H, W]."""

    def __init__(self, channels: int, growth: int, count: int, dropout: float) -> None:
        super().__init__()
        for number in range(1, count + 1):
            self.add_module(f"layer{number}", _layer(channels, growth, 3, dropout))
            channels += growth

    def forward(self, x: Tensor) -> Tensor:
        new: list[Tensor] = []
        for layer in self.children():
            new.append(layer(x))
            x = torch.cat((x, new[-1]), 1)
        return torch.cat(new, 1)


class Tiramisu(nn.Module):
    """counts: layers of each block, from the first to the bottleneck in the middle to the last; see the file's text."""

    def __init__(self, num_classes: int, channels: int, counts: tuple[int, ...], growth: int, dropout: float) -> None:
        super().__init__()
        self.depth = depth = len(counts) // 2
        self.conv1 = nn.Conv2d(channels, _STEM, 3, padding=1)
        maps, skips = _STEM, []
        for block, count in enumerate(counts[:depth], start=1):
            self.add_module(f"down{block}", DenseBlock(maps, growth, count, dropout))
            maps += growth * count
            skips.append(maps)
            self.add_module(f"td{block}", _transition_down(maps, dropout))
        self.bottleneck = DenseBlock(maps, growth, counts[depth], dropout)
        new = growth * counts[depth]
        for block, count in enumerate(counts[depth + 1 :], start=1):
            self.add_module(f"tu{block}", nn.ConvTranspose2d(new, new, 3, 2))
            self.add_module(f"crop{block}", CropLike())
            maps = new + skips.pop()
            self.add_module(f"up{block}", DenseBlock(maps, growth, count, dropout))
            new = growth * count
        self.score = nn.Conv2d(maps + new, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        x, skips = self.conv1(images), []
        for block in range(1, self.depth + 1):
            x = torch.cat((x, self.get_submodule(f"down{block}")(x)), 1)
            skips.append(x)
            x = self.get_submodule(f"td{block}")(x)
        new = self.bottleneck(x)
        for block in range(1, self.depth + 1):
            skip = skips.pop()
            raised = self.get_submodule(f"tu{block}")(new)
            x = torch.cat((self.get_submodule(f"crop{block}")(raised, skip), skip), 1)
            new = self.get_submodule(f"up{block}")(x)
        return self.score(torch.cat((x, new), 1))  # type: ignore[no-any-return]


def tiramisu56(num_classes: int = 11, *, channels: int = 3, dropout: float = 0.2) -> Tiramisu:
    """FC-DenseNet56, growth 12, images [N, channels, H, W] of any size from 32 on → scores [N, num_classes, H, W]."""
    return _network(num_classes, channels, (4,) * 11, 12, dropout)


def tiramisu67(num_classes: int = 11, *, channels: int = 3, dropout: float = 0.2) -> Tiramisu:
    """FC-DenseNet67, growth 16, images [N, channels, H, W] of any size from 32 on → scores [N, num_classes, H, W]."""
    return _network(num_classes, channels, (5,) * 11, 16, dropout)


def tiramisu103(num_classes: int = 11, *, channels: int = 3, dropout: float = 0.2) -> Tiramisu:
    """FC-DenseNet103, growth 16, images [N, channels, H, W] of any size from 32 on → scores [N, num_classes, H, W]."""
    return _network(num_classes, channels, (4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4), 16, dropout)


def _network(num_classes: int, channels: int, counts: tuple[int, ...], growth: int, dropout: float) -> Tiramisu:
    if not 0 <= dropout < 1:
        raise FovealError(f"dropout={dropout:g} is no share of the values", "0.2 in the paper; 0 for none")
    model = Tiramisu(num_classes, channels, counts, growth, dropout)
    for layer in model.modules():  # section 4.1: HeUniform
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return model


def _layer(channels: int, maps: int, kernel: int, dropout: float) -> nn.Sequential:
    """Table 1: batch normalisation, ReLU, convolution, dropout."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(bn=nn.BatchNorm2d(channels), relu=nn.ReLU())
    layers["conv"] = nn.Conv2d(channels, maps, kernel, padding=kernel // 2)
    if dropout:
        layers["drop"] = nn.Dropout(dropout)
    return nn.Sequential(layers)


def _transition_down(maps: int, dropout: float) -> nn.Sequential:
    layers = _layer(maps, maps, 1, dropout)
    layers.add_module("pool", nn.MaxPool2d(2))
    return layers
