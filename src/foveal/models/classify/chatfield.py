"""CNN-F, CNN-M and CNN-S: a fast, a medium and a slow network, compared under one roof.

K. Chatfield, K. Simonyan, A. Vedaldi, A. Zisserman, «Return of the devil in the details: delving deep into
convolutional nets», BMVC 2014, table 1. CNN-F is close to AlexNet, CNN-M to ZF net, CNN-S to OverFeat's accurate one.

Table 1 gives poolings by their factor only. Their windows are those of the released Caffe networks: 3x3 with stride 2,
in CNN-S 3x3/3, 2x2/2 and 3x3/3, and a last, partial window counts. Their normalisation is AlexNet's (k = 2, n = 5).
conv2 of CNN-S is padded by one, as table 1 says; its released network does not pad there (33x33 maps for 35x35). The
weights fit either way and the scores differ.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from foveal import notation
from foveal.errors import unknown
from foveal.types import Facts

Input = tuple[int, int, int]
FC7 = Literal[4096, 2048, 1024, 128]


def _facts(parameters: int, macs: int, top5: float, **published: float) -> Facts:
    """The errors are those of one network on the validation set."""
    return Facts(
        paper="Chatfield, Simonyan, Vedaldi, Zisserman: Return of the Devil in the Details",
        year=2014,
        input=(3, 224, 224),
        parameters=parameters,
        macs=macs,
        top5_error=top5,
        published=published,
    )


FACTS = {
    "cnn_f": _facts(60_834_536, 724_005_632, 16.7),
    "cnn_m": _facts(
        102_908_520, 1_676_172_320, 13.7, top5_error_fc7_2048=13.5, top5_error_fc7_1024=13.7, top5_error_fc7_128=15.6
    ),
    "cnn_s": _facts(102_908_520, 2_927_705_120, 13.1),
}

_POOL = "3-2MaxPool (Ceil)"


def cnn_f(num_classes: int = 1000, *, input: Input = (3, 224, 224)) -> nn.Sequential:
    """CNN-F, fast: conv1 with stride 4, [N, 3, 224, 224] → scores [N, num_classes]; `input` changes fc6."""
    return _network(
        f"11-4Conv64 (ReLU) → Norm → {_POOL} → 5-1-2Conv256 (ReLU) → Norm → {_POOL} → "
        f"[3-1-1Conv256 (ReLU)]x3 → {_POOL}",
        4096,
        num_classes,
        input,
    )


def cnn_m(num_classes: int = 1000, *, fc7: FC7 = 4096, input: Input = (3, 224, 224)) -> nn.Sequential:
    """CNN-M, medium: conv1 and conv2 with stride 2, [N, 3, 224, 224] → scores [N, num_classes].

    fc7: its outputs, the image's descriptor: 4096, or 2048, 1024, 128 in CNN-M 2048, CNN-M 1024, CNN-M 128. Another
    `input` size changes fc6. Raises FovealError for other widths of fc7.
    """
    if fc7 not in get_args(FC7):
        raise unknown("fc7 of cnn_m", str(fc7), map(str, get_args(FC7)))
    return _network(
        f"7-2Conv96 (ReLU) → Norm → {_POOL} → 5-2-1Conv256 (ReLU) → Norm → {_POOL} → [3-1-1Conv512 (ReLU)]x3 → {_POOL}",
        fc7,
        num_classes,
        input,
    )


def cnn_s(num_classes: int = 1000, *, input: Input = (3, 224, 224)) -> nn.Sequential:
    """CNN-S, slow: conv2 with stride 1, [N, 3, 224, 224] → scores [N, num_classes]; `input` changes fc6."""
    return _network(
        "7-2Conv96 (ReLU) → Norm → 3-3MaxPool (Ceil) → 5-1-1Conv256 (ReLU) → 2-2MaxPool (Ceil) → "
        "[3-1-1Conv512 (ReLU)]x3 → 3-3MaxPool (Ceil)",
        4096,
        num_classes,
        input,
    )


def _network(trunk: str, fc7: int, num_classes: int, input: Input) -> nn.Sequential:
    """Weights N(0, 0.01²) and biases 0, as in AlexNet. The paper, like VGG's, writes 10⁻² for the variance."""
    model = notation.parse(
        f"{trunk} → FC4096 (Dropout, ReLU) → FC{fc7} (Dropout, ReLU) → FC{num_classes}", input=input, names="layer"
    )
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model
