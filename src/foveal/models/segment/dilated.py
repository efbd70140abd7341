"""Dilated convolutions: VGG-16 without its last two poolings, and a context module that sees far at a stride of 8.

F. Yu, V. Koltun, «Multi-scale context aggregation by dilated convolutions», ICLR 2016, sections 3 and 4, table 1.

The front end is the sliding VGG-16 without pool4 and pool5, whose convolutions behind them look through windows with
holes of 2 (conv5) and 4 (fc6), so that its weights stay what they were. No layer pads; the image is mirrored instead.
The context module doubles its reach layer by layer at constant cost and starts as the identity (section 3). Its layers
pad by their dilation, so that its maps keep their size. Scores are brought to the image's size bilinearly.

Keys of the state_dict: VGG's own (conv1_1.weight … fc7.bias), then score and context.conv1 … conv8.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from foveal.errors import unknown
from foveal.graph.convolutionalize import convolutionalize
from foveal.graph.swap import sharing
from foveal.layers.alignment import CropLike, MirrorPad
from foveal.layers.sliding import SlidingLinear
from foveal.models.classify.vgg import vgg16
from foveal.types import Facts

Context = Literal["none", "basic", "large"]

_BORDER = 186  # what the front end's windows reach beyond a position's own 8 pixels
_DILATIONS = (1, 1, 2, 4, 8, 16, 1)  # table 1; one 1x1 convolution stands behind
_WIDTHS = {"basic": (1, 1, 1, 1, 1, 1, 1), "large": (2, 2, 4, 8, 16, 32, 32)}  # in classes

FACTS = {
    "dilated": Facts(
        paper="Yu, Koltun: Multi-Scale Context Aggregation by Dilated Convolutions",
        year=2016,
        input=(3, 500, 500),
        num_classes=21,
        dataset="PASCAL VOC 2012",
        parameters=134_374_973,
        macs=730_074_210_624,
        published={
            "mean_iu_front_end_test": 67.6,  # table 2, trained on VOC 2012 with the additional masks
            "mean_iu_front_end": 69.8, "mean_iu_basic": 71.3, "mean_iu_large": 72.1,  # validation, table 3, with COCO
            "mean_iu_camvid": 65.3, "context_receptive_field": 67,
        },
    ),
}  # fmt: skip


class Dilated(nn.Module):
    """Mirror, front end, scores, context, upsampling: images [N, 3, H, W] of any size → scores [N, classes, H, W]."""

    def __init__(self, front: OrderedDict[str, nn.Module], num_classes: int, context: Context) -> None:
        super().__init__()
        self.classifier_name = "vgg16"  # whose weights load by their names
        self.mirror = MirrorPad(_BORDER, 8)
        self.front = tuple(front)
        for name, layer in front.items():
            self.add_module(name, layer)
        self.score = nn.Conv2d(4096, num_classes, 1)
        self.context = _context(num_classes, context)
        self.up = nn.Upsample(scale_factor=8, mode="bilinear")
        self.crop = CropLike()

    def forward(self, images: Tensor) -> Tensor:
        x = self.mirror(images)
        for name in self.front:
            x = self.get_submodule(name)(x)
        x = self.context(self.score(x))  # [N, classes, H/8, W/8]
        return self.crop(self.up(x), images)  # type: ignore[no-any-return]


def dilated(num_classes: int = 21, *, context: Context = "basic") -> Dilated:
    """Front end and context module, images [N, 3, H, W] of any size → scores [N, num_classes, H, W].

    context: "none" is the front end alone, "basic" has as many maps as classes in each layer, "large" up to 32 times
    as many. Raises FovealError for another.
    """
    if context not in get_args(Context):
        raise unknown("context of dilated", str(context), get_args(Context))
    model = Dilated(_front(), num_classes, context)
    nn.init.normal_(model.score.weight, std=0.01)
    assert model.score.bias is not None
    nn.init.zeros_(model.score.bias)
    return model


def _front() -> OrderedDict[str, nn.Module]:
    """VGG-16 without its scores and its last two poolings, sliding with holes, unpadded."""
    layers = OrderedDict(vgg16().named_children())
    del layers["fc8"]
    sliding = sharing(nn.Sequential(layers), partial(convolutionalize, input=(3, 224, 224)))
    front: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in sliding.named_children():
        if isinstance(layer, nn.Conv2d):
            layer.padding = (0, 0)
            layer.dilation = (2, 2) if name.startswith("conv5") else (1, 1)
        elif isinstance(layer, SlidingLinear):
            layer.dilation = (4, 4) if name == "fc6" else (1, 1)
        if name not in ("pool4", "pool5") and not isinstance(layer, nn.Identity):
            front[name] = layer
    return front


def _context(classes: int, kind: Context) -> nn.Sequential:
    """Table 1, started as the identity: equation 4 where all widths are equal, else equation 5."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if kind == "none":
        return nn.Sequential(layers)
    maps = classes
    for number, (dilation, times) in enumerate(zip(_DILATIONS, _WIDTHS[kind], strict=True), start=1):
        layers[f"conv{number}"] = nn.Conv2d(maps, times * classes, 3, padding=dilation, dilation=dilation)
        layers[f"relu{number}"] = nn.ReLU()
        maps = times * classes
    layers["conv8"] = nn.Conv2d(maps, classes, 1)
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d):
            _identity(layer, classes)
    return nn.Sequential(layers)


@torch.no_grad()
def _identity(conv: nn.Conv2d, classes: int) -> None:
    """Each map hands on the mean of its class's maps; noise breaks the ties between maps of one class."""
    out, into = conv.out_channels, conv.in_channels
    nn.init.zeros_(conv.weight)
    if out != into or out != classes:
        nn.init.normal_(conv.weight, std=0.01 * classes / out)
    same = torch.arange(out)[:, None] * classes // out == torch.arange(into) * classes // into  # [out, in]
    middle = conv.kernel_size[0] // 2
    conv.weight[:, :, middle, middle] += same.to(conv.weight) * classes / into
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
