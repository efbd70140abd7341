"""The VGG networks: configurations A, A-LRN, B, C, D and E.

K. Simonyan, A. Zisserman, «Very deep convolutional networks for large-scale image recognition», ICLR 2015, table 1.

Initialisation. The paper draws A's weights from N(0, 0.01²), biases 0, and starts the deeper nets from a trained A. A
deep net drawn so does not train by itself (its activations die out), therefore `init` is "normal", the paper's, for A
and A-LRN, and "he" (He et al. 2015, fan-in) for the others; "glorot" is what the authors found to work later (§3.1).

Keys of torchvision's state_dict: its `features.{i}` with weights are, in order, the conv{b}_{i} of this file, and
classifier.{0,3,6} are fc6, fc7, fc8. (torchvision pools adaptively to 7x7, which changes nothing at 224 pixels.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import nn

from foveal import notation
from foveal.errors import unknown
from foveal.types import Facts

Init = Literal["normal", "he", "glorot"]
Input = tuple[int, int, int]

_MACS_OF_A = 7_609_090_048


def _facts(parameters: int, macs: int, millions: int, top1: float, top5: float) -> Facts:
    """`millions` are table 2's; the errors are the best of one test scale (table 3), validation set."""
    return Facts(
        paper="Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition",
        year=2015,
        input=(3, 224, 224),
        parameters=parameters,
        macs=macs,
        top1_error=top1,
        top5_error=top5,
        published={"parameters_in_millions": millions},
    )


FACTS = {
    "vgg11": _facts(132_863_336, _MACS_OF_A, 133, 29.6, 10.4),
    "vgg11_lrn": _facts(132_863_336, _MACS_OF_A, 133, 29.7, 10.5),
    "vgg13": _facts(133_047_848, 11_308_466_176, 133, 28.7, 9.9),
    "vgg16_c": _facts(133_638_952, 11_770_888_192, 134, 27.3, 8.8),
    "vgg16": _facts(138_357_544, 15_470_264_320, 138, 25.6, 8.1),
    "vgg19": _facts(143_667_240, 19_632_062_464, 144, 25.5, 8.0),
}

_POOL = "2-2MaxPool"


def vgg11(num_classes: int = 1000, *, init: Init = "normal", input: Input = (3, 224, 224)) -> nn.Sequential:
    """VGG A, 8 convolutions, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((_c(64), _c(128), _c(256, 2), _c(512, 2), _c(512, 2)), num_classes, init, input)


def vgg11_lrn(num_classes: int = 1000, *, init: Init = "normal", input: Input = (3, 224, 224)) -> nn.Sequential:
    """VGG A-LRN, A with a local response normalisation behind conv1_1, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((f"{_c(64)} → Norm", _c(128), _c(256, 2), _c(512, 2), _c(512, 2)), num_classes, init, input)


def vgg13(num_classes: int = 1000, *, init: Init = "he", input: Input = (3, 224, 224)) -> nn.Sequential:
    """VGG B, 10 convolutions, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((_c(64, 2), _c(128, 2), _c(256, 2), _c(512, 2), _c(512, 2)), num_classes, init, input)


def vgg16_c(num_classes: int = 1000, *, init: Init = "he", input: Input = (3, 224, 224)) -> nn.Sequential:
    """VGG C, 13 convolutions, the last of blocks 3, 4 and 5 being 1x1, [N, 3, 224, 224] → scores [N, num_classes]."""
    deep = tuple(f"{_c(maps, 2)} → 1-1Conv{maps} (ReLU)" for maps in (256, 512, 512))
    return _network((_c(64, 2), _c(128, 2), *deep), num_classes, init, input)


def vgg16(num_classes: int = 1000, *, init: Init = "he", input: Input = (3, 224, 224)) -> nn.Sequential:
    """VGG D, 13 convolutions, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((_c(64, 2), _c(128, 2), _c(256, 3), _c(512, 3), _c(512, 3)), num_classes, init, input)


def vgg19(num_classes: int = 1000, *, init: Init = "he", input: Input = (3, 224, 224)) -> nn.Sequential:
    """VGG E, 16 convolutions, [N, 3, 224, 224] → scores [N, num_classes]."""
    return _network((_c(64, 2), _c(128, 2), _c(256, 4), _c(512, 4), _c(512, 4)), num_classes, init, input)


def _c(maps: int, times: int = 1) -> str:
    """3x3 convolutions in the lecture notation."""
    return " → ".join([f"3-1-1Conv{maps} (ReLU)"] * times)


def _network(blocks: tuple[str, ...], num_classes: int, init: Init, input: Input) -> nn.Sequential:
    if init not in _DRAW:
        raise unknown("init of VGG", str(init), _DRAW)
    head = f"FC4096 (Dropout, ReLU) → FC4096 (Dropout, ReLU) → FC{num_classes}"
    text = " → ".join([f"{block} → {_POOL}" for block in blocks] + [head])
    model = notation.parse(text, input=input, names="block")
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            _DRAW[init](layer)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


def _normal(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.normal_(layer.weight, std=0.01)


def _he(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def _glorot(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.xavier_uniform_(layer.weight)


_DRAW: Mapping[str, Callable[[nn.Conv2d | nn.Linear], None]] = {"normal": _normal, "he": _he, "glorot": _glorot}
