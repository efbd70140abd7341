"""DeconvNet: VGG-16 down to one position, and the same way back by unpooling and transposed convolutions.

H. Noh, S. Hong, B. Han, «Learning deconvolution network for semantic segmentation», ICCV 2015, section 3, figure 2 and
table 2 of its supplement: 224x224 pixels become 1x1x4096 (fc7), and the deconvolution part mirrors this. Here the 7x7
layers slide, so that larger images are taken too.

Departure: the paper trains it on boxes around objects in two stages and combines 50 boxes of an image; that is a
recipe's matter.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from foveal.layers.switched import SwitchedChain, conv_bn_relu, initialise_he, vgg_encoder
from foveal.layers.unpooling import MaxUnpool2d
from foveal.types import Facts

FACTS = {
    "deconvnet": Facts(
        paper="Noh, Hong, Han: Learning Deconvolution Network for Semantic Segmentation",
        year=2015,
        input=(3, 224, 224),
        num_classes=21,
        dataset="PASCAL VOC 2012",
        parameters=251_805_653,
        macs=32_745_979_904,
        published={"parameters_in_millions": 252, "mean_iu": 69.6, "mean_iu_with_crf": 70.5},  # test, boxes of EdgeBox
    ),
}

_DECONVOLUTIONS = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64, 64))  # blocks 5 … 1


def deconvnet(num_classes: int = 21) -> nn.Module:
    """DeconvNet, images [N, 3, H, W] of any size from 224 on → scores [N, num_classes, H, W]."""
    layers: OrderedDict[str, nn.Module] = vgg_encoder()
    layers["fc6"] = conv_bn_relu(512, 4096, 7, padding=0)  # [N, 4096, 1, 1]
    layers["fc7"] = conv_bn_relu(4096, 4096, 1)
    layers["deconv_fc6"] = conv_bn_relu(4096, 512, 7, transposed=True, padding=0)  # [N, 512, 7, 7]
    maps = 512
    for block, widths in zip(range(5, 0, -1), _DECONVOLUTIONS, strict=True):
        layers[f"unpool{block}"] = MaxUnpool2d(2)
        for number, width in enumerate(widths, start=1):
            layers[f"deconv{block}_{number}"] = conv_bn_relu(maps, width, transposed=True)
            maps = width
    layers["seg_score"] = nn.Conv2d(maps, num_classes, 1)
    model = SwitchedChain(layers)
    initialise_he(model)
    return model
