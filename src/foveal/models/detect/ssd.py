"""SSD: boxes and classes straight from the maps of several layers, without a second look. VGG-16, and a light one.

W. Liu, D. Anguelov, D. Erhan, C. Szegedy, S. Reed, C.-Y. Fu, A. Berg, «SSD: single shot multibox detector», ECCV 2016.
Each place of each prediction layer has 4 or 6 default boxes (section 2.1); a 3x3 convolution gives a box's shift and
its scores. Matching, objective and hard negative mining are section 2.2's.

Departures. Initialisation of the trunk is He's, since nothing here is downloaded unasked; the paper starts from
ImageNet's weights. Images of other sizes than 300 or 512 are taken too: the network is convolutional.

`context=True` brings coarse maps up and adds them to the fine ones, so that small objects are seen with what surrounds
them (C.-Y. Fu et al., «DSSD», 2017; here as in Lin et al., «Feature pyramid networks», CVPR 2017).

torchvision's weights (`ssd300_vgg16`) load into `ssd300(90, boxes="coco", clip=True)`; they were trained on pixels less
(0.482, 0.459, 0.408), times 255: mean=0.48235,0.45882,0.40784 std=0.00392,0.00392,0.00392.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.boxes import anchors
from foveal.boxes.coding import SSD_WEIGHTS, clip, decode, encode
from foveal.boxes.matching import hard_negatives, match_priors
from foveal.errors import FovealError, unknown
from foveal.layers.l2_norm import ScaledL2Norm
from foveal.layers.pyramid import FeaturePyramid
from foveal.models.detect._found import Detections, Limits, found
from foveal.models.detect._references import References, joined
from foveal.models.detect._trunks import (
    RESNETS,
    Maps,
    classifier_files,
    convolution,
    resnet,
    taps,
    trunk_of,
    vgg16,
)
from foveal.types import Facts

Boxes = Literal["voc", "coco"]

_COCO_SIDES = {  # of the paper's code; those for VOC are boxes.anchors'
    300: (21, 45, 99, 153, 207, 261, 315),
    512: (20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72),
}
_VGG_KEYS = (  # torchvision's places of the convolutions, in order
    *(f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)),
    *(f"extra.0.{i}" for i in ("1", "3", "5", "7.1", "7.3")),
    *(f"extra.{block}.{i}" for block in (1, 2, 3, 4) for i in (0, 2)),
)


def _facts(size: int, parameters: int, ap07: float, ap0712: float, augmented: float) -> Facts:
    return Facts(
        paper="Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg: SSD: Single Shot MultiBox Detector",
        year=2016,
        input=(3, size, size),
        num_classes=20,
        dataset="VOC 2007",
        parameters=parameters,
        published={"ap50_voc07": ap07, "ap50_voc0712": ap0712, "ap50_voc0712_zoomed_out": augmented},
    )


FACTS = {
    "ssd300": _facts(300, 26_285_486, 68.0, 74.3, 77.2),
    "ssd512": _facts(512, 27_188_676, 71.6, 76.8, 79.8),
}


class Raw(NamedTuple):
    """What the network says of R default boxes: deltas [N, R, 4], logits [N, R, num_classes + 1], background first;
    and the boxes themselves, float32 [R, 4] in pixels."""

    deltas: Tensor
    logits: Tensor
    boxes: Tensor


class SSD(nn.Module):
    """Images [N, 3, H, W] → `Raw`. backbone: images → a map for each prediction layer, with `channels` maps each."""

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        references: References,
        num_classes: int,
        limits: Limits,
    ) -> None:
        super().__init__()
        self.backbone, self.references = backbone, references
        self.num_classes, self.limits = num_classes, limits
        pairs = list(zip(channels, references.counts, strict=True))
        self.location = nn.ModuleList(nn.Conv2d(maps, 4 * count, 3, padding=1) for maps, count in pairs)
        self.confidence = nn.ModuleList(
            nn.Conv2d(maps, (num_classes + 1) * count, 3, padding=1) for maps, count in pairs
        )
        for layer in (*self.location, *self.confidence):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Raw:
        maps = self.backbone(images)
        deltas = joined([layer(map) for layer, map in zip(self.location, maps, strict=True)], 4)
        logits = joined([layer(map) for layer, map in zip(self.confidence, maps, strict=True)], self.num_classes + 1)
        return Raw(deltas, logits, torch.cat(self.references(maps, images)))

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The two terms of equation 1, sums over the batch by the number of matched default boxes.

        `confidence`: cross-entropy of the matched boxes and three times as many hard negatives; `location`: smooth L1
        of the matched ones' deltas. targets: one dictionary an image with `boxes` [K, 4] and `labels` [K].
        """
        raw = self(images)
        with torch.no_grad():
            matching = torch.stack([match_priors(target["boxes"], raw.boxes) for target in targets])  # [N, R]
            labels = torch.zeros_like(matching)
            for row, found_, target in zip(labels, matching, targets, strict=True):
                row[found_ >= 0] = target["labels"][found_[found_ >= 0]] + 1
        each = F.cross_entropy(raw.logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
        counted = (matching >= 0) | hard_negatives(each, matching)
        matched = (matching >= 0).sum().clamp_min(1)
        wanted = [
            encode(target["boxes"][row[row >= 0]], raw.boxes[row >= 0], SSD_WEIGHTS)
            for row, target in zip(matching, targets, strict=True)
        ]
        location = F.smooth_l1_loss(raw.deltas[matching >= 0], torch.cat(wanted), reduction="sum")
        return {"confidence": (each * counted).sum() / matched, "location": location / matched}

    def scored(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes within the image, float32 [N, R, 4], and probabilities of the classes [N, R, num_classes]."""
        raw = self(images)
        boxes = decode(raw.deltas, raw.boxes, SSD_WEIGHTS)
        return clip(boxes, *images.shape[2:]), raw.logits.softmax(-1)[..., 1:]

    def detect(self, images: Tensor) -> list[Detections]:
        """For each image `boxes` [K, 4] in pixels, `scores` [K] falling, `labels` [K] from 0 on."""
        return [found(boxes, scores, self.limits) for boxes, scores in zip(*self.scored(images), strict=True)]

    @property
    def classifier_name(self) -> str:
        """The network of the catalogue that the trunk is from, "" for none: its weights, and those that torchvision
        publishes for it, load in part."""
        return trunk_of(self.backbone)[1].classifier

    def names_elsewhere(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The names of tensors in other files → the names here: the classifier's that the trunk is from, and
        torchvision's SSD300."""
        yield from classifier_files(self.backbone)
        layers = [name for name, layer in self.backbone.named_modules() if isinstance(layer, nn.Conv2d)]
        names = {"backbone.scale_weight": "backbone.norm4_3.weight"}
        pairs = [(f"backbone.{a}", f"backbone.{b}") for a, b in zip(_VGG_KEYS, layers, strict=False)]
        heads = (("regression", "location"), ("classification", "confidence"))
        pairs += [(f"head.{a}_head.module_list.{i}", f"{b}.{i}") for a, b in heads for i in range(len(self.location))]
        names |= {f"{a}.{leaf}": f"{b}.{leaf}" for a, b in pairs for leaf in ("weight", "bias")}
        yield "torchvision's SSD names", names


def ssd300(
    num_classes: int = 20,
    *,
    boxes: Boxes = "voc",
    clip: bool = False,
    context: bool = False,
    score: float = 0.01,
    overlap: float = 0.45,
    most: int = 200,
) -> SSD:
    """SSD300 on VGG-16, images [N, 3, 300, 300], 8,732 default boxes.

    boxes: their sizes, for "voc" or "coco" (small objects); clip: no side longer than the image; context: coarse maps
    are added to the fine ones. Of each class the best 400 above `score` are looked at, those that overlap a better one
    by more than `overlap` (IoU) dropped, and `most` reported. Raises FovealError for other values.
    """
    limits = Limits(score, overlap, most, candidates=400)
    extra = _extra((("8", 1024, 256, 2, 1), ("9", 512, 128, 2, 1), ("10", 256, 128, 1, 0), ("11", 256, 128, 1, 0)))
    return _vgg(anchors.ssd300(), extra, num_classes, scales=boxes, clip=clip, context=context, limits=limits)


def ssd512(
    num_classes: int = 20,
    *,
    boxes: Boxes = "voc",
    clip: bool = False,
    context: bool = False,
    score: float = 0.01,
    overlap: float = 0.45,
    most: int = 200,
) -> SSD:
    """SSD512 on VGG-16, images [N, 3, 512, 512], 24,564 default boxes, one layer more; options as for `ssd300`."""
    limits = Limits(score, overlap, most, candidates=400)
    halves = (("8", 1024, 256, 2, 1), ("9", 512, 128, 2, 1), ("10", 256, 128, 2, 1), ("11", 256, 128, 2, 1))
    extra = _extra(halves)
    extra |= convolution("12_1", 256, 128, 1) | convolution("12_2", 128, 256, 4, padding=1)
    return _vgg(anchors.ssd512(), extra, num_classes, scales=boxes, clip=clip, context=context, limits=limits)


def ssd_resnet(
    num_classes: int = 20,
    *,
    encoder: str = "resnet18",
    width: int = 64,
    maps: int = 128,
    sides: Sequence[float] = (24, 48, 96, 192, 384),
    context: bool = True,
    score: float = 0.01,
    overlap: float = 0.45,
    most: int = 200,
) -> SSD:
    """A single-shot detector light enough to be trained from scratch on a CPU: images [N, 3, H, W] of any size.

    Predictions at strides of 8, 16, 32 and 64 of a ResNet of `width` maps in its first layer (64: the paper's ResNet),
    brought to `maps` each, with batch normalisation throughout; 4 boxes a place. sides: the small square's of each
    stride, in pixels, and one more; set them to the sizes of the objects. Other options as for `ssd300`.
    """
    if encoder not in RESNETS:
        raise unknown("encoder of ssd_resnet", str(encoder), RESNETS)
    if len(sides) != 5 or list(sides) != sorted(sides):
        raise FovealError(f"sides={tuple(sides)}", "give five rising sizes in pixels: of each stride, and one more")
    layers, widths = resnet(encoder, width)
    layers["conv6_1"] = nn.Sequential(_unit(widths[3], maps, 2))
    trunk = Maps(layers, (*taps(encoder)[1:], "conv6_1"), classifier=encoder if width == 64 else "")
    channels = (*widths[1:], maps)
    backbone: nn.Module = trunk
    if context:
        backbone, channels = _with_context(trunk, channels, maps)
    shapes = anchors.DefaultBoxes(1, (1,) * 4, sides, ((2,),) * 4, (8, 16, 32, 64))
    references = References([shapes.shapes(k) for k in range(4)], None, offset=0.5, whole=False)
    return SSD(backbone, channels, references, num_classes, Limits(score, overlap, most, candidates=400))


def _extra(blocks: Sequence[tuple[str, int, int, int, int]]) -> OrderedDict[str, nn.Module]:
    """The extra feature layers: name, maps in, maps between, and stride and padding of the 3x3 convolution."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, channels, between, stride, padding in blocks:
        layers |= convolution(f"{name}_1", channels, between, 1)
        layers |= convolution(f"{name}_2", between, 2 * between, 3, stride=stride, padding=padding)
    return layers


def _vgg(
    boxes: anchors.DefaultBoxes,
    extra: OrderedDict[str, nn.Module],
    num_classes: int,
    *,
    scales: Boxes,
    clip: bool,
    context: bool,
    limits: Limits,
) -> SSD:
    if scales not in ("voc", "coco"):
        raise unknown("boxes of SSD", str(scales), ("voc", "coco"))
    sides = boxes.sides if scales == "voc" else _COCO_SIDES[boxes.size]
    boxes = anchors.DefaultBoxes(boxes.size, boxes.maps, sides, boxes.ratios, boxes.steps)
    layers = vgg16()
    layers["pool3"] = nn.MaxPool2d(2, 2, ceil_mode=True)  # 75 → 38, as the paper's code
    layers["pool5"] = nn.MaxPool2d(3, 1, 1)
    layers |= convolution("6", 512, 1024, 3, padding=6, dilation=6) | convolution("7", 1024, 1024, 1) | extra
    ends = [name for name in extra if name.startswith("relu") and name.endswith("_2")]
    norm = {"relu4_3": ("norm4_3", ScaledL2Norm(512))}
    backbone: nn.Module = Maps(layers, ("relu4_3", "relu7", *ends), norm, classifier="vgg16")
    channels: tuple[int, ...] = (512, 1024, 512, *(256 for _ in ends[1:]))
    if context:
        backbone, channels = _with_context(backbone, channels, 256)
    shapes = [boxes.shapes(k) for k in range(len(boxes.maps))]
    shapes = [shape.clamp_max(boxes.size) for shape in shapes] if clip else shapes
    references = References(shapes, boxes.steps, offset=0.5, whole=False)
    return SSD(backbone, channels, references, num_classes, limits)


def _with_context(trunk: nn.Module, channels: Sequence[int], maps: int) -> tuple[nn.Module, tuple[int, ...]]:
    pyramid = FeaturePyramid(channels, maps, units=True)
    return nn.Sequential(OrderedDict(trunk=trunk, pyramid=pyramid)), (maps,) * len(channels)


def _unit(channels: int, maps: int, stride: int) -> OrderedDict[str, nn.Module]:
    conv = nn.Conv2d(channels, maps, 3, stride, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return OrderedDict(conv=conv, bn=nn.BatchNorm2d(maps), relu=nn.ReLU())
