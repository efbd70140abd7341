"""A label map straight from fully connected layers: the last layer has an output for each class at each place.

What P. Luo, X. Wang, X. Tang, «Hierarchical face parsing via deep learning», CVPR 2012, and «Pedestrian parsing via
deep decompositional network», ICCV 2013, do on images whose parts are where they always are: faces and pedestrians.
Each place has weights of its own, so that the network knows where it is and cannot be moved: nothing is learned at one
place for another, and images have one size. The layers are this package's choice; no single paper is reproduced.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from foveal.errors import FovealError
from foveal.layers.channels import ToMaps
from foveal.layers.switched import initialise_he
from foveal.types import Facts

_STRIDE = 4  # of the label map

FACTS = {
    "label_map": Facts(  # of the idea; no published network has these layers
        paper="Luo, Wang, Tang: Hierarchical Face Parsing via Deep Learning",
        year=2012,
        input=(3, 224, 224),
        num_classes=11,
        dataset="LFW (faces)",
    ),
}


def label_map(
    num_classes: int = 11, *, input: tuple[int, int, int] = (3, 224, 224), hidden: int = 256, stride: int = _STRIDE
) -> nn.Sequential:
    """Convolutions, a fully connected layer, the map: images [N, *input] → scores [N, num_classes, H, W].

    hidden: units between. stride: pixels from one label of the map to the next; it is upsampled bilinearly. Raises
    FovealError for an image whose sides are no multiples of 16, or of the stride.
    """
    channels, height, width = input
    if any(side < 16 or side % 16 or side % stride for side in (height, width)):
        raise FovealError(
            f"label_map cannot cut {height}x{width} pixels into a map of stride {stride}",
            "give sides that are multiples of 16 and of the stride",
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, maps in enumerate((16, 32, 64, 64), start=1):  # [N, 64, H/16, W/16]
        layers[f"conv{number}"] = nn.Conv2d(channels, maps, 5, padding=2)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        channels = maps
    layers["flatten"] = nn.Flatten()
    layers["fc5"] = nn.Linear(channels * (height // 16) * (width // 16), hidden)
    layers["relu5"] = nn.ReLU()
    layers["fc6"] = nn.Linear(hidden, num_classes * (height // stride) * (width // stride))
    layers["map"] = ToMaps((num_classes, height // stride, width // stride))
    layers["up"] = nn.Upsample(scale_factor=stride, mode="bilinear")
    model = nn.Sequential(layers)
    initialise_he(model)
    return model
