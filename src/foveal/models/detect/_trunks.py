"""The convolutional parts of classifiers, whose maps detectors look at; layers have the classifiers' names."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor, nn

from foveal.layers.residual import BasicBlock, Bottleneck, initialise, stage

VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # maps and convolutions of each block
RESNETS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
_DEEP = ("resnet50", "resnet101")  # made of bottlenecks


class Maps(nn.Module):
    """A chain that gives the outputs of some of its layers, `taps`: images → one map each, in order.

    `side`: what a tap's output goes through on its way out, and not on its way on. `classifier`: the network of the
    catalogue whose layers these are, "" for none.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        taps: Sequence[str],
        side: Mapping[str, tuple[str, nn.Module]] = MappingProxyType({}),
        *,
        classifier: str = "",
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.order, self.taps = tuple(layers), tuple(taps)
        self.side = {tap: name for tap, (name, _) in side.items()}
        for name, layer in [*layers.items(), *side.values()]:
            self.add_module(name, layer)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x, maps = images, []
        for name in self.order:
            x = self.get_submodule(name)(x)
            if name in self.taps:
                maps.append(self.get_submodule(self.side[name])(x) if name in self.side else x)
        return tuple(maps)


def vgg16() -> OrderedDict[str, nn.Module]:
    """conv1_1 to relu5_3 of VGG-16, with He's initialisation; all pools but the last, which is left out."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for block, (maps, count) in enumerate(VGG16, 1):
        if block > 1:
            layers[f"pool{block - 1}"] = nn.MaxPool2d(2, 2)
        for number in range(1, count + 1):
            layers |= convolution(f"{block}_{number}", channels, maps, 3, padding=1)
            channels = maps
    return layers


def convolution(
    name: str, channels: int, maps: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> OrderedDict[str, nn.Module]:
    """convNAME and reluNAME, He's initialisation."""
    conv = nn.Conv2d(channels, maps, kernel, stride, padding, dilation)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return OrderedDict({f"conv{name}": conv, f"relu{name}": nn.ReLU()})


def resnet(encoder: str, width: int = 64) -> tuple[OrderedDict[str, nn.Module], tuple[int, ...]]:
    """conv1 to the last block of conv5 of a ResNet, and the maps that conv2 to conv5 give.

    width: maps of conv1, 64 in the paper; all others are in proportion. `taps(encoder)` names the stages' last blocks.
    """
    make, expansion = (Bottleneck, 4) if encoder in _DEEP else (BasicBlock, 1)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, width, 7, 2, 3, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(3, 2, 1),
    )
    channels, widths = width, []
    for number, count in enumerate(RESNETS[encoder], start=2):
        maps = width * 2 ** (number - 2) * expansion
        layers |= stage(f"conv{number}", make, count, channels, maps, stride=1 if number == 2 else 2)
        channels = maps
        widths.append(maps)
    initialise(nn.ModuleDict(layers))
    return layers, tuple(widths)


def taps(encoder: str) -> tuple[str, ...]:
    """The last blocks of conv2 to conv5: strides of 4, 8, 16, 32."""
    return tuple(f"conv{number}_{count}" for number, count in enumerate(RESNETS[encoder], start=2))


def trunk_of(backbone: nn.Module) -> tuple[str, Maps]:
    """The trunk within a detector's backbone, and its path there."""
    return next((path, part) for path, part in backbone.named_modules() if isinstance(part, Maps))


def classifier_files(backbone: nn.Module, head: nn.Module | None = None) -> Iterator[tuple[str, dict[str, str]]]:
    """The names that a classifier's files give the tensors of a detector's `backbone` and `head` → the names here: the
    catalogue's, and torchvision's. Each with the rule's name."""
    path, trunk = trunk_of(backbone)
    parts = {f"backbone.{path}".rstrip("."): {name: trunk.get_submodule(name) for name in trunk.order}}
    if head is not None:
        parts["head"] = dict(head.named_children())
    own = {
        f"{name}.{leaf}": f"{prefix}.{name}.{leaf}"
        for prefix, layers in parts.items()
        for name, layer in layers.items()
        for leaf in layer.state_dict()
    }
    yield "the classifier's names", own
    theirs: dict[str, str] = {}
    for layers in parts.values():
        theirs |= torchvision_vgg(layers) if "conv1_1" in trunk.order else torchvision_resnet(layers)
    yield "torchvision's names of the classifier", {a: own[b] for a, b in theirs.items()}


def torchvision_vgg(layers: Mapping[str, nn.Module]) -> dict[str, str]:
    """torchvision's name of each tensor of VGG's conv1_1 to conv5_3, fc6 and fc7 → the name here. Its chain counts
    convolutions, ReLUs and poolings."""
    places = {name: f"features.{number}" for number, name in enumerate(layers)}
    places |= {"fc6": "classifier.0", "fc7": "classifier.3"}
    known = re.compile(r"conv[1-5]_\d|fc[67]")
    return {
        f"{places[name]}.{leaf}": f"{name}.{leaf}"
        for name, layer in layers.items()
        if known.fullmatch(name)
        for leaf in layer.state_dict()
    }


def torchvision_resnet(layers: Mapping[str, nn.Module]) -> dict[str, str]:
    """torchvision's name of each tensor of `resnet`'s layers → the name here."""
    names: dict[str, str] = {}
    for path, layer in layers.items():
        theirs = path
        if "_" in path:
            number, block = path.removeprefix("conv").split("_")
            theirs = f"layer{int(number) - 1}.{int(block) - 1}"
        for key in layer.state_dict():
            other = key.replace("shortcut.conv", "downsample.0").replace("shortcut.bn", "downsample.1")
            names[f"{theirs}.{other}"] = f"{path}.{key}"
    return names
