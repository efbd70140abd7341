"""ResNet-18, 34, 50, 101, 152 for ImageNet, and the plain networks that they are measured against.

K. He, X. Zhang, S. Ren, J. Sun, «Deep residual learning for image recognition», CVPR 2016, table 1.

Two placements of the stride in the bottleneck exist under one name and with the same weights' shapes. `version="1.5"`
(stride on the 3x3 convolution) is the default, because torchvision's files of weights are of that kind and would load
into the other without an error and answer wrongly. `version="1"` is the paper's (stride on the first 1x1); nets of
basic blocks are the same in both. Else this departs from the paper only in pool1, which pads by one on each side where
the authors' code rounds up.

Keys of torchvision's state_dict: conv1.* bn1.* fc.* are equal; layer{s}.{b}.X is conv{s+1}_{b+1}.X for X in conv1 bn1
conv2 bn2 conv3 bn3; layer{s}.{b}.downsample.{0,1}.* is conv{s+1}_{b+1}.shortcut.{conv,bn}.* (b from 0, s from 1)
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from foveal.errors import unknown
from foveal.layers.pooling import GlobalAvgPool2d
from foveal.layers.residual import BasicBlock, Bottleneck, MakeBlock, PlainBlock, Shortcut, Version, initialise, stage
from foveal.types import Facts

_PAPER = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition"


def _facts(parameters: int, macs: int, flops: float, top1: float | None, top5: float | None) -> Facts:
    """`flops` are the paper's (table 1): multiply-adds, with the stride where version 1 has it."""
    return Facts(
        paper=_PAPER,
        year=2016,
        input=(3, 224, 224),
        parameters=parameters,
        macs=macs,
        top1_error=top1,
        top5_error=top5,
        published={"flops": flops, "protocol": "10-crop, validation set"},
    )


FACTS = {
    "resnet18": _facts(11_689_512, 1_814_073_344, 1.8e9, 27.88, None),
    "resnet34": _facts(21_797_672, 3_663_761_408, 3.6e9, 24.52, 7.46),
    "resnet50": _facts(25_557_032, 4_089_184_256, 3.8e9, 22.85, 6.71),
    "resnet101": _facts(44_549_160, 7_801_405_440, 7.6e9, 21.75, 6.05),
    "resnet152": _facts(60_192_808, 11_513_626_624, 11.3e9, 21.43, 5.71),
    "plain18": _facts(11_515_688, 1_794_805_760, 1.8e9, 27.94, None),
    "plain34": _facts(21_623_848, 3_644_493_824, 3.6e9, 28.54, 10.02),
}


def resnet18(num_classes: int = 1000, *, shortcut: Shortcut = "B", zero_init_residual: bool = False) -> nn.Sequential:
    """ResNet-18, [N, 3, 224, 224] → scores [N, num_classes]; shortcut A pads, B projects, C always projects."""
    make = partial(BasicBlock, shortcut=shortcut)
    return _network(make, (2, 2, 2, 2), 1, num_classes, zero_init_residual)


def resnet34(num_classes: int = 1000, *, shortcut: Shortcut = "B", zero_init_residual: bool = False) -> nn.Sequential:
    """ResNet-34, [N, 3, 224, 224] → scores [N, num_classes]; shortcut A pads, B projects, C always projects."""
    make = partial(BasicBlock, shortcut=shortcut)
    return _network(make, (3, 4, 6, 3), 1, num_classes, zero_init_residual)


def resnet50(
    num_classes: int = 1000,
    *,
    version: Version = "1.5",
    shortcut: Shortcut = "B",
    zero_init_residual: bool = False,
) -> nn.Sequential:
    """ResNet-50, [N, 3, 224, 224] → scores [N, num_classes]; version "1" has the paper's strides."""
    return _bottlenecks((3, 4, 6, 3), num_classes, version, shortcut, zero_init_residual)


def resnet101(
    num_classes: int = 1000,
    *,
    version: Version = "1.5",
    shortcut: Shortcut = "B",
    zero_init_residual: bool = False,
) -> nn.Sequential:
    """ResNet-101, [N, 3, 224, 224] → scores [N, num_classes]; version "1" has the paper's strides."""
    return _bottlenecks((3, 4, 23, 3), num_classes, version, shortcut, zero_init_residual)


def resnet152(
    num_classes: int = 1000,
    *,
    version: Version = "1.5",
    shortcut: Shortcut = "B",
    zero_init_residual: bool = False,
) -> nn.Sequential:
    """ResNet-152, [N, 3, 224, 224] → scores [N, num_classes]; version "1" has the paper's strides."""
    return _bottlenecks((3, 8, 36, 3), num_classes, version, shortcut, zero_init_residual)


def plain18(num_classes: int = 1000) -> nn.Sequential:
    """ResNet-18 without shortcuts, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network(PlainBlock, (2, 2, 2, 2), 1, num_classes)


def plain34(num_classes: int = 1000) -> nn.Sequential:
    """ResNet-34 without shortcuts, [N, 3, 224, 224] → scores [N, num_classes]: worse than plain18 also in training."""
    return _network(PlainBlock, (3, 4, 6, 3), 1, num_classes)


def _bottlenecks(
    blocks: tuple[int, ...], num_classes: int, version: Version, shortcut: Shortcut, zero_init_residual: bool
) -> nn.Sequential:
    if version not in ("1", "1.5"):
        raise unknown("version of ResNet", str(version), ("1", "1.5"))
    make = partial(Bottleneck, shortcut=shortcut, version=version)
    return _network(make, blocks, 4, num_classes, zero_init_residual)


def _network(
    make: MakeBlock, blocks: tuple[int, ...], expansion: int, num_classes: int, zero_init_residual: bool = False
) -> nn.Sequential:
    """Table 1. `expansion`: how many times wider a block's output is than its 3x3 convolution."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False),  # [N, 64, 112, 112]
        bn1=nn.BatchNorm2d(64),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(3, 2, 1),  # [N, 64, 56, 56]
    )
    channels = 64
    for number, count in enumerate(blocks, start=2):
        width = 16 * 2**number * expansion
        layers |= stage(f"conv{number}", make, count, channels, width, stride=1 if number == 2 else 2)
        channels = width
    layers["avgpool"] = GlobalAvgPool2d()
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    model = nn.Sequential(layers)
    initialise(model, zero_init_residual=zero_init_residual)
    return model
