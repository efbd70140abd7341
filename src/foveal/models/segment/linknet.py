"""LinkNet: a ResNet down, light blocks up, and at every size the encoder's maps added to the decoder's.

A. Chaurasia, E. Culurciello, «LinkNet: exploiting encoder representations for efficient semantic segmentation», VCIP
2017, section III, figures 1 and 2. The encoder is this package's ResNet without its classifier, so that its weights
load as they are; the paper has ResNet-18. Upsampled maps that are a pixel too large are cut, so that every size works.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, get_args

from torch import Tensor, nn

from foveal import catalog
from foveal.errors import unknown
from foveal.layers.alignment import CropLike
from foveal.layers.switched import initialise_he
from foveal.types import Facts

Encoder = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

FACTS = {
    "linknet": Facts(
        paper="Chaurasia, Culurciello: LinkNet",
        year=2017,
        input=(3, 360, 640),
        num_classes=11,
        dataset="CamVid",
        parameters=11_534_603,
        macs=9_674_506_240,
        published={"parameters_in_millions": 11.5, "mean_iu": 69.1},  # mean IU: the authors' page
    ),
}


class LinkNet(nn.Module):
    """Images [N, 3, H, W] of any size → scores [N, num_classes, H, W]. The encoder's layers are children, by name."""

    def __init__(
        self, encoder: OrderedDict[str, nn.Module], widths: tuple[int, ...], num_classes: int, classifier_name: str
    ) -> None:
        super().__init__()
        self.classifier_name = classifier_name  # whose weights load by their names
        self.encoder = tuple(encoder)
        for name, layer in encoder.items():
            self.add_module(name, layer)
        self.ends = {names[-1] for names in ([n for n in encoder if n.startswith(f"conv{s}_")] for s in (2, 3, 4))}
        for stage in (5, 4, 3, 2):
            into, out = widths[stage - 2], widths[stage - 3] if stage > 2 else 64
            self.add_module(f"decoder{stage}", _decoder(into, out, stride=2 if stage > 2 else 1))
            if stage > 2:
                self.add_module(f"crop{stage}", CropLike())
        self.up1 = nn.Sequential(_up(64, 32))
        self.conv6 = nn.Sequential(_conv(32, 32, 3))
        self.score = nn.ConvTranspose2d(32, num_classes, 2, 2)
        self.crop = CropLike()

    def forward(self, images: Tensor) -> Tensor:
        x, links = images, []
        for name in self.encoder:
            x = self.get_submodule(name)(x)
            if name in self.ends:
                links.append(x)
        for stage in (5, 4, 3):
            link = links.pop()
            raised = self.get_submodule(f"decoder{stage}")(x)
            x = self.get_submodule(f"crop{stage}")(raised, link) + link
        x = self.conv6(self.up1(self.get_submodule("decoder2")(x)))
        return self.crop(self.score(x), images)  # type: ignore[no-any-return]


def linknet(num_classes: int = 11, *, encoder: Encoder = "resnet18") -> LinkNet:
    """LinkNet, images [N, 3, H, W] of any size → scores [N, num_classes, H, W].

    encoder: resnet18 (the paper's), resnet34, resnet50, resnet101 or resnet152. Raises FovealError for others.
    """
    if encoder not in get_args(Encoder):
        raise unknown("encoder of linknet", str(encoder), get_args(Encoder))
    layers = OrderedDict(catalog.get("model", encoder)().named_children())
    for name in ("avgpool", "flatten", "fc"):
        del layers[name]
    wide = 1 if encoder in ("resnet18", "resnet34") else 4
    model = LinkNet(layers, tuple(wide * maps for maps in (64, 128, 256, 512)), num_classes, encoder)
    for name, part in model.named_children():
        if name not in layers:
            initialise_he(part)
    return model


def _decoder(channels: int, maps: int, *, stride: int) -> nn.Sequential:
    """Figure 2, right: 1x1 to a quarter, transposed 3x3, 1x1."""
    inner = channels // 4
    layers = _conv(channels, inner, 1, "1") | _up(inner, inner, "2", stride) | _conv(inner, maps, 1, "3")
    return nn.Sequential(layers)


def _conv(channels: int, maps: int, kernel: int, suffix: str = "") -> OrderedDict[str, nn.Module]:
    conv = nn.Conv2d(channels, maps, kernel, padding=kernel // 2, bias=False)
    return OrderedDict({f"conv{suffix}": conv, f"bn{suffix}": nn.BatchNorm2d(maps), f"relu{suffix}": nn.ReLU()})


def _up(channels: int, maps: int, suffix: str = "", stride: int = 2) -> OrderedDict[str, nn.Module]:
    up = nn.ConvTranspose2d(channels, maps, 3, stride, 1, output_padding=stride - 1, bias=False)
    return OrderedDict({f"up{suffix}": up, f"bn{suffix}": nn.BatchNorm2d(maps), f"relu{suffix}": nn.ReLU()})
