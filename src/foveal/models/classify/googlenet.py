"""GoogLeNet: nine Inception modules, and two auxiliary classifiers that help to train them.

C. Szegedy et al., «Going deeper with convolutions», CVPR 2015, table 1 and section 5.

Three rows of table 1 disagree with the layers they describe: conv1 has 9,408 weights and 118M multiply-adds (2.7K and
34M are printed), 4c has 497.5K weights (463K), 5a 1018K and 51M (1072K, 54M); 4a, 4d, 4e and 5b are 1 or 2 % off. The
paper is silent on three things, taken here from the replica in Caffe's model zoo, made with the authors' help: the
numbers of the normalisation (5, 1e-4, 0.75, k=1), poolings that round up, and the initialisation.

`batch_norm=True` is the network that torchvision publishes weights for, and differs more than its name says: batch
norm (eps 0.001) behind each convolution, which has no bias; no local normalisation; 3x3 in place of every 5x5; pool4
2x2; dropout 0.2; heads that pool to 4x4 adaptively. Its weights expect images of mean 0.5 and deviation 0.5 a channel.

Keys of torchvision's state_dict for it: conv1, conv2, conv3 (.conv, .bn) are conv1/bn1, conv2_reduce/bn2_reduce and
conv2/bn2; inceptionX.branch1 is inceptionX.branch1x1; branch2.0 and .1 are branch3x3's conv_reduce/bn_reduce and
conv/bn, branch3.0 and .1 branch5x5's; branch4.1 is pool_branch; aux1.conv.conv is aux1.conv; fc, fc1, fc2 are equal.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.layers.pooling import GlobalAvgPool2d
from foveal.types import Facts

FACTS = {
    "googlenet": Facts(
        paper="Szegedy et al.: Going Deeper with Convolutions",
        year=2015,
        input=(3, 224, 224),
        parameters=6_998_552,
        macs=1_582_671_872,
        top5_error=9.15,  # one network, validation set, ten crops (table 3)
        published={
            "top5_error_1_crop": 10.07,
            "top5_error_144_crops": 7.89,
            "top5_error_7_networks": 6.67,
            "weights_in_K": (159, 380, 364, 437, 463, 580, 840, 1072, 1388),  # 3a … 5b, K = 1024, as printed
            "macs_in_M": (128, 304, 73, 88, 100, 119, 170, 54, 71),
        },
    ),
}

# Columns of table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
_INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
_HEADS = {"4a": "aux1", "4d": "aux2"}  # the modules that they hang on
AUXILIARY_WEIGHT = 0.3


class Inception(nn.Module):
    """Four branches side by side, their maps one behind the other: [N, in, H, W] → [N, Σ maps, H, W] (figure 2b)."""

    def __init__(self, in_channels: int, maps: tuple[int, int, int, int, int, int], batch_norm: bool) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, projection = maps
        wide = 3 if batch_norm else 5
        self.branch1x1 = nn.Sequential(_conv("", in_channels, one, 1, batch_norm))
        self.branch3x3 = nn.Sequential(
            _conv("_reduce", in_channels, reduce3, 1, batch_norm) | _conv("", reduce3, three, 3, batch_norm)
        )
        self.branch5x5 = nn.Sequential(
            _conv("_reduce", in_channels, reduce5, 1, batch_norm) | _conv("", reduce5, five, wide, batch_norm)
        )
        pool: OrderedDict[str, nn.Module] = OrderedDict(pool=nn.MaxPool2d(3, 1, 1))
        self.pool_branch = nn.Sequential(pool | _conv("", in_channels, projection, 1, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch1x1(x), self.branch3x3(x), self.branch5x5(x), self.pool_branch(x)), 1)


class AuxiliaryHead(nn.Sequential):
    """A classifier on inner maps, used in training alone: [N, C, 14, 14] → scores [N, num_classes] (section 5)."""

    def __init__(self, in_channels: int, num_classes: int, batch_norm: bool) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            pool=nn.AdaptiveAvgPool2d(4) if batch_norm else nn.AvgPool2d(5, 3)  # [N, C, 4, 4]
        )
        layers |= _conv("", in_channels, 128, 1, batch_norm)
        layers["flatten"] = nn.Flatten()
        layers["fc1"] = nn.Linear(128 * 4 * 4, 1024)
        layers["relu1"] = nn.ReLU()
        layers["drop1"] = nn.Dropout(0.7)
        layers["fc2"] = nn.Linear(1024, num_classes)
        super().__init__(layers)


class SupervisedGoogLeNet(nn.Module):
    """GoogLeNet with its heads aux1 and aux2, each a child behind the module that it reads. Scores never use them."""

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            if not isinstance(layer, AuxiliaryHead):
                x = layer(x)
        return x

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Cross-entropies of the scores and, weighted by 0.3, of both heads. images [N, 3, 224, 224], targets [N]."""
        terms: dict[str, Tensor] = {}
        x = images
        for name, layer in self.named_children():
            if isinstance(layer, AuxiliaryHead):
                terms[name] = AUXILIARY_WEIGHT * F.cross_entropy(layer(x).float(), targets)
            else:
                x = layer(x)
        return {"cross_entropy": F.cross_entropy(x.float(), targets), **terms}


def googlenet(num_classes: int = 1000, *, batch_norm: bool = False, aux: bool = False) -> nn.Module:
    """GoogLeNet, [N, 3, 224, 224] → scores [N, num_classes].

    batch_norm: torchvision's variant, for its weights. aux: with the auxiliary classifiers, as the paper trains it;
    they add losses("aux1", "aux2") and 6.4 million parameters that `forward` does not use.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers |= _conv("1", 3, 64, 7, batch_norm, stride=2)  # [N, 64, 112, 112]
    layers["pool1"] = _pool()  # [N, 64, 56, 56]
    if not batch_norm:
        layers["norm1"] = nn.LocalResponseNorm(5)
    layers |= _conv("2_reduce", 64, 64, 1, batch_norm)
    layers |= _conv("2", 64, 192, 3, batch_norm)  # [N, 192, 56, 56]
    if not batch_norm:
        layers["norm2"] = nn.LocalResponseNorm(5)
    layers["pool2"] = _pool()  # [N, 192, 28, 28]
    channels = 192
    for place, maps in _INCEPTION.items():
        layers[f"inception{place}"] = Inception(channels, maps, batch_norm)
        channels = maps[0] + maps[2] + maps[4] + maps[5]
        if aux and place in _HEADS:
            layers[_HEADS[place]] = AuxiliaryHead(channels, num_classes, batch_norm)
        if place == "3b":
            layers["pool3"] = _pool()  # [N, 480, 14, 14]
        elif place == "4e":
            layers["pool4"] = _pool(2 if batch_norm else 3)  # [N, 832, 7, 7]
    layers["avgpool"] = GlobalAvgPool2d()
    layers["flatten"] = nn.Flatten()
    layers["drop"] = nn.Dropout(0.2 if batch_norm else 0.4)
    layers["fc"] = nn.Linear(channels, num_classes)
    model = SupervisedGoogLeNet(layers) if aux else nn.Sequential(layers)
    _initialise(model)
    return model


def _conv(
    suffix: str, in_channels: int, out_channels: int, kernel: int, batch_norm: bool, *, stride: int = 1
) -> OrderedDict[str, nn.Module]:
    """conv, [bn,] relu, their names followed by `suffix`; the padding keeps the size."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=not batch_norm)
    layers: OrderedDict[str, nn.Module] = OrderedDict({f"conv{suffix}": conv})
    if batch_norm:
        layers[f"bn{suffix}"] = nn.BatchNorm2d(out_channels, eps=0.001)
    layers[f"relu{suffix}"] = nn.ReLU()
    return layers


def _pool(kernel: int = 3) -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel, 2, ceil_mode=True)


def _initialise(model: nn.Module) -> None:
    """Variance 1 / fan-in and biases 0.2 (scores: 0), as the replica; before batch norm He's 2 / fan-in."""
    for path, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu" if layer.bias is None else "linear")
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 0.0 if path in ("fc", "aux1.fc2", "aux2.fc2") else 0.2)
