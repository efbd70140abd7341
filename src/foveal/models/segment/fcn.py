"""Fully convolutional networks: FCN-32s, FCN-16s, FCN-8s, and FCN-32s-fixed, whose classifier is not trained.

J. Long, E. Shelhamer, T. Darrell, «Fully convolutional networks for semantic segmentation», CVPR 2015.

A classifier slides over the image (`graph.convolutionalize`), a 1x1 convolution scores its last maps, and transposed
convolutions bring the scores to the image's size: by 32 at once, or by 2 to the stride of an earlier layer, whose own
scores are added (the paper adds; a lecture that says «concatenates» errs), and so on. As in the paper the first
convolution pads the image by 100 pixels, so that the 7x7 layer behind a stride of 32 still fits, and what this shifts
is cut off; all offsets (19 for FCN-32s, 5 and 27, 9 and 31) come from `graph.receptive_field`. Poolings round up, as
in Caffe, so that every size works. Scores start at 0, upsampling as bilinear interpolation; the last one stays that,
the others are learned (section 4.3).

FCN-8s is reached in stages: train fcn32s, then `fcn16s().initialise_from(it)`, then `fcn8s().initialise_from(that)`:
the new score layers begin with zeros, so that training goes on where it stood.

Keys of the state_dict: the classifier's own (conv1_1.weight … fc7.bias), so that its weights load as they are; then
score_fr, score_pool4, score_pool3, upscore2, upscore_pool4, and upscore32, upscore16 or upscore8.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.graph.convolutionalize import convolutionalize
from foveal.graph.receptive_field import fields
from foveal.graph.shapes import shapes
from foveal.graph.swap import sharing
from foveal.layers.alignment import CropLike
from foveal.layers.upsampling import init_bilinear
from foveal.types import Facts

_BORDER = 100  # pixels; of the released networks
_PROBE = (3, 500, 500)  # any size that all layers take; offsets do not depend on it


def _facts(parameters: int, macs: int, results: tuple[float, float, float, float], **more: float | int) -> Facts:
    """Pixel accuracy, mean accuracy, mean IU, frequency-weighted IU on VOC 2011's validation images (table 2), in %."""
    pixel, mean, iu, weighted = results
    return Facts(
        paper="Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation",
        year=2015,
        input=_PROBE,
        num_classes=21,
        dataset="PASCAL VOC 2011",
        parameters=parameters,
        macs=macs,
        published={
            "pixel_accuracy": pixel,
            "mean_accuracy": mean,
            "mean_iu": iu,
            "frequency_weighted_iu": weighted,
            **more,
        },
    )


FACTS = {
    "fcn32s_fixed": _facts(86_037, 181_365_854_976, (83.0, 59.7, 45.4, 72.0)),
    "fcn32s": _facts(
        134_346_581,
        181_365_854_976,
        (89.1, 73.3, 59.4, 81.4),
        parameters_in_millions=134,
        receptive_field=404,
        stride=32,
    ),
    "fcn16s": _facts(134_364_410, 181_448_086_272, (90.0, 75.7, 62.4, 83.0)),
    "fcn8s": _facts(134_376_863, 181_529_034_048, (90.3, 75.9, 62.7, 83.2), mean_iu_2012_test=62.2),
}


@dataclass(frozen=True)
class _Place:
    """A layer's output: how many maps, their stride, and the middle of the pixels that position 0 sees."""

    maps: int
    stride: int
    centre: float


class FCN(nn.Module):
    """A sliding classifier with scores at several of its strides: images [N, 3, H, W] → scores [N, classes, H, W].

    trunk: layers up to the last maps, on an image with a border. taps: the names of the layers whose maps are scored
    besides the last ones, from coarse to fine, each at half the stride of the one before. `classifier_name` is the
    network that the trunk was: its weights, and those that other packages publish for it, load by their names.
    """

    def __init__(
        self, trunk: OrderedDict[str, nn.Module], taps: tuple[str, ...], num_classes: int, classifier_name: str
    ) -> None:
        super().__init__()
        self.classifier_name = classifier_name
        places = _places(trunk)
        self.trunk, self.taps = tuple(trunk), taps
        for name, layer in trunk.items():
            self.add_module(name, layer)
        end = places[self.trunk[-1]]
        stride, centre = end.stride, end.centre
        self.score_fr = _score(end.maps, num_classes)
        upscored = "upscore2"
        for tap in taps:
            place = places[tap]
            self.add_module(upscored, _upscore(num_classes, 2))
            centre -= stride * 0.75  # of position 0, by a kernel of 4 with stride 2
            stride //= 2
            self.add_module(f"score_{tap}", _score(place.maps, num_classes))
            offset = _whole((centre - place.centre) / stride)
            if offset < 2:  # what poolings round up would not fit
                raise FovealError(
                    f"{classifier_name}: its fully connected layer sees too little for scores of {tap}",
                    "let it see 4x4 positions at least",
                )
            self.add_module(f"crop_{tap}", CropLike(offset))
            upscored = f"upscore_{tap}"
        self.last = f"upscore{stride}"
        self.add_module(self.last, _upscore(num_classes, stride).requires_grad_(False))
        self.crop = CropLike(_whole(stride - 0.5 - centre))

    def forward(self, images: Tensor) -> Tensor:
        x, tapped = images, {}
        for name in self.trunk:
            x = self.get_submodule(name)(x)
            tapped[name] = x
        x = self.score_fr(x)
        upscored = "upscore2"
        for tap in self.taps:
            x = self.get_submodule(upscored)(x)
            fine = self.get_submodule(f"score_{tap}")(tapped[tap])
            x = x + self.get_submodule(f"crop_{tap}")(fine, x)
            upscored = f"upscore_{tap}"
        x = self.get_submodule(self.last)(x)
        return self.crop(x, images)  # type: ignore[no-any-return]

    @torch.no_grad()
    def initialise_from(self, coarser: nn.Module) -> FCN:
        """Take over every layer that the coarser network has too; score layers that are new stay zero. Returns self.

        Raises FovealError for a network of another encoder or another number of classes.
        """
        own, given = self.state_dict(), coarser.state_dict()
        shared = {name for name in own if name in given and given[name].shape == own[name].shape}
        needed = {name for name in own if name.split(".")[0] in (*self.trunk, "score_fr")}
        if needed - shared:
            raise FovealError(
                f"{type(coarser).__name__} does not hold {sorted(needed - shared)[0]} as this network has it",
                "make both with the same encoder and num_classes",
            )
        self.load_state_dict({name: given[name] for name in shared}, strict=False)
        return self


def fcn32s_fixed(num_classes: int = 21, *, encoder: str = "vgg16", border: int = _BORDER) -> FCN:
    """FCN-32s that trains its score layer alone, images [N, 3, H, W] of any size → scores [N, num_classes, H, W]."""
    model = fcn32s(num_classes, encoder=encoder, border=border)
    model.requires_grad_(False)
    model.score_fr.requires_grad_(True)
    return model


def fcn32s(num_classes: int = 21, *, encoder: str = "vgg16", border: int = _BORDER) -> FCN:
    """FCN-32s, images [N, 3, H, W] of any size → scores [N, num_classes, H, W].

    encoder: a classifier of the catalogue that is a chain with a stride of 32, as vgg16 (the paper's best), alexnet,
    googlenet or resnet50, with options if wanted: "chain(text='…', input=(3, 96, 96))". border: pixels by which the
    first convolution pads the image, 81 at least for vgg16. Raises FovealError for other encoders and lesser borders.
    """
    return _network(num_classes, encoder, border, ())


def fcn16s(num_classes: int = 21, *, encoder: str = "vgg16", border: int = _BORDER) -> FCN:
    """FCN-16s, with scores of pool4, images [N, 3, H, W] → scores [N, num_classes, H, W]; options as in fcn32s."""
    return _network(num_classes, encoder, border, (16,))


def fcn8s(num_classes: int = 21, *, encoder: str = "vgg16", border: int = _BORDER) -> FCN:
    """FCN-8s, with scores of pool4 and pool3: images [N, 3, H, W] → scores [N, num_classes, H, W]; see fcn32s."""
    return _network(num_classes, encoder, border, (16, 8))


def _network(num_classes: int, encoder: str, border: int, strides: tuple[int, ...]) -> FCN:
    trunk = _trunk(encoder, border)
    places = _places(trunk)
    end = places[next(reversed(trunk))]
    if end.stride != 32:
        raise FovealError(f"{encoder} has a stride of {end.stride} pixels, not 32", "such as vgg16, alexnet, googlenet")
    spare = _whole(end.stride - 0.5 - end.centre)  # pixels before the image that FCN-32s answers for; others have more
    if spare < 0:
        raise FovealError(f"border={border} leaves the image's edges without scores", f"{border - spare} at least")
    taps = tuple(_tap(trunk, places, stride) for stride in strides)
    return FCN(trunk, taps, num_classes, catalog.parse_call("model", encoder)[0])


def _tap(trunk: OrderedDict[str, nn.Module], places: dict[str, _Place], wanted: int) -> str:
    """The pooling that leads to a stride, or where convolutions do, the last layer that has it."""
    names = [name for name in trunk if places[name].stride == wanted]
    poolings = [name for name in names if isinstance(trunk[name], nn.MaxPool2d)]
    return poolings[0] if poolings else names[-1]


def _trunk(encoder: str, border: int) -> OrderedDict[str, nn.Module]:
    """The classifier without its scores, sliding, with a border around the image."""
    model, size = catalog.configured("model", encoder)(), _input(encoder)
    layers = OrderedDict(model.named_children())
    if not isinstance(model, nn.Sequential) or size is None or not isinstance(model[-1], nn.Linear):
        raise FovealError(f"{encoder} is no chain of layers that ends in scores", "such as vgg16, alexnet, googlenet")
    layers.popitem()
    sliding = sharing(nn.Sequential(layers), partial(convolutionalize, input=size))
    trunk = OrderedDict((name, m) for name, m in sliding.named_children() if not isinstance(m, nn.Identity))
    first = next(layer for layer in sliding.modules() if isinstance(layer, nn.Conv2d))
    first.padding = (border, border)
    for layer in sliding.modules():
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = True
    return trunk


def _input(encoder: str) -> tuple[int, ...] | None:
    """The size of the images for which the classifier is made: as its option `input` says, else its paper."""
    name, _, given = catalog.parse_call("model", encoder)
    facts, option = catalog.facts(name), catalog.options(catalog.get("model", name)).get("input")
    size = given.get("input") or (facts.input if facts else option.default if option else None)
    return tuple(size) if size else None


def _places(trunk: OrderedDict[str, nn.Module]) -> dict[str, _Place]:
    """What each layer of the chain gives."""
    layers = shapes(nn.Sequential(trunk), _PROBE)
    reached = fields(layers, _PROBE)
    found: dict[str, _Place] = {}
    for layer in layers:  # the last leaf of a block says what the block gives
        field = reached[layer.path]
        found[layer.path.partition(".")[0]] = _Place(layer.output[0], int(field.stride[0]), field.centre[0])
    return found


def _score(maps: int, num_classes: int) -> nn.Conv2d:
    score = nn.Conv2d(maps, num_classes, 1)
    nn.init.zeros_(score.weight)
    assert score.bias is not None
    nn.init.zeros_(score.bias)
    return score


def _upscore(maps: int, factor: int) -> nn.ConvTranspose2d:
    conv = nn.ConvTranspose2d(maps, maps, 2 * factor, factor, bias=False)
    init_bilinear(conv)
    return conv


def _whole(offset: float) -> int:
    return int(offset // 1)
