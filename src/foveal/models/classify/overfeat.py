"""OverFeat, the fast and the accurate network, as classifiers.

P. Sermanet, D. Eigen, X. Zhang, M. Mathieu, R. Fergus, Y. LeCun, «OverFeat: integrated recognition, localization and
detection using convolutional networks», ICLR 2014, tables 1 and 3.

Against AlexNet: no normalisation, poolings that do not overlap, and more maps in the upper layers (of the fast network
512, 1024, 1024 against 384, 384, 256). `graph.convolutionalize` makes of either the sliding-window network of the
paper: a 6x6 classifier every 32 pixels (fast) or a 5x5 one every 36 (accurate).

Slips of the paper. Table 1 gives the second layer an input of 24x24, which is its output: 231 → 56 → 28 → 24. Table 5
(scales; 17x17 unpooled maps at 245, 3x3 pooling, 5x5 classifier) is about the accurate network, whose maps before the
last pooling those are (of its sixth layer, 1024 and not 256 of them); its scale 5 must read 32x38, 10x12, 6x8.

The released weights lie in one file in the order of these layers; their ReLU gives 1e-6 where this one gives 0.
"""

from __future__ import annotations

from torch import nn

from foveal import notation
from foveal.types import Facts

_PAPER = "Sermanet et al.: OverFeat: Integrated Recognition, Localization and Detection using Convolutional Networks"

FACTS = {
    "overfeat_fast": Facts(
        paper=_PAPER,
        year=2014,
        input=(3, 231, 231),
        parameters=145_920_872,
        macs=2_801_403_904,
        top5_error=16.97,  # one network, validation set, dense with fine stride
        published={
            "parameters": 145_000_000,
            "maps": (96, 256, 512, 1024, 1024, 3072, 4096, 1000),
            "spatial_input_sizes": (231, 24, 12, 12, 12, 6, 1, 1),
        },
    ),
    "overfeat_accurate": Facts(
        paper=_PAPER,
        year=2014,
        input=(3, 221, 221),
        parameters=144_656_488,
        macs=5_355_446_784,
        top1_error=35.7,
        top5_error=14.18,  # one network, validation set, dense over several scales
        published={"parameters": 144_000_000},
    ),
}


def overfeat_fast(num_classes: int = 1000, *, input: tuple[int, int, int] = (3, 231, 231)) -> nn.Sequential:
    """OverFeat's fast network, 8 layers, [N, 3, 231, 231] → scores [N, num_classes].

    Another `input` size changes fc6.
    """
    return _network(
        "11-4Conv96 (ReLU) → 2-2MaxPool → 5-1Conv256 (ReLU) → 2-2MaxPool → "
        "3-1-1Conv512 (ReLU) → [3-1-1Conv1024 (ReLU)]x2 → 2-2MaxPool → "
        f"FC3072 (Dropout, ReLU) → FC4096 (Dropout, ReLU) → FC{num_classes}",
        input,
    )


def overfeat_accurate(num_classes: int = 1000, *, input: tuple[int, int, int] = (3, 221, 221)) -> nn.Sequential:
    """OverFeat's accurate network, 9 layers, [N, 3, 221, 221] → scores [N, num_classes].

    Another `input` size changes fc7.
    """
    return _network(
        "7-2Conv96 (ReLU) → 3-3MaxPool → 7-1Conv256 (ReLU) → 2-2MaxPool → "
        "[3-1-1Conv512 (ReLU)]x2 → [3-1-1Conv1024 (ReLU)]x2 → 3-3MaxPool → "
        f"FC4096 (Dropout, ReLU) → FC4096 (Dropout, ReLU) → FC{num_classes}",
        input,
    )


def _network(text: str, input: tuple[int, int, int]) -> nn.Sequential:
    """Section 3.1: weights N(0, 0.01²); of the biases the paper says nothing: 0."""
    model = notation.parse(text, input=input, names="layer")
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model
