"""The fully convolutional detector of the lectures: convolutions of 32, 64, 128 and 256 filters, and at every place of
the last map what is there and where its edges are.

The lecture («Fully-Convolutional Network for Detection», in SSY097 Image Analysis, lecture 6) gives the four numbers
and the idea, a map of scores in one go in place of a window that is moved; layers, boxes and losses are ours. Each of
the four is a block of two 3x3 convolutions with batch normalisation, and a pooling stands between two blocks; scores of
the classes and of background, and a box relative to a square of four strides about the place, are 1x1 convolutions. A
place in the middle of an object's box, half as wide and high, is an example of it, one outside of all boxes of
background; the hardest of those are learned, three to one, as in SSD.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.boxes.coding import SSD_WEIGHTS, clip, decode, encode
from foveal.boxes.matching import hard_negatives, match_places
from foveal.errors import FovealError
from foveal.models.detect._found import Detections, Limits, found
from foveal.models.detect._references import References, by_place

FILTERS = (32, 64, 128, 256)
_SQUARE = 4  # strides: the side of the box that a place begins with


class Raw(NamedTuple):
    """What the network says of R places: logits [N, R, num_classes + 1], background first; deltas [N, R, 4]; and the
    squares about the places that the deltas start from, float32 [R, 4] in pixels."""

    logits: Tensor
    deltas: Tensor
    squares: Tensor


class FCNDetector(nn.Module):
    """Images [N, 3, H, W] → `Raw`. backbone: images → one map, [N, channels, H/stride, W/stride]."""

    def __init__(self, backbone: nn.Module, channels: int, stride: int, num_classes: int, limits: Limits) -> None:
        super().__init__()
        self.backbone = backbone
        self.score = nn.Conv2d(channels, num_classes + 1, 1)
        self.box = nn.Conv2d(channels, 4, 1)
        for layer in (self.score, self.box):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        square = torch.tensor([[float(_SQUARE * stride)] * 2])
        self.squares = References([square], (stride,), offset=0.5, whole=False)
        self.num_classes, self.limits = num_classes, limits

    def forward(self, images: Tensor) -> Raw:
        map = self.backbone(images)
        logits, deltas = by_place(self.score(map), self.num_classes + 1), by_place(self.box(map), 4)
        return Raw(logits.float(), deltas.float(), self.squares([map], images)[0])

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """`classes`: cross-entropy of the places on objects and three times as many hard negatives; `boxes`: smooth L1
        of the deltas of the first; both are sums by the number of those.

        targets: one dictionary an image with `boxes` [K, 4] and `labels` [K].
        """
        raw = self(images)
        with torch.no_grad():
            matching = torch.stack([match_places(target["boxes"], raw.squares) for target in targets])
            labels = torch.zeros_like(matching)
            for row, own, target in zip(labels, matching, targets, strict=True):
                row[own >= 0] = target["labels"][own[own >= 0]] + 1
        each = F.cross_entropy(raw.logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
        objects = matching >= 0
        counted, count = objects | hard_negatives(each, matching), objects.sum().clamp_min(1)
        wanted = [
            encode(target["boxes"][row[row >= 0]], raw.squares[row >= 0], SSD_WEIGHTS)
            for row, target in zip(matching, targets, strict=True)
        ]
        boxes = F.smooth_l1_loss(raw.deltas[objects], torch.cat(wanted), reduction="sum")
        return {"classes": (each * counted).sum() / count, "boxes": boxes / count}

    def decode(self, raw: Raw) -> tuple[Tensor, Tensor]:
        """Boxes float32 [N, R, 4], which may leave the image, and probabilities of the classes [N, R, num_classes]."""
        return decode(raw.deltas, raw.squares, SSD_WEIGHTS), raw.logits.softmax(-1)[..., 1:]

    def scored(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same with boxes within the image."""
        boxes, scores = self.decode(self(images))
        return clip(boxes, *images.shape[2:]), scores

    def detect(self, images: Tensor) -> list[Detections]:
        """For each image `boxes` [K, 4] in pixels, `scores` [K] falling, `labels` [K] from 0 on."""
        return [found(boxes, scores, self.limits) for boxes, scores in zip(*self.scored(images), strict=True)]


def fcn_detector(
    num_classes: int = 20,
    *,
    filters: Sequence[int] = FILTERS,
    step: int = 2,
    score: float = 0.05,
    overlap: float = 0.45,
    most: int = 200,
) -> FCNDetector:
    """The lectures' fully convolutional detector, images [N, 3, H, W] of any size.

    filters: of each block; step: stride of the first convolution, 1 or 2. The last map has a place every
    step · 2 ^ (blocks - 1) pixels, 16 by default; of objects whose centres share a place one is lost. Of each class the
    best 400 above `score` are looked at, those that overlap a better one by more than `overlap` (IoU) dropped, and
    `most` reported. Raises FovealError for other values.
    """
    if not filters or min(filters) < 1 or step not in (1, 2):
        raise FovealError(f"filters={tuple(filters)}, step={step}", "give the maps of each block, and a step of 1 or 2")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for block, maps in enumerate(filters, 1):
        if block > 1:
            layers[f"pool{block - 1}"] = nn.MaxPool2d(2, 2)
        for number in (1, 2):
            name = f"{block}_{number}"
            conv = nn.Conv2d(channels, maps, 3, step if name == "1_1" else 1, 1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            layers |= {f"conv{name}": conv, f"bn{name}": nn.BatchNorm2d(maps), f"relu{name}": nn.ReLU()}
            channels = maps
    stride = step * 2 ** (len(filters) - 1)
    return FCNDetector(
        nn.Sequential(layers), channels, stride, num_classes, Limits(score, overlap, most, candidates=400)
    )
