"""PSPNet: a dilated ResNet whose maps are also averaged over the whole image, over 2x2, 3x3 and 6x6 parts of it.

H. Zhao, J. Shi, X. Qi, X. Wang, J. Jia, «Pyramid scene parsing network», CVPR 2017, section 3, figure 3; an auxiliary
classifier on the fourth stage, weighted by 0.4, helps training (figure 4) and is used in `losses` alone.

The encoder is this package's ResNet with a stride of 8 (`graph.dilate`), so that its weights load as they are. The
authors' own ResNet has three 3x3 convolutions for the 7x7 one of the paper it comes from. Upsampling is bilinear, with
pixels as areas.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal import catalog
from foveal.errors import unknown
from foveal.graph.dilate import dilate
from foveal.graph.swap import sharing
from foveal.layers.alignment import ResizeLike
from foveal.types import IGNORED, Facts

Encoder = Literal["resnet50", "resnet101", "resnet152"]

AUXILIARY_WEIGHT = 0.4
_BINS = (1, 2, 3, 6)

FACTS = {
    "pspnet": Facts(
        paper="Zhao, Shi, Qi, Wang, Jia: Pyramid Scene Parsing Network",
        year=2017,
        input=(3, 473, 473),
        num_classes=150,
        dataset="ADE20K",
        parameters=49_057_132,
        macs=155_804_357_312,
        published={
            "mean_iu": 41.68, "pixel_accuracy": 80.04,  # table 4, ResNet-50, one scale, validation
            "mean_iu_voc2012_test": 82.6, "mean_iu_cityscapes_test": 78.4,  # ResNet-101
        },
    ),
}  # fmt: skip


class PSPNet(nn.Module):
    """Images [N, 3, H, W] of any size → scores [N, num_classes, H, W]. The trunk's layers are children, by name."""

    def __init__(self, trunk: nn.Sequential, num_classes: int, classifier_name: str) -> None:
        super().__init__()
        self.classifier_name = classifier_name  # whose weights load by their names
        self.trunk = tuple(name for name, _ in trunk.named_children())
        for name, layer in trunk.named_children():
            self.add_module(name, layer)
        for size in _BINS:
            self.add_module(
                f"pyramid{size}", nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(size), **_unit(2048, 512, 1)))
            )
            self.add_module(f"resize{size}", ResizeLike())
        self.head = nn.Sequential(
            OrderedDict(**_unit(4096, 512, 3), drop=nn.Dropout(0.1), score=nn.Conv2d(512, num_classes, 1))
        )
        self.up = ResizeLike()
        self.aux = nn.Sequential(
            OrderedDict(**_unit(1024, 256, 3), drop=nn.Dropout(0.1), score=nn.Conv2d(256, num_classes, 1))
        )

    def forward(self, images: Tensor) -> Tensor:
        return self._scores(self._maps(images)[1], images)

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Cross-entropies of the scores and, times 0.4, of the auxiliary ones. targets [N, H, W]; 255 is ignored."""
        fourth, last = self._maps(images)
        wanted = targets.long()
        scores, aux = self._scores(last, images), self.up(self.aux(fourth), images)
        return {
            "cross_entropy": F.cross_entropy(scores.float(), wanted, ignore_index=IGNORED),
            "aux": AUXILIARY_WEIGHT * F.cross_entropy(aux.float(), wanted, ignore_index=IGNORED),
        }

    def _maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What stages 4 and 5 give: [N, 1024, H/8, W/8] and [N, 2048, H/8, W/8]."""
        x = fourth = images
        for name in self.trunk:
            x = self.get_submodule(name)(x)
            if name.startswith("conv4_"):
                fourth = x
        return fourth, x

    def _scores(self, x: Tensor, images: Tensor) -> Tensor:
        parts = [x]
        for size in _BINS:
            parts.append(self.get_submodule(f"resize{size}")(self.get_submodule(f"pyramid{size}")(x), x))
        return self.up(self.head(torch.cat(parts, 1)), images)  # type: ignore[no-any-return]


def pspnet(num_classes: int = 150, *, encoder: Encoder = "resnet50") -> PSPNet:
    """PSPNet, images [N, 3, H, W] of any size → scores [N, num_classes, H, W].

    encoder: resnet50, resnet101 or resnet152. Raises FovealError for others. Batches of one image cannot be trained
    (the average over the whole image is one value a map, which batch normalisation does not take).
    """
    if encoder not in ("resnet50", "resnet101", "resnet152"):
        raise unknown("encoder of pspnet", str(encoder), ("resnet50", "resnet101", "resnet152"))
    layers = OrderedDict(catalog.get("model", encoder)().named_children())
    for name in ("avgpool", "flatten", "fc"):
        del layers[name]
    trunk = sharing(nn.Sequential(layers), partial(dilate, stride=8))
    assert isinstance(trunk, nn.Sequential)
    model = PSPNet(trunk, num_classes, encoder)
    for name in (*(f"pyramid{size}" for size in _BINS), "head", "aux"):
        for layer in model.get_submodule(name).modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return model


def _unit(channels: int, maps: int, kernel: int) -> OrderedDict[str, nn.Module]:
    """Convolution, batch normalisation, ReLU."""
    conv = nn.Conv2d(channels, maps, kernel, padding=kernel // 2, bias=False)
    return OrderedDict(conv=conv, bn=nn.BatchNorm2d(maps), relu=nn.ReLU())
