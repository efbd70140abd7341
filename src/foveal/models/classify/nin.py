"""Network in network: a small perceptron slides over the image in place of each filter; no layer is fully connected.

M. Lin, Q. Chen, S. Yan, «Network in network», ICLR 2014. `nin_cifar` is the paper's network (figure 2, section 4) and
`nin` the one that its authors released for ImageNet: AlexNet's filters, each followed by two 1x1 convolutions.

The sizes, which the paper does not print, are those of the released Caffe networks. So is the ReLU on the class maps
before the global average: a class's score is never negative. conv{b}_1, conv{b}_2, conv{b}_3 of block b are there
called conv{b}, cccp{2b-1}, cccp{2b} («cascaded cross channel parametric pooling»).
"""

from __future__ import annotations

from torch import nn

from foveal import notation
from foveal.types import Facts

Input = tuple[int, int, int]

FACTS = {
    "nin": Facts(
        paper="Lin, Chen, Yan: Network In Network (released ImageNet model)",
        year=2014,
        input=(3, 224, 224),
        parameters=7_595_176,
        macs=1_100_188_800,
        top1_error=39.2,  # as told in lectures; the released weights' own page says 40.64, without ten crops
        published={"parameters": 7_500_000, "megabytes": 29, "top1_error_of_released_weights": 40.64},
    ),
    "nin_cifar": Facts(
        paper="Lin, Chen, Yan: Network In Network",
        year=2014,
        input=(3, 32, 32),
        num_classes=10,
        parameters=966_986,
        macs=222_486_528,
        dataset="CIFAR-10",
        top1_error=8.81,  # with translations and flips
        published={"top1_error_without_augmentation": 10.41},
    ),
}


def nin(num_classes: int = 1000, *, input: Input = (3, 224, 224)) -> nn.Sequential:
    """Network in network for ImageNet, four blocks of three layers, [N, 3, 224, 224] → scores [N, num_classes]."""
    pool = "3-2MaxPool (Ceil)"
    model = notation.parse(
        f"{_block('11-4Conv96', 96, 96)} → {pool} → {_block('5-1-2Conv256', 256, 256)} → {pool} → "
        f"{_block('3-1-1Conv384', 384, 384)} → {pool} → Dropout → {_block('3-1-1Conv1024', 1024, num_classes)} → "
        "GlobalAvgPool → Flatten",
        input=input,
        names="block",
    )
    _initialise(model, narrow=("conv1_1", "conv3_1", "conv4_3"))
    return model


def nin_cifar(num_classes: int = 10, *, input: Input = (3, 32, 32)) -> nn.Sequential:
    """Network in network for CIFAR, three blocks of three layers, [N, 3, 32, 32] → scores [N, num_classes]."""
    model = notation.parse(
        f"{_block('5-1-2Conv192', 160, 96)} → 3-2MaxPool (Ceil) → Dropout → "
        f"{_block('5-1-2Conv192', 192, 192)} → 3-2AvgPool (Ceil) → Dropout → "
        f"{_block('3-1-1Conv192', 192, num_classes)} → GlobalAvgPool → Flatten",
        input=input,
        names="block",
    )
    _initialise(model)
    return model


def _block(filters: str, hidden: int, outputs: int) -> str:
    """An mlpconv layer (section 3.1): `filters`, then two layers of a perceptron at every position."""
    return f"{filters} (ReLU) → 1-1Conv{hidden} (ReLU) → 1-1Conv{outputs} (ReLU)"


def _initialise(model: nn.Sequential, narrow: tuple[str, ...] = ()) -> None:
    """As released: weights N(0, 0.05²), of the layers in `narrow` N(0, 0.01²); biases 0."""
    for name, layer in model.named_children():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01 if name in narrow else 0.05)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
