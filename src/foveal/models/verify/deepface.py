"""DeepFace: three locally connected layers on frontalised faces.

Y. Taigman, M. Yang, M. Ranzato, L. Wolf, «DeepFace: closing the gap to human-level performance in face verification»,
CVPR 2014, section 3 and figure 2. The images are 152x152 faces, aligned in 3D, so that each position is a place of the
face and may have filters of its own. Features of a face are the 4096 outputs of relu7.

The text says «more than 120 million parameters, more than 95 % of them from the local and fully connected layers». The
layers of figure 2 have 118,923,774, biases included, and 99.96 % of them there. The figure's 71x71 after M2 needs a
pooling that rounds up; the stride of L5, which the text does not give, follows from its 25x25.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from foveal.layers.locally_connected import LocallyConnected2d
from foveal.types import Facts

FACTS = {
    "deepface": Facts(
        paper="Taigman, Yang, Ranzato, Wolf: DeepFace: Closing the Gap to Human-Level Performance in Face Verification",
        year=2014,
        input=(3, 152, 152),
        num_classes=4030,
        parameters=118_923_774,
        macs=517_624_448,
        dataset="SFC (4.4 million faces of 4,030 people)",
        top1_error=8.74,  # table 1, DF-4.4M
        published={
            "parameters": 120_000_000,
            "share_of_local_and_fully_connected": 0.95,
            "lfw_accuracy": 97.35,  # ensemble; ± 0.25
            "lfw_accuracy_single": 97.00,  # one network, weighted χ²; ± 0.28
            "maps": (142, 71, 63, 55, 25, 21),  # side of C1, M2, C3, L4, L5, L6
        },
    ),
}


def deepface(num_classes: int = 4030) -> nn.Sequential:
    """DeepFace, aligned faces [N, 3, 152, 152] in 0..1 → scores [N, num_classes], one class a person."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        C1=nn.Conv2d(3, 32, 11),  # [N, 32, 142, 142]
        relu1=nn.ReLU(),
        M2=nn.MaxPool2d(3, 2, ceil_mode=True),  # [N, 32, 71, 71]
        C3=nn.Conv2d(32, 16, 9),  # [N, 16, 63, 63]
        relu3=nn.ReLU(),
        L4=LocallyConnected2d(16, 16, (63, 63), 9),  # [N, 16, 55, 55]
        relu4=nn.ReLU(),
        L5=LocallyConnected2d(16, 16, (55, 55), 7, stride=2),  # [N, 16, 25, 25]
        relu5=nn.ReLU(),
        L6=LocallyConnected2d(16, 16, (25, 25), 5),  # [N, 16, 21, 21]
        relu6=nn.ReLU(),
        flatten=nn.Flatten(),
        F7=nn.Linear(16 * 21 * 21, 4096),
        relu7=nn.ReLU(),
        drop7=nn.Dropout(),  # «only to the first fully-connected layer»
        F8=nn.Linear(4096, num_classes),
    )
    model = nn.Sequential(layers)
    _initialise(model)
    return model


def _initialise(model: nn.Sequential) -> None:
    """Section 3.1: weights N(0, 0.01²), biases 0.5."""
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear | LocallyConnected2d):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.constant_(layer.bias, 0.5)
