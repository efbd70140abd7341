"""Pre-activation residual networks: batch norm and ReLU before each convolution, nothing after the addition.

K. He, X. Zhang, S. Ren, J. Sun, «Identity mappings in deep residual networks», ECCV 2016, figures 1(b) and 4(e). The
shortcut is the identity from end to end of a stage, so that x_L = x_l + Σ F(x_i) (equation 4).

The units where maps change work on one activation that residual branch and shortcut share, as in the authors' code.
Appendix: conv1 is activated before the first unit, and the last unit's sum is activated before the average.

CIFAR: 110 layers of two 3x3 convolutions a unit, with padded shortcuts (option A) as its original; 164 and 1001 of
bottlenecks and 1x1 convolutions for shortcuts, stride on the first 1x1 convolution. ImageNet: the paper measures 152
and 200 layers; the others are the same design at the depths of the first paper and have no published error. The stride
is on the 3x3 convolution ("1.5"), as in the authors' published ResNet-200, or on the first 1x1 (version="1").
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from foveal.errors import unknown
from foveal.layers.pooling import GlobalAvgPool2d
from foveal.layers.residual import Version, initialise
from foveal.layers.shortcut import PadShortcut
from foveal.types import Facts

_PAPER = "He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks"


def _cifar(parameters: int, macs: int, millions: float, top1: float, original: float) -> Facts:
    """`top1` is the error of the pre-activation net (table 3), `original` its twin's.

    `millions` are table 4's; at 1001 layers they fit the weights of convolutions and classifier, 10.18, and not the
    10.33 with batch norm.
    """
    published = {"weights_in_millions": millions, "original_top1_error": original}
    return Facts(_PAPER, 2016, (3, 32, 32), 10, parameters, macs, "CIFAR-10", top1, published=published)


def _imagenet(parameters: int, macs: int, top1: float | None = None, top5: float | None = None) -> Facts:
    """Errors of one 320x320 crop, validation set (table 5)."""
    published = {} if top1 is None else {"protocol": "one 320x320 crop, validation set"}
    return Facts(_PAPER, 2016, (3, 224, 224), 1000, parameters, macs, "ImageNet", top1, top5, published)


FACTS = {
    "preact_resnet110": _cifar(1_727_962, 252_887_680, 1.7, 6.37, 6.61),
    "preact_resnet164": _cifar(1_703_258, 244_500_992, 1.7, 5.46, 5.93),
    "preact_resnet1001": _cifar(10_327_706, 1_487_849_984, 10.2, 4.92, 7.61),  # 4.89 ± 0.14; 4.62 with batches of 64
    "preact_resnet18": _imagenet(11_687_720, 1_814_073_344),
    "preact_resnet34": _imagenet(21_795_880, 3_663_761_408),
    "preact_resnet50": _imagenet(25_549_352, 4_089_184_256),
    "preact_resnet101": _imagenet(44_541_480, 7_801_405_440),
    "preact_resnet152": _imagenet(60_185_128, 11_513_626_624, 21.1, 5.5),
    "preact_resnet200": _imagenet(64_666_152, 15_007_481_856, 20.7, 5.3),  # 20.1, 4.8 with aspect-ratio augmentation
}


class IdentityUnit(nn.Module):
    """x + F(x): [N, C, H, W] → the same shape."""

    def __init__(self, residual: nn.Module) -> None:
        super().__init__()
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.residual(x)
        return y + x


class ChangingUnit(nn.Module):
    """a(x) → shortcut(a) + F(a), where maps or their size change."""

    def __init__(self, activation: nn.Module, residual: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.activation, self.residual, self.shortcut = activation, residual, shortcut

    def forward(self, x: Tensor) -> Tensor:
        a = self.activation(x)
        y: Tensor = self.residual(a)
        return y + self.shortcut(a)  # type: ignore[no-any-return]


def preact_resnet110(num_classes: int = 10) -> nn.Sequential:
    """Pre-activation ResNet-110 for CIFAR, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _network((18, 18, 18), (16, 32, 64), False, num_classes)


def preact_resnet164(num_classes: int = 10) -> nn.Sequential:
    """Pre-activation ResNet-164 for CIFAR, of bottlenecks, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _network((18, 18, 18), (64, 128, 256), True, num_classes)


def preact_resnet1001(num_classes: int = 10) -> nn.Sequential:
    """Pre-activation ResNet-1001 for CIFAR, of bottlenecks, [N, 3, 32, 32] → scores [N, num_classes]."""
    return _network((111, 111, 111), (64, 128, 256), True, num_classes)


def preact_resnet18(num_classes: int = 1000) -> nn.Sequential:
    """Pre-activation ResNet-18, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((2, 2, 2, 2), (64, 128, 256, 512), False, num_classes)


def preact_resnet34(num_classes: int = 1000) -> nn.Sequential:
    """Pre-activation ResNet-34, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((3, 4, 6, 3), (64, 128, 256, 512), False, num_classes)


def preact_resnet50(num_classes: int = 1000, *, version: Version = "1.5") -> nn.Sequential:
    """Pre-activation ResNet-50, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((3, 4, 6, 3), (256, 512, 1024, 2048), True, num_classes, version)


def preact_resnet101(num_classes: int = 1000, *, version: Version = "1.5") -> nn.Sequential:
    """Pre-activation ResNet-101, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((3, 4, 23, 3), (256, 512, 1024, 2048), True, num_classes, version)


def preact_resnet152(num_classes: int = 1000, *, version: Version = "1.5") -> nn.Sequential:
    """Pre-activation ResNet-152, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((3, 8, 36, 3), (256, 512, 1024, 2048), True, num_classes, version)


def preact_resnet200(num_classes: int = 1000, *, version: Version = "1.5") -> nn.Sequential:
    """Pre-activation ResNet-200, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((3, 24, 36, 3), (256, 512, 1024, 2048), True, num_classes, version)


def _network(
    counts: tuple[int, ...], widths: tuple[int, ...], bottleneck: bool, num_classes: int, version: Version = "1"
) -> nn.Sequential:
    """`counts` units of `widths` maps a stage; four stages are ImageNet's, three CIFAR's."""
    if version not in ("1", "1.5"):
        raise unknown("version of ResNet", str(version), ("1", "1.5"))
    big = len(counts) == 4
    channels = 64 if big else 16
    stem = nn.Conv2d(3, channels, 7, 2, 3, bias=False) if big else nn.Conv2d(3, channels, 3, 1, 1, bias=False)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=stem, bn1=nn.BatchNorm2d(channels), relu1=nn.ReLU())
    if big:
        layers["pool1"] = nn.MaxPool2d(3, 2, 1)  # [N, 64, 56, 56]
    for stage, (count, width) in enumerate(zip(counts, widths, strict=True), start=2):
        for number in range(1, count + 1):
            stride = 2 if stage > 2 and number == 1 else 1
            strides = _strides(bottleneck, stride, version)
            first = stage == 2 and number == 1
            layers[f"conv{stage}_{number}"] = _unit(channels, width, strides, active=first, pad=not (big or bottleneck))
            channels = width
    layers["bn_last"] = nn.BatchNorm2d(channels)
    layers["relu_last"] = nn.ReLU()
    layers["avgpool"] = GlobalAvgPool2d()
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    model = nn.Sequential(layers)
    initialise(model)
    return model


def _strides(bottleneck: bool, stride: int, version: Version) -> tuple[int, ...]:
    """The stride of each convolution of a unit, three in a bottleneck."""
    if not bottleneck:
        return stride, 1
    return (stride, 1, 1) if version == "1" else (1, stride, 1)


def _unit(channels: int, width: int, strides: tuple[int, ...], *, active: bool, pad: bool) -> nn.Module:
    """`active`: the input is an activation already. `pad`: shortcuts add maps of zeros (option A)."""
    stride = max(strides)
    if channels == width and stride == 1:
        return IdentityUnit(_residual(channels, width, strides, active))
    activation = nn.Identity() if active else nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(channels), relu=nn.ReLU()))
    shortcut = PadShortcut(channels, width, stride) if pad else nn.Conv2d(channels, width, 1, stride, bias=False)
    return ChangingUnit(activation, _residual(channels, width, strides, active=True), shortcut)


def _residual(channels: int, width: int, strides: tuple[int, ...], active: bool) -> nn.Sequential:
    """[bn1 relu1] conv1 bn2 relu2 conv2 [bn3 relu3 conv3]; two convolutions 3x3, or three 1x1, 3x3, 1x1."""
    kernels, inner = ((3, 3), width) if len(strides) == 2 else ((1, 3, 1), width // 4)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (kernel, stride) in enumerate(zip(kernels, strides, strict=True), start=1):
        if number > 1 or not active:
            layers[f"bn{number}"] = nn.BatchNorm2d(channels)
            layers[f"relu{number}"] = nn.ReLU()
        out = width if number == len(strides) else inner
        layers[f"conv{number}"] = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
        channels = out
    return nn.Sequential(layers)
