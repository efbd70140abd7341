"""ZF net: AlexNet with a finer first layer, chosen by looking at what its filters see.

M. D. Zeiler, R. Fergus, «Visualizing and understanding convolutional networks», ECCV 2014, figure 3 and section 3.

Against AlexNet: conv1 is 7x7 with stride 2, no layer is cut into two towers, and the normalisation («contrast
normalized across feature maps», AlexNet's) stands behind the pooling. Variant (b) of table 2 widens layers 3, 4, 5.

The sizes 224, 110, 55, 26, 13, 6 of figure 3 are those of cuda-convnet, which rounds up wherever a stride does not
divide. Pooling does so here too. Where its conv1 reads one row of zeros behind the image, this one pads by one on
each side (the row in front is read, the one behind is not): the same 110x110, shifted by a pixel. One lecture pads
conv2 as well (its maps would be 27x27, not the figure's 26x26) and gives the last layer 4096 units: it has one a class.

Beyond the network: §3 rescales, in training, every filter of a convolution whose RMS exceeds 0.1 to that value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import nn

from foveal import notation
from foveal.errors import unknown
from foveal.types import Facts

FACTS = {
    "zfnet": Facts(
        paper="Zeiler, Fergus: Visualizing and Understanding Convolutional Networks",
        year=2014,
        input=(3, 224, 224),
        parameters=62_357_608,
        macs=1_168_032_896,
        top1_error=38.4,
        top5_error=16.5,  # one network, validation set, ten crops
        published={
            "sizes": (110, 55, 26, 13, 13, 13, 13, 6),  # of conv1, pool1, conv2, pool2, conv3, conv4, conv5, pool5
            "top1_error_b": 37.5, "top5_error_b": 16.0, "top5_error_b_on_test": 16.1,
        },
    ),
}  # fmt: skip

_WIDTHS: Mapping[str, tuple[int, int, int]] = {"a": (384, 384, 256), "b": (512, 1024, 512)}


def zfnet(
    num_classes: int = 1000, *, maps: Literal["a", "b"] = "a", input: tuple[int, int, int] = (3, 224, 224)
) -> nn.Sequential:
    """ZF net, [N, 3, 224, 224] → scores [N, num_classes].

    maps: those of conv3, conv4, conv5: "a" for figure 3's 384, 384, 256 (62,357,608 parameters), "b" for table 2's
    512, 1024, 512 (107,627,624). Another `input` size changes fc6. Raises FovealError for other maps.
    """
    if maps not in _WIDTHS:
        raise unknown("maps of zfnet", str(maps), _WIDTHS)
    three, four, five = _WIDTHS[maps]
    model = notation.parse(
        "7-2-1Conv96 (ReLU) → 3-2MaxPool (Ceil) → Norm → "
        "5-2Conv256 (ReLU) → 3-2MaxPool (Ceil) → Norm → "
        f"3-1-1Conv{three} (ReLU) → 3-1-1Conv{four} (ReLU) → 3-1-1Conv{five} (ReLU) → 3-2MaxPool (Ceil) → "
        f"FC4096 (Dropout, ReLU) → FC4096 (Dropout, ReLU) → FC{num_classes}",
        input=input,
        names="layer",
    )
    _initialise(model)
    return model


def _initialise(model: nn.Sequential) -> None:
    """Section 3: «all weights are initialized to 10⁻²», read as N(0, 0.01²), AlexNet's; biases 0."""
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
