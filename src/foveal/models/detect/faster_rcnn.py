"""Faster R-CNN: a region proposal network says where, a second stage what; one trunk, one training, four losses.

S. Ren, K. He, R. Girshick, J. Sun, «Faster R-CNN: towards real-time object detection with region proposal networks»,
NIPS 2015, on VGG-16; K. He et al., «Deep residual learning», CVPR 2016, appendix A, on ResNet-50 and 101;
T.-Y. Lin et al., «Feature pyramid networks for object detection», CVPR 2017, with proposals from five levels.

Departures. Training is joint and approximate (section 3.2, the paper's third way, as its own Python code), and all
layers learn. An anchor has one logistic score in place of two of a softmax. RoI max-pooling is Fast R-CNN's for VGG and
the plain ResNets, RoIAlign (He et al., «Mask R-CNN», 2017) for the pyramid. Initialisation of the trunk is He's, since
nothing here is downloaded unasked.

torchvision's `fasterrcnn_resnet50_fpn` loads into `faster_rcnn_fpn(90)`; the weights it publishes as COCO_V1 want
eps=0. Its images have a shorter side of 800 pixels, sides that 32 divides, and ImageNet's mean and deviation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

from foveal.boxes import anchors
from foveal.errors import FovealError, unknown
from foveal.layers.pyramid import FeaturePyramid
from foveal.models.detect._found import Detections, Limits
from foveal.models.detect._references import References
from foveal.models.detect._regions import BETA, RegionProposals, Regions
from foveal.models.detect._second import (
    Assigned,
    RegionPool,
    Sampling,
    SecondStage,
    fully_connected,
    resnet_map,
    vgg16_map,
)
from foveal.models.detect._trunks import RESNETS, Maps, resnet, taps, torchvision_resnet
from foveal.types import Facts

Encoder = Literal["vgg16", "resnet50", "resnet101"]

_PAPER = "Ren, He, Girshick, Sun: Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks"
FACTS = {
    "faster_rcnn": Facts(
        paper=_PAPER,
        year=2015,
        input=(3, 600, 800),
        num_classes=20,
        dataset="VOC 2007",
        parameters=137_073_622,
        published={"ap50_voc07": 69.9, "ap50_voc0712": 73.2, "ap50_voc0712_resnet101": 76.4},
    ),
    "faster_rcnn_fpn": Facts(
        paper="Lin, Dollár, Girshick, He, Hariharan, Belongie: Feature Pyramid Networks for Object Detection",
        year=2017,
        input=(3, 800, 1088),
        num_classes=90,
        dataset="COCO",
        parameters=41_808_406,
        published={"ap_minival": 33.9, "ap_torchvision": 37.0, "parameters_frozen": 41_755_286},
    ),
}

_SAMPLING = Sampling(512, 0.0, BETA)
_RATIOS = (0.5, 1.0, 2.0)


class Raw(NamedTuple):
    """What the two stages say: `regions` of all anchors; `proposals` of each image, [P_i, 4] in pixels; and of the P
    proposals of all images logits [P, num_classes + 1], background first, and deltas [P, num_classes + 1, 4]."""

    regions: Regions
    proposals: list[Tensor]
    logits: Tensor
    deltas: Tensor


class TwoStage(SecondStage):
    """Images [N, 3, H, W] → `Raw`. backbone: images → a tuple of maps; pool: maps and boxes → one map a box; head: that
    map → `width` features."""

    rpn: RegionProposals

    def __init__(
        self,
        backbone: nn.Module,
        rpn: RegionProposals,
        *,
        pool: RegionPool,
        head: nn.Module,
        width: int,
        num_classes: int,
        limits: Limits,
        frozen: bool = False,
    ) -> None:
        super().__init__(
            backbone,
            first={"rpn": rpn},
            pool=pool,
            head=head,
            width=width,
            num_classes=num_classes,
            limits=limits,
            sampling=_SAMPLING,
            frozen=frozen,
        )

    def forward(self, images: Tensor) -> Raw:
        return self.answer(self.backbone(images), images)

    def answer(self, maps: Sequence[Tensor], images: Tensor) -> Raw:
        """What `forward` gives, from the maps of the images."""
        regions = self.rpn(maps, images)
        proposals = self.rpn.proposals(regions, images)
        return Raw(regions, proposals, *self.second(maps, proposals))

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """`objectness` and `regions` of the proposals, `classes` (cross-entropy) and `boxes` (smooth L1) of the second
        stage, over 512 proposals of each image, up to a quarter of them on objects (an IoU of 0.5 or more).

        targets: one dictionary an image with `boxes` [K, 4] in pixels and `labels` [K]; true boxes are proposals too.
        """
        return self.learned(self.backbone(images), images, targets)[0]

    def learned(
        self, maps: Sequence[Tensor], images: Tensor, targets: Sequence[dict[str, Tensor]]
    ) -> tuple[dict[str, Tensor], list[Assigned]]:
        """The four terms, and of each image the boxes that they were taken over."""
        regions = self.rpn(maps, images)
        proposals = self.rpn.proposals(regions, images, learning=True)
        assigned = [self.assigned(*pair) for pair in zip(proposals, targets, strict=True)]
        return {**self.rpn.losses(regions, targets), **self.second_losses(maps, assigned)}, assigned

    def detect(self, images: Tensor) -> list[Detections]:
        """For each image `boxes` [K, 4] in pixels, `scores` [K] falling, `labels` [K] from 0 on."""
        return self.reported(self(images), images)

    def fixed(self, images: Tensor) -> dict[str, Tensor]:
        """`detect` in a graph that does not depend on the data: boxes [N, K, 4], scores [N, K], labels [N, K]."""
        return self.fixed_answer(self.backbone(images), images)

    def fixed_answer(self, maps: Sequence[Tensor], images: Tensor) -> dict[str, Tensor]:
        """What `fixed` gives, from the maps of the images."""
        return self.fixed_detections(maps, *self.rpn.fixed_proposals(self.rpn(maps, images), images), images)

    def reported(self, raw: Raw, images: Tensor) -> list[Detections]:
        """The detections that an answer comes to."""
        return self.detections(raw.proposals, raw.logits, raw.deltas, images)

    def names_elsewhere(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The names of tensors in other files → the names here: the classifier's that the trunk is from, and
        torchvision's detectors with a feature pyramid."""
        yield from super().names_elsewhere()
        if not isinstance(self.backbone, nn.Sequential):
            return
        trunk = dict(self.backbone.get_submodule("trunk").named_children())
        names = {f"backbone.body.{a}": f"backbone.trunk.{b}" for a, b in torchvision_resnet(trunk).items()}
        pairs = [("rpn.head.cls_logits", "rpn.objectness"), ("rpn.head.bbox_pred", "rpn.deltas")]
        pairs += [(f"rpn.head.conv{place}", "rpn.conv") for place in ("", ".0.0")]  # older files, newer ones
        for theirs, ours in (("inner", "lateral"), ("layer", "output")):
            pairs += [
                (f"backbone.fpn.{theirs}_blocks.{i}{place}", f"backbone.pyramid.{ours}.{i}")
                for i in range(4)
                for place in ("", ".0")
            ]
        pairs += [(f"roi_heads.box_head.{name}", f"head.{name}") for name in ("fc6", "fc7")]
        pairs += [(f"roi_heads.box_predictor.{name}", name) for name in ("cls_score", "bbox_pred")]
        names |= {f"{a}.{leaf}": f"{b}.{leaf}" for a, b in pairs for leaf in ("weight", "bias")}
        yield "torchvision's Faster R-CNN names", names


def faster_rcnn(
    num_classes: int = 20,
    *,
    encoder: Encoder = "vgg16",
    frozen: bool = False,
    score: float = 0.05,
    overlap: float = 0.3,
    most: int = 100,
) -> TwoStage:
    """Faster R-CNN on one map of stride 16, images [N, 3, H, W] of any size; the paper's have a shorter side of 600.

    encoder: vgg16 with fc6 and fc7 as second stage, or resnet50 and resnet101 with their conv5 as second stage. Nine
    anchors a place, of 128², 256², 512² pixels. 300 proposals an image. frozen: batch norms keep their statistics, for
    trunks that were trained before. Reported are boxes above `score`, those dropped that overlap a better one of their
    class by more than `overlap`, and `most` of an image. Raises FovealError for other values.
    """
    if encoder == "vgg16":
        one = vgg16_map()
    elif encoder in ("resnet50", "resnet101"):
        one = resnet_map(encoder)
    else:
        raise unknown("encoder of faster_rcnn", str(encoder), ("vgg16", "resnet50", "resnet101"))
    references = References([anchors.shapes((128, 256, 512), _RATIOS)], (16,))
    maps = 512 if encoder == "vgg16" else 1024
    rpn = RegionProposals(one.channels, maps, references, before=(6000, 12000), after=(300, 2000), side=16)
    return TwoStage(
        one.trunk,
        rpn,
        pool=one.pool,
        head=one.head,
        width=one.width,
        num_classes=num_classes,
        limits=Limits(score, overlap, most, side=0.01),
        frozen=frozen,
    )


def faster_rcnn_fpn(
    num_classes: int = 90,
    *,
    encoder: str = "resnet50",
    width: int = 64,
    maps: int = 256,
    hidden: int = 1024,
    sizes: Sequence[float] = (32, 64, 128, 256, 512),
    proposals: int = 1000,
    frozen: bool = False,
    eps: float = 1e-5,
    score: float = 0.05,
    overlap: float = 0.5,
    most: int = 100,
) -> TwoStage:
    """Faster R-CNN on a feature pyramid, images [N, 3, H, W] of any size; the paper's have a shorter side of 800.

    encoder: resnet18, 34, 50 or 101, of `width` maps in its first layer (64: the paper's); maps: of the pyramid;
    hidden: of fc6 and fc7; sizes: side in pixels of the anchors at strides 4, 8, 16, 32, 64, each in three shapes;
    proposals: an image, in test and of each level before suppression; twice as many in training. eps: of batch norms.
    To train a light one from scratch: encoder=resnet18 width=32 maps=64 hidden=256 proposals=300, and `sizes` as the
    objects are. Other options as for `faster_rcnn`.
    """
    if encoder not in RESNETS:
        raise unknown("encoder of faster_rcnn_fpn", str(encoder), RESNETS)
    if len(sizes) != 5 or list(sizes) != sorted(sizes):
        raise FovealError(f"sizes={tuple(sizes)}", "give five rising sizes of anchors in pixels, one a level")
    layers, widths = resnet(encoder, width)
    trunk = Maps(layers, taps(encoder), classifier=encoder if width == 64 else "")
    for layer in trunk.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = eps
    backbone = nn.Sequential(OrderedDict(trunk=trunk, pyramid=FeaturePyramid(widths, maps, top=True)))
    references = References([anchors.shapes((size,), _RATIOS) for size in sizes], None)
    counts = (proposals, 2 * proposals)
    rpn = RegionProposals(maps, maps, references, before=counts, after=counts, side=0.001)
    return TwoStage(
        backbone,
        rpn,
        pool=RegionPool(7, (4, 8, 16, 32)),
        head=fully_connected(maps * 49, hidden),
        width=hidden,
        num_classes=num_classes,
        limits=Limits(score, overlap, most, side=0.01),
        frozen=frozen,
    )
