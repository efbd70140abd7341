"""Deep Image: VGG's depth with wider fully connected layers.

R. Wu, S. Yan, Y. Shan, Q. Dang, G. Sun, «Deep Image: scaling up image recognition», arXiv 1501.02876, 2015.

The paper's table gives blocks of 2, 2, 3, 3, 3 convolutions with max pooling behind each, 512 maps in the last two
blocks, FC1-2 of 6144 and FC3 of 1000; its text speaks of up to 8192 hidden units. What it leaves open is VGG D's here:
3x3 filters, 64, 128 and 256 maps below, 224x224 pixels, dropout, ReLU. Its best figures are of a network trained on
images of 512 pixels. The initialisation is not stated either: He et al. 2015, with which 16 layers train from scratch.

Layers are numbered as in the paper, conv1 to conv13; fc14, fc15, fc16 are its FC1, FC2, FC3.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from foveal import notation
from foveal.errors import unknown
from foveal.types import Facts

Hidden = Literal[6144, 8192]

FACTS = {
    "deep_image": Facts(
        paper="Wu, Yan, Shan, Dang, Sun: Deep Image: Scaling up Image Recognition",
        year=2015,
        input=(3, 224, 224),
        parameters=212_761_384,
        macs=15_544_664_064,
        top1_error=24.88,
        top5_error=7.42,  # one network, validation set, 512 pixels
        published={"layers": 16, "fc": (6144, 8192)},
    ),
}


def deep_image(
    num_classes: int = 1000, *, fc: Hidden = 6144, input: tuple[int, int, int] = (3, 224, 224)
) -> nn.Sequential:
    """Deep Image, 16 layers, [N, 3, 224, 224] → scores [N, num_classes].

    fc: the hidden units of fc14 and fc15, 6144 as in the paper's table (212,761,384 parameters) or 8192 as in its
    text (295,553,832). Another `input` size changes fc14. Raises FovealError for other widths.
    """
    if fc not in get_args(Hidden):
        raise unknown("fc of deep_image", str(fc), map(str, get_args(Hidden)))
    blocks = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
    trunk = " → ".join(f"[3-1-1Conv{maps} (ReLU)]x{count} → 2-2MaxPool" for count, maps in blocks)
    model = notation.parse(
        f"{trunk} → FC{fc} (Dropout, ReLU) → FC{fc} (Dropout, ReLU) → FC{num_classes}", input=input, names="layer"
    )
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model
