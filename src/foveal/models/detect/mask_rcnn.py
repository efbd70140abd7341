"""Mask R-CNN: Faster R-CNN with one branch more, for the pixels of each object, or for its keypoints.

K. He, G. Gkioxari, P. Dollár, R. Girshick, «Mask R-CNN», ICCV 2017. Masks, section 3 and figure 4 (right): four 3x3
convolutions on 14x14 cells of each box, one transposed to 28x28, a mask for each class; the class branch chooses.
Keypoints, section 5: eight 3x3 convolutions of 512 maps on 14x14 cells, one transposed, and bilinear to 56x56; of each
keypoint one cell is right, in a softmax over all of them.

torchvision's `maskrcnn_resnet50_fpn` and `keypointrcnn_resnet50_fpn` load into `mask_rcnn(90)` and `keypoint_rcnn()`;
the weights it publishes as COCO_V1 want eps=0.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.boxes.heatmaps import cells, peaks
from foveal.boxes.pasting import cut_out
from foveal.errors import FovealError
from foveal.models.detect._found import Detections
from foveal.models.detect._second import RegionPool
from foveal.models.detect.faster_rcnn import TwoStage, faster_rcnn_fpn
from foveal.types import Facts

_PAPER = "He, Gkioxari, Dollár, Girshick: Mask R-CNN"
FACTS = {
    "mask_rcnn": Facts(
        paper=_PAPER,
        year=2017,
        input=(3, 800, 1088),
        num_classes=90,
        dataset="COCO",
        parameters=44_454_513,
        published={"mask_ap_resnet101": 35.7, "box_ap_resnet101": 38.2, "parameters_frozen": 44_401_393},
    ),
    "keypoint_rcnn": Facts(
        paper=_PAPER,
        year=2017,
        input=(3, 800, 1088),
        num_classes=1,
        dataset="COCO's persons with keypoints",
        parameters=59_190_378,
        published={"keypoint_ap": 62.7, "keypoint_ap_torchvision": 65.0, "parameters_frozen": 59_137_258},
    ),
}

_CELLS = 14  # of a box, on a side, that a branch looks at
_SIDE, _HEAT_SIDE = 28, 56  # of what the branches predict
_HEAT_MAPS = 512


class _Branched(TwoStage):
    """A two-stage detector made of the parts of another, to which a branch is added. `targets`: what it learns from
    besides boxes and labels."""

    targets: ClassVar[tuple[str, ...]]

    def __init__(self, base: TwoStage) -> None:
        super().__init__(
            base.backbone,
            base.rpn,
            pool=base.pool,
            head=base.head,
            width=base.cls_score.in_features,
            num_classes=base.num_classes,
            limits=base.limits,
            frozen=base.frozen,
        )


class MaskRCNN(_Branched):
    """A two-stage detector that also gives masks. `maps`: channels of the pyramid and of the mask branch."""

    targets: ClassVar[tuple[str, ...]] = ("masks",)

    def __init__(self, base: TwoStage, maps: int) -> None:
        super().__init__(base)
        self.mask_pool = RegionPool(_CELLS, base.pool.strides)
        layers = _convolutions(4, maps, maps)
        layers |= {"up5": nn.ConvTranspose2d(maps, maps, 2, 2), "relu5": nn.ReLU()}
        layers["score"] = nn.Conv2d(maps, base.num_classes + 1, 1)
        self.mask_head = _initialised(layers)

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Faster R-CNN's four terms and `masks`: the cross-entropy of each pixel of the object's own class's mask, over
        the boxes assigned to objects. targets have `masks` too, bool [K, H, W]; FovealError where they have not."""
        _check(targets, "masks", "mask_rcnn")
        maps = self.backbone(images)
        terms, assigned = self.learned(maps, images, targets)
        boxes = [one.boxes[: len(one.truth)] for one in assigned]
        label = torch.cat([one.labels[: len(one.truth)] for one in assigned])
        wanted = [
            cut_out(target["masks"], own, one.truth, _SIDE)
            for one, own, target in zip(assigned, boxes, targets, strict=True)
            if len(own)
        ]
        scores = self.mask_head(self.mask_pool(maps, boxes)).float()
        if not wanted:
            return {**terms, "masks": scores.sum() * 0}
        own_scores = scores[torch.arange(len(label), device=label.device), label]
        return {**terms, "masks": F.binary_cross_entropy_with_logits(own_scores, torch.cat(wanted))}

    def detect(self, images: Tensor) -> list[Detections]:
        """As Faster R-CNN, and `masks`, float32 [K, 28, 28]: how probably each cell of the box is the object's, 0 to 1.
        `boxes.pasting.pasted` brings them to the image."""
        maps = self.backbone(images)
        found = self.reported(self.answer(maps, images), images)
        masks = self.probabilities(maps, [one["boxes"] for one in found], [one["labels"] for one in found])
        return [{**one, "masks": own} for one, own in zip(found, masks, strict=True)]

    def fixed_answer(self, maps: Sequence[Tensor], images: Tensor) -> dict[str, Tensor]:
        """As Faster R-CNN, and `masks`, float32 [N, K, 28, 28], as `detect` gives them."""
        found = super().fixed_answer(maps, images)
        masks = self.probabilities(maps, list(found["boxes"]), list(found["labels"]))
        return {**found, "masks": torch.stack(masks)}

    def probabilities(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Tensor]:
        """The masks of boxes [K, 4] with objects of `labels` [K], of each image float32 [K, 28, 28] over the box."""
        scores = self.mask_head(self.mask_pool(maps, boxes)).float()
        label = torch.cat(list(labels)) + 1
        own = scores[torch.arange(len(label), device=label.device), label].sigmoid()
        return list(torch.split(own, [len(one) for one in boxes]))

    def names_elsewhere(self) -> Iterator[tuple[str, dict[str, str]]]:
        """As Faster R-CNN's, the last of them with the branch."""
        pairs = [("mask_predictor.conv5_mask", "up5"), ("mask_predictor.mask_fcn_logits", "score")]
        for number in range(1, 5):  # newer files, older ones
            pairs += [(f"mask_head.{number - 1}.0", f"conv{number}"), (f"mask_head.mask_fcn{number}", f"conv{number}")]
        *below, (_, names) = super().names_elsewhere()
        yield from below
        yield "torchvision's Mask R-CNN names", names | _renamed(pairs, "mask_head")


class KeypointRCNN(_Branched):
    """A two-stage detector that also gives keypoints, of all classes the same ones.

    `maps`: channels of the pyramid; `keypoints`: how many; `heat_maps`: channels of the keypoint branch.
    """

    targets: ClassVar[tuple[str, ...]] = ("keypoints",)

    def __init__(self, base: TwoStage, maps: int, keypoints: int, heat_maps: int) -> None:
        super().__init__(base)
        self.keypoints = keypoints
        self.keypoint_pool = RegionPool(_CELLS, base.pool.strides)
        layers = _convolutions(8, maps, heat_maps)
        layers["score"] = nn.ConvTranspose2d(heat_maps, keypoints, 4, 2, 1)
        layers["up"] = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.keypoint_head = _initialised(layers)

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Faster R-CNN's four terms and `keypoints`: the cross-entropy over 56x56 cells, the mean over the keypoints
        that are given and lie within the boxes assigned to their objects.

        targets have `keypoints` too, float32 [K, J, 3] (x, y in pixels, and 0 where one is not given). FovealError
        where they have not, or have others than the network.
        """
        _check(targets, "keypoints", "keypoint_rcnn")
        found = {target["keypoints"].shape[1] for target in targets} - {self.keypoints}
        if found:
            raise FovealError(
                f"the objects have {found.pop()} keypoints, the network {self.keypoints}",
                "make it with keypoints= as many as the data have",
            )
        maps = self.backbone(images)
        terms, assigned = self.learned(maps, images, targets)
        boxes = [one.boxes[: len(one.truth)] for one in assigned]
        place = torch.cat(
            [
                cells(target["keypoints"][one.truth], own, _HEAT_SIDE)
                for one, own, target in zip(assigned, boxes, targets, strict=True)
            ]
        )
        scores = self.heat(maps, boxes).flatten(2)  # [objects, J, 56 * 56]
        given = place >= 0
        if not given.any():
            return {**terms, "keypoints": scores.sum() * 0}
        return {**terms, "keypoints": F.cross_entropy(scores[given], place[given])}

    def detect(self, images: Tensor) -> list[Detections]:
        """As Faster R-CNN, and `keypoints`, float32 [K, J, 3]: x, y in pixels, and how probable that place is, 0 to
        1."""
        maps = self.backbone(images)
        found = self.reported(self.answer(maps, images), images)
        boxes = [one["boxes"] for one in found]
        heat = torch.split(self.heat(maps, boxes), [len(own) for own in boxes])
        return [{**one, "keypoints": peaks(own, one["boxes"])} for one, own in zip(found, heat, strict=True)]

    def fixed_answer(self, maps: Sequence[Tensor], images: Tensor) -> dict[str, Tensor]:
        """As Faster R-CNN, and `heat`, logits [N, K, J, 56, 56], of which `boxes.heatmaps.peaks` makes keypoints."""
        found = super().fixed_answer(maps, images)
        heat = self.heat(maps, list(found["boxes"]))
        return {**found, "heat": heat.view(*found["scores"].shape, *heat.shape[1:])}

    def heat(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """The logits of each keypoint's place over the boxes [K, 4] of all images: float32 [boxes, J, 56, 56]."""
        scores: Tensor = self.keypoint_head(self.keypoint_pool(maps, boxes))
        return scores.float()

    def names_elsewhere(self) -> Iterator[tuple[str, dict[str, str]]]:
        """As Faster R-CNN's, the last of them with the branch."""
        pairs = [(f"keypoint_head.{2 * (number - 1)}", f"conv{number}") for number in range(1, 9)]
        pairs.append(("keypoint_predictor.kps_score_lowres", "score"))
        *below, (_, names) = super().names_elsewhere()
        yield from below
        yield "torchvision's Keypoint R-CNN names", names | _renamed(pairs, "keypoint_head")


def mask_rcnn(
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
) -> MaskRCNN:
    """Mask R-CNN on a feature pyramid, images [N, 3, H, W] of any size → boxes with masks; see `faster_rcnn_fpn`."""
    base = faster_rcnn_fpn(
        num_classes, encoder=encoder, width=width, maps=maps, hidden=hidden, sizes=sizes, proposals=proposals,
        frozen=frozen, eps=eps, score=score, overlap=overlap, most=most,
    )  # fmt: skip
    return MaskRCNN(base, maps)


def keypoint_rcnn(
    num_classes: int = 1,
    *,
    keypoints: int = 17,
    heat_maps: int = _HEAT_MAPS,
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
) -> KeypointRCNN:
    """Mask R-CNN for keypoints, images [N, 3, H, W] of any size → boxes with keypoints; see `faster_rcnn_fpn`.

    keypoints: how many an object has (17: COCO's persons); heat_maps: channels of their branch. FovealError for none.
    """
    if keypoints < 1 or heat_maps < 1:
        raise FovealError(f"keypoints={keypoints}, heat_maps={heat_maps}", "give 1 or more of each")
    base = faster_rcnn_fpn(
        num_classes, encoder=encoder, width=width, maps=maps, hidden=hidden, sizes=sizes, proposals=proposals,
        frozen=frozen, eps=eps, score=score, overlap=overlap, most=most,
    )  # fmt: skip
    return KeypointRCNN(base, maps, keypoints, heat_maps)


def _convolutions(count: int, channels: int, maps: int) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, count + 1):
        layers |= {f"conv{number}": nn.Conv2d(channels, maps, 3, padding=1), f"relu{number}": nn.ReLU()}
        channels = maps
    return layers


def _initialised(layers: OrderedDict[str, nn.Module]) -> nn.Sequential:
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return nn.Sequential(layers)


def _check(targets: Sequence[dict[str, Tensor]], name: str, model: str) -> None:
    if any(name not in target for target in targets):
        raise FovealError(f"{model} learns from {name}, and these images have boxes alone", "train faster_rcnn_fpn")


def _renamed(pairs: Sequence[tuple[str, str]], branch: str) -> dict[str, str]:
    """torchvision's name of each tensor of a branch → its name here."""
    return {f"roi_heads.{a}.{leaf}": f"{branch}.{b}.{leaf}" for a, b in pairs for leaf in ("weight", "bias")}
