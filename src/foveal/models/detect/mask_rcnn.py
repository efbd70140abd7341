"""Mask R-CNN: Faster R-CNN with one branch more, which says for each box which of its pixels are the object's.

K. He, G. Gkioxari, P. Dollár, R. Girshick, «Mask R-CNN», ICCV 2017, section 3 and figure 4 (right): four 3x3
convolutions on 14x14 cells of each box, one transposed to 28x28, a mask for each class; the class branch chooses.

torchvision's `maskrcnn_resnet50_fpn` loads into `mask_rcnn(90)`; the weights it publishes as COCO_V1 want eps=0.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.boxes.pasting import pasted
from foveal.boxes.pooling import roi_align
from foveal.errors import FovealError
from foveal.models.detect._found import Detections
from foveal.models.detect._second import RegionPool
from foveal.models.detect.faster_rcnn import TwoStage, faster_rcnn_fpn
from foveal.types import Facts

FACTS = {
    "mask_rcnn": Facts(
        paper="He, Gkioxari, Dollár, Girshick: Mask R-CNN",
        year=2017,
        input=(3, 800, 1088),
        num_classes=90,
        dataset="COCO",
        parameters=44_454_513,
        published={"mask_ap_resnet101": 35.7, "box_ap_resnet101": 38.2, "parameters_frozen": 44_401_393},
    ),
}

_SIDE = 28  # of a predicted mask


class MaskRCNN(TwoStage):
    """A two-stage detector that also gives masks. `maps`: channels of the pyramid and of the mask branch."""

    def __init__(self, base: TwoStage, maps: int) -> None:
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
        self.mask_pool = RegionPool(_SIDE // 2, base.pool.strides)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number in range(1, 5):
            layers |= {f"conv{number}": nn.Conv2d(maps, maps, 3, padding=1), f"relu{number}": nn.ReLU()}
        layers |= {"up5": nn.ConvTranspose2d(maps, maps, 2, 2), "relu5": nn.ReLU()}
        layers["score"] = nn.Conv2d(maps, base.num_classes + 1, 1)
        self.mask_head = nn.Sequential(layers)
        for layer in layers.values():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Faster R-CNN's four terms and `masks`: the cross-entropy of each pixel of the object's own class's mask, over
        the boxes assigned to objects. targets have `masks` too, bool [K, H, W]; FovealError where they have not."""
        if any("masks" not in target for target in targets):
            raise FovealError("mask_rcnn learns from masks, and these images have boxes alone", "train faster_rcnn_fpn")
        maps = self.backbone(images)
        terms, assigned = self.learned(maps, images, targets)
        boxes = [one.boxes[: len(one.truth)] for one in assigned]
        label = torch.cat([one.labels[: len(one.truth)] for one in assigned])
        wanted = [
            roi_align(target["masks"][one.truth, None].float(), list(own[:, None]), (_SIDE, _SIDE), 1.0, samples=-1)
            for one, own, target in zip(assigned, boxes, targets, strict=True)
            if len(own)
        ]
        scores = self.mask_head(self.mask_pool(maps, boxes)).float()
        if not wanted:
            return {**terms, "masks": scores.sum() * 0}
        own_scores = scores[torch.arange(len(label), device=label.device), label]
        return {**terms, "masks": F.binary_cross_entropy_with_logits(own_scores, torch.cat(wanted)[:, 0])}

    def detect(self, images: Tensor) -> list[Detections]:
        """As Faster R-CNN, and `masks`, bool [K, H, W]: pixels of the image with a probability of half or more."""
        maps = self.backbone(images)
        found = self.reported(self.answer(maps, images), images)
        small = self.probabilities(maps, [one["boxes"] for one in found], [one["labels"] for one in found])
        height, width = images.shape[2:]
        return [
            {**one, "masks": pasted(mask, one["boxes"], height, width) >= 0.5}
            for one, mask in zip(found, small, strict=True)
        ]

    def probabilities(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Tensor]:
        """The masks of boxes [K, 4] with objects of `labels` [K], of each image float32 [K, 28, 28] over the box."""
        scores = self.mask_head(self.mask_pool(maps, boxes)).float()
        label = torch.cat(list(labels)) + 1
        own = scores[torch.arange(len(label), device=label.device), label].sigmoid()
        return list(torch.split(own, [len(one) for one in boxes]))

    def names_elsewhere(self) -> Iterator[tuple[str, dict[str, str]]]:
        """torchvision's name of each tensor → its name here."""
        pairs = [("roi_heads.mask_predictor.conv5_mask", "up5"), ("roi_heads.mask_predictor.mask_fcn_logits", "score")]
        for number in range(1, 5):  # newer files, older ones
            pairs += [(f"roi_heads.mask_head.{number - 1}.0", f"conv{number}")]
            pairs += [(f"roi_heads.mask_head.mask_fcn{number}", f"conv{number}")]
        masks = {f"{a}.{leaf}": f"mask_head.{b}.{leaf}" for a, b in pairs for leaf in ("weight", "bias")}
        for _, names in super().names_elsewhere():
            yield "torchvision's Mask R-CNN names", names | masks


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
