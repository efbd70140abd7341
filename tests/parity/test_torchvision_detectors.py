"""torchvision's weights, found by their own names, give torchvision's detections on photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import detection

from foveal.data.image import load_image
from foveal.models import create
from foveal.weights.files import Checkpoint
from foveal.weights.match import load_weights

NEAR = 1e-4  # of scores; of boxes relative to the image


def photographs(folder: Path, height: int, width: int) -> Tensor:
    """Two pictures of blood cells, float32 [2, 3, height, width] with about zero mean."""
    files = sorted((folder / "JPEGImages").glob("*.jpg"))[:2]
    return torch.stack([load_image(file, mode="RGB")[:, :height, :width] for file in files]).float() / 128 - 1.3


def lively(model: nn.Module, heads: str, spread: float, shifts: float) -> None:
    """Weights that keep signals alive through deep trunks, and scores that differ from box to box."""
    torch.manual_seed(0)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if heads in name:
                nn.init.normal_(layer.weight, std=spread)
            if "bbox" in name or "regression" in name:
                nn.init.normal_(layer.weight, std=shifts)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.weight, 0.5)
            layer.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]


def loaded(ours: nn.Module, theirs: nn.Module) -> Any:
    tensors = dict(theirs.state_dict())
    assert load_weights(ours, Checkpoint("torchvision", tensors)).complete
    return ours.eval()


def compared(ours: Any, theirs: nn.Module, images: Tensor, least: int) -> list[dict[str, Tensor]]:
    with torch.inference_mode():
        wanted, given = theirs.eval()(list(images)), ours.detect(images)
    for a, b in zip(given, wanted, strict=True):
        assert len(b["labels"]) >= least
        assert torch.equal(a["labels"], b["labels"] - 1)  # theirs count the background
        assert (a["scores"] - b["scores"]).abs().max() <= NEAR
        assert (a["boxes"] - b["boxes"]).abs().max() <= NEAR * max(images.shape[2:])
    return wanted  # type: ignore[no-any-return]


def test_ssd300(real_data: Callable[[str], Path]) -> None:
    plain = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    theirs = detection.ssd300_vgg16(weights=None, weights_backbone=None, **plain)
    lively(theirs, "classification_head", 0.02, 0.01)
    ours = loaded(create("ssd300", num_classes=90, boxes="coco", clip=True), theirs)
    compared(ours, theirs, photographs(real_data("bccd"), 300, 300), least=50)


def test_keypoint_rcnn(real_data: Callable[[str], Path]) -> None:
    theirs = detection.keypointrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, image_mean=[0.0] * 3, image_std=[1.0] * 3, min_size=128, max_size=160,
        rpn_pre_nms_top_n_test=100, rpn_post_nms_top_n_test=100, box_detections_per_img=10,
    )  # fmt: skip
    lively(theirs, "cls_score", 0.2, 0.1)
    ours = loaded(create("keypoint_rcnn", proposals=100, most=10), theirs)
    images = photographs(real_data("bccd"), 128, 160)
    wanted = compared(ours, theirs, images, least=5)
    with torch.inference_mode():
        for one, other in zip(ours.detect(images), wanted, strict=True):
            assert one["keypoints"].shape == other["keypoints"].shape
            apart = (one["keypoints"] - other["keypoints"])[..., :2].abs().amax(-1)
            # a peak may have an equal beside it, which the last bit decides
            assert (apart <= NEAR * 160).float().mean() > 0.97
        boxes = [one["boxes"] for one in wanted]
        heads, maps = theirs.roi_heads, theirs.backbone(images)
        sizes = [tuple(images.shape[2:])] * len(images)
        logits = heads.keypoint_predictor(heads.keypoint_head(heads.keypoint_roi_pool(maps, boxes, sizes)))
        found = ours.heat(ours.backbone(images), boxes)
    assert (found - logits).abs().max() <= NEAR * float(logits.abs().max())


def test_mask_and_faster_rcnn_fpn(real_data: Callable[[str], Path]) -> None:
    theirs = detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, image_mean=[0.0] * 3, image_std=[1.0] * 3, min_size=128, max_size=160,
        rpn_pre_nms_top_n_test=100, rpn_post_nms_top_n_test=100, box_detections_per_img=30,
    )  # fmt: skip
    lively(theirs, "cls_score", 0.2, 0.1)
    nn.init.normal_(theirs.roi_heads.mask_predictor.mask_fcn_logits.weight, std=0.1)
    ours = loaded(create("mask_rcnn", num_classes=90, proposals=100, most=30), theirs)
    images = photographs(real_data("bccd"), 128, 160)
    wanted = compared(ours, theirs, images, least=20)
    boxes, labels = ([one[key] for one in wanted] for key in ("boxes", "labels"))
    with torch.inference_mode():
        small = ours.probabilities(ours.backbone(images), boxes, [label - 1 for label in labels])
        maps = theirs.backbone(images)
        sizes = [tuple(images.shape[2:])] * len(images)
        heads = theirs.roi_heads
        logits = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(maps, boxes, sizes)))
    label = torch.cat(labels)
    own = logits[torch.arange(len(label)), label].sigmoid()
    assert (torch.cat(small) - own).abs().max() <= NEAR
