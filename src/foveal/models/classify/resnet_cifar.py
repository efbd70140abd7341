"""The residual and plain networks of 6n + 2 layers for CIFAR-10.

K. He, X. Zhang, S. Ren, J. Sun, «Deep residual learning for image recognition», CVPR 2016, section 4.2: a 3x3
convolution of 16 maps, three stages of n basic blocks with 16, 32 and 64 maps on 32x32, 16x16 and 8x8, global average,
ten-way layer. Shortcuts are option A in all cases, so that a residual net has exactly its plain twin's parameters.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from foveal.layers.pooling import GlobalAvgPool2d
from foveal.layers.residual import BasicBlock, MakeBlock, PlainBlock, Shortcut, initialise, stage
from foveal.types import Facts

_PAPER = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition"


def _facts(parameters: int, macs: int, millions: float, top1: float | None = None) -> Facts:
    """`millions` of parameters and the test error are table 6's; the plain nets' errors are only drawn (figure 6)."""
    return Facts(
        paper=_PAPER,
        year=2016,
        input=(3, 32, 32),
        num_classes=10,
        parameters=parameters,
        macs=macs,
        dataset="CIFAR-10",
        top1_error=top1,
        published={"parameters_in_millions": millions},
    )


FACTS = {
    "resnet20": _facts(269_722, 40_551_040, 0.27, 8.75),
    "resnet32": _facts(464_154, 68_862_592, 0.46, 7.51),
    "resnet44": _facts(658_586, 97_174_144, 0.66, 7.17),
    "resnet56": _facts(853_018, 125_485_696, 0.85, 6.97),
    "resnet110": _facts(1_727_962, 252_887_680, 1.7, 6.43),  # the best of five; 6.61 ± 0.16
    "resnet1202": _facts(19_421_274, 2_829_238_912, 19.4, 7.93),
    "plain20": _facts(269_722, 40_551_040, 0.27),
    "plain32": _facts(464_154, 68_862_592, 0.46),
    "plain44": _facts(658_586, 97_174_144, 0.66),
    "plain56": _facts(853_018, 125_485_696, 0.85),
    "plain110": _facts(1_727_962, 252_887_680, 1.7),
}


def resnet20(num_classes: int = 10, *, shortcut: Shortcut = "A", zero_init_residual: bool = False) -> nn.Sequential:
    """ResNet-20 for CIFAR, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _residual(3, num_classes, shortcut, zero_init_residual)


def resnet32(num_classes: int = 10, *, shortcut: Shortcut = "A", zero_init_residual: bool = False) -> nn.Sequential:
    """ResNet-32 for CIFAR, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _residual(5, num_classes, shortcut, zero_init_residual)


def resnet44(num_classes: int = 10, *, shortcut: Shortcut = "A", zero_init_residual: bool = False) -> nn.Sequential:
    """ResNet-44 for CIFAR, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _residual(7, num_classes, shortcut, zero_init_residual)


def resnet56(num_classes: int = 10, *, shortcut: Shortcut = "A", zero_init_residual: bool = False) -> nn.Sequential:
    """ResNet-56 for CIFAR, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _residual(9, num_classes, shortcut, zero_init_residual)


def resnet110(num_classes: int = 10, *, shortcut: Shortcut = "A", zero_init_residual: bool = False) -> nn.Sequential:
    """ResNet-110 for CIFAR, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _residual(18, num_classes, shortcut, zero_init_residual)


def resnet1202(num_classes: int = 10, *, shortcut: Shortcut = "A", zero_init_residual: bool = False) -> nn.Sequential:
    """ResNet-1202 for CIFAR, [N, 3, 32, 32] → scores [N, num_classes]; it overfits, and errs more than ResNet-110."""
    return _residual(200, num_classes, shortcut, zero_init_residual)


def plain20(num_classes: int = 10) -> nn.Sequential:
    """ResNet-20 without shortcuts, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _network(PlainBlock, 3, num_classes)


def plain32(num_classes: int = 10) -> nn.Sequential:
    """ResNet-32 without shortcuts, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _network(PlainBlock, 5, num_classes)


def plain44(num_classes: int = 10) -> nn.Sequential:
    """ResNet-44 without shortcuts, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _network(PlainBlock, 7, num_classes)


def plain56(num_classes: int = 10) -> nn.Sequential:
    """ResNet-56 without shortcuts, [N, 3, 32, 32] → scores [N, num_classes]: worse than plain20 also in training."""
    return _network(PlainBlock, 9, num_classes)


def plain110(num_classes: int = 10) -> nn.Sequential:
    """ResNet-110 without shortcuts, [N, 3, 32, 32] → scores [N, num_classes]: error > 60 % in the paper."""
    return _network(PlainBlock, 18, num_classes)


def _residual(n: int, num_classes: int, shortcut: Shortcut, zero_init_residual: bool) -> nn.Sequential:
    return _network(partial(BasicBlock, shortcut=shortcut), n, num_classes, zero_init_residual)


def _network(make: MakeBlock, n: int, num_classes: int, zero_init_residual: bool = False) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 16, 3, 1, 1, bias=False), bn1=nn.BatchNorm2d(16), relu1=nn.ReLU()
    )
    layers |= stage("conv2", make, n, 16, 16, stride=1)  # [N, 16, 32, 32]
    layers |= stage("conv3", make, n, 16, 32, stride=2)  # [N, 32, 16, 16]
    layers |= stage("conv4", make, n, 32, 64, stride=2)  # [N, 64, 8, 8]
    layers["avgpool"] = GlobalAvgPool2d()
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(64, num_classes)
    model = nn.Sequential(layers)
    initialise(model, zero_init_residual=zero_init_residual)
    return model
