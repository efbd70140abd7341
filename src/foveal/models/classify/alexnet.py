"""AlexNet as published: two towers, local response normalisation, 227x227 pixels; and its later form in one tower.

A. Krizhevsky, I. Sutskever, G. Hinton, «ImageNet classification with deep convolutional neural networks», NIPS 2012.

The paper's 224 pixels cannot be: an 11x11 window with stride 4 and no padding gives its 55x55 maps on 227. Its count
of 253,440 neurons in the first layer is 55·48·96, a slip for 55·55·96 = 290,400; with it the sum is 659,272.

`alexnet_owt` is what torchvision calls `alexnet`: one tower of 64, 192, 384, 256, 256 maps, after A. Krizhevsky, «One
weird trick for parallelizing convolutional neural networks», 2014 (arXiv:1404.5997). That it does not normalise and
pads its 224x224 pixels by 2 is torchvision's choice. Another input size changes fc6 here, where torchvision averages
to 6x6 maps; its weights are drawn here as those of 2012.

Keys of torchvision's state_dict: features.{0,3,6,8,10} is conv{1,2,3,4,5} and classifier.{1,4,6} is fc{6,7,8}; of
`alexnet` only the three fc have these shapes.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from foveal import notation
from foveal.errors import unknown
from foveal.types import Facts

FACTS = {
    "alexnet": Facts(
        paper="Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks",
        year=2012,
        input=(3, 227, 227),
        parameters=60_965_224,
        macs=724_406_816,
        top1_error=40.7,
        top5_error=18.2,  # one network, validation set, ten crops
        published={
            "parameters": 60_000_000, "neurons": 650_000, "input": (3, 224, 224),
            "neurons_by_layer": (253_440, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000),
        },
    ),
    "alexnet_owt": Facts(
        paper="Krizhevsky: One Weird Trick for Parallelizing Convolutional Neural Networks",
        year=2014,
        input=(3, 224, 224),
        parameters=61_100_840,
        macs=714_188_480,
        published={"torchvision_top1_error": 43.478, "torchvision_top5_error": 20.934},  # its weights, centre crop
    ),
}  # fmt: skip


def alexnet(
    num_classes: int = 1000, *, towers: Literal[1, 2] = 2, input: tuple[int, int, int] = (3, 227, 227)
) -> nn.Sequential:
    """AlexNet, [N, 3, 227, 227] → scores [N, num_classes].

    towers: 2 as published, where conv2, conv4 and conv5 see only the maps of their own half (60,965,224 parameters),
    or 1 without the groups (62,378,344). Another `input` size changes fc6. Raises FovealError for other towers.
    """
    if towers not in (1, 2):
        raise unknown("number of towers of alexnet", str(towers), ("1", "2"))
    g = "/2" if towers == 2 else ""
    model = notation.parse(
        "11-4Conv96 (ReLU) → Norm → 3-2MaxPool → "
        f"5-1-2Conv256{g} (ReLU) → Norm → 3-2MaxPool → "
        f"3-1-1Conv384 (ReLU) → 3-1-1Conv384{g} (ReLU) → 3-1-1Conv256{g} (ReLU) → 3-2MaxPool → "
        f"FC4096 (Dropout, ReLU) → FC4096 (Dropout, ReLU) → FC{num_classes}",
        input=input,
        names="layer",
    )
    _initialise(model)
    return model


def alexnet_owt(num_classes: int = 1000, *, input: tuple[int, int, int] = (3, 224, 224)) -> nn.Sequential:
    """AlexNet in one tower, as torchvision has it: [N, 3, 224, 224] → scores [N, num_classes].

    Another `input` size changes fc6.
    """
    model = notation.parse(
        "11-4-2Conv64 (ReLU) → 3-2MaxPool → 5-1-2Conv192 (ReLU) → 3-2MaxPool → "
        "3-1-1Conv384 (ReLU) → 3-1-1Conv256 (ReLU) → 3-1-1Conv256 (ReLU) → 3-2MaxPool → "
        f"FC4096 (Dropout, ReLU) → FC4096 (Dropout, ReLU) → FC{num_classes}",
        input=input,
        names="layer",
    )
    _initialise(model)
    return model


def _initialise(model: nn.Sequential) -> None:
    """Section 5: weights N(0, 0.01²); biases 1 in conv2, conv4, conv5 and the hidden fully connected layers, else 0."""
    for name, layer in model.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 1.0 if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0.0)
