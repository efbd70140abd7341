"""The second stage of Faster R-CNN and its heirs, which is all of Fast R-CNN: what each window holds, and where."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.boxes.coding import RCNN_WEIGHTS, clip, decode, encode
from foveal.boxes.matching import BACKGROUND, IGNORED, match, sample
from foveal.boxes.overlap import iou
from foveal.boxes.pooling import pyramid_align, roi_max_pool
from foveal.models.detect._found import Detections, Limits, found, found_fixed
from foveal.models.detect._trunks import Maps, classifier_files, resnet, trunk_of, vgg16


class Assigned(NamedTuple):
    """The S boxes of one image that count in the losses, objects first: [S, 4]; their labels, 0 for background [S]; the
    deltas to the true boxes [S, 4]; and which true box each object is, int64 [objects]."""

    boxes: Tensor
    labels: Tensor
    deltas: Tensor
    truth: Tensor


@dataclass(frozen=True)
class Sampling:
    """Which windows count in the losses: `count` of an image, at most the share `objects` of them with an IoU of 0.5 or
    more. Others are background, from an IoU of `least` on. beta: where smooth L1 turns from a square into a line."""

    count: int
    least: float
    beta: float
    objects: float = 0.25


class RegionPool(nn.Module):
    """Maps and the boxes of each image → [boxes, C, size, size]: RoIAlign from a pyramid, by maximum from one map."""

    def __init__(self, size: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.size, self.strides = (size, size), tuple(strides)

    def forward(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        used = [map.float() for map in maps[: len(self.strides)]]
        if len(used) == 1:
            return roi_max_pool(used[0], boxes, self.size, self.strides[0])
        exporting = torch.compiler.is_exporting()  # a graph in which no shape depends on the boxes
        return pyramid_align(used, boxes, self.size, self.strides, fixed=exporting)


class SecondStage(nn.Module):
    """A trunk, and what is said of windows of its maps. backbone: images → a tuple of maps; `first`: stages between, by
    name; pool: maps and boxes → one map a box; head: that map → `width` features."""

    def __init__(
        self,
        backbone: nn.Module,
        *,
        pool: RegionPool,
        head: nn.Module,
        width: int,
        num_classes: int,
        limits: Limits,
        sampling: Sampling,
        first: Mapping[str, nn.Module] = MappingProxyType({}),
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        for name, stage in first.items():
            self.add_module(name, stage)
        self.pool, self.head = pool, head
        self.num_classes, self.limits, self.sampling, self.frozen = num_classes, limits, sampling, frozen
        self.cls_score = nn.Linear(width, num_classes + 1)
        self.bbox_pred = nn.Linear(width, 4 * (num_classes + 1))
        for layer, deviation in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)
        for norm in self._norms() if frozen else ():
            norm.requires_grad_(False)

    def second(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits [P, num_classes + 1] and deltas [P, num_classes + 1, 4] of the boxes of all images."""
        features = self.head(self.pool(maps, boxes))
        return self.cls_score(features).float(), self.bbox_pred(features).float().unflatten(1, (-1, 4))

    def second_losses(self, maps: Sequence[Tensor], assigned: Sequence[Assigned]) -> dict[str, Tensor]:
        """`classes`, cross-entropy, and `boxes`, smooth L1 of the objects' shifts, both as means over all windows."""
        logits, deltas = self.second(maps, [one.boxes for one in assigned])
        labels = torch.cat([one.labels for one in assigned])
        wanted = torch.cat([one.deltas for one in assigned])
        objects = (labels > 0).nonzero().flatten()
        own, beta = deltas[objects, labels[objects]], self.sampling.beta
        return {
            "classes": F.cross_entropy(logits, labels),
            "boxes": F.smooth_l1_loss(own, wanted[objects], beta=beta, reduction="sum") / max(1, len(labels)),
        }

    @torch.no_grad()
    def assigned(self, proposals: Tensor, target: dict[str, Tensor]) -> Assigned:
        """The windows of one image that count in the losses; true boxes are windows too."""
        truth, sampling = target["boxes"], self.sampling
        boxes = torch.cat((proposals, truth))
        matching = match(truth, boxes, 0.5, 0.5)
        if sampling.least and len(truth):
            far = iou(truth[:, None], boxes).amax(0) < sampling.least
            matching[far & (matching == BACKGROUND)] = IGNORED
        objects, others = sample(matching, sampling.count, sampling.objects)
        chosen, which = torch.cat((objects, others)), matching[objects]
        labels = torch.zeros_like(chosen)
        labels[: len(objects)] = target["labels"][which] + 1
        deltas = boxes.new_zeros(len(chosen), 4)
        deltas[: len(objects)] = encode(truth[which], boxes[objects], RCNN_WEIGHTS)
        return Assigned(boxes[chosen], labels, deltas, which)

    def detections(
        self, proposals: Sequence[Tensor], logits: Tensor, deltas: Tensor, images: Tensor
    ) -> list[Detections]:
        """What windows, and what was said of them, come to: of each image boxes, scores and labels."""
        boxes, scores = self._scored(torch.cat(list(proposals)), logits, deltas, images)
        counts = [len(own) for own in proposals]
        parts = zip(torch.split(boxes, counts), torch.split(scores, counts), strict=True)
        return [found(own, points, self.limits) for own, points in parts]

    def fixed_detections(
        self, maps: Sequence[Tensor], proposals: Tensor, real: Tensor, images: Tensor
    ) -> dict[str, Tensor]:
        """The same of always as many windows, [N, P, 4], of which those are meant that are `real` [N, P], in a graph
        that does not depend on the data: boxes [N, K, 4], scores [N, K] and labels [N, K]; see `found_fixed`."""
        boxes, scores = self._scored(proposals.flatten(0, 1), *self.second(maps, list(proposals)), images)
        boxes, scores = boxes.view(*real.shape, -1, 4), scores.view(*real.shape, -1)
        scores = torch.where(real[..., None], scores, 0.0)
        return found_fixed(boxes, scores, self.limits)

    def _scored(self, windows: Tensor, logits: Tensor, deltas: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes within the image, [P, num_classes, 4], and probabilities [P, num_classes]."""
        boxes = clip(decode(deltas, windows[:, None], RCNN_WEIGHTS), *images.shape[2:])
        return boxes[:, 1:], logits.softmax(1)[:, 1:]

    @property
    def classifier_name(self) -> str:
        """The network of the catalogue that the trunk is from, "" for none: its weights, and those that torchvision
        publishes for it, load in part."""
        return trunk_of(self.backbone)[1].classifier

    def names_elsewhere(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The names of tensors in other files → the names here: the classifier's that the trunk is from."""
        yield from classifier_files(self.backbone, self.head)

    def train(self, mode: bool = True) -> Self:
        """As usual; but frozen batch norms keep the statistics that they were loaded with."""
        super().train(mode)
        for norm in self._norms() if self.frozen else ():
            norm.eval()
        return self

    def _norms(self) -> list[nn.Module]:
        return [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]


def fully_connected(inputs: int, hidden: int, drop: float = 0.0) -> nn.Sequential:
    """Flatten, then fc6 and fc7 with ReLU, and dropout where it is above 0."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, width in ((6, inputs), (7, hidden)):
        layer = nn.Linear(width, hidden)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        layers |= {f"fc{number}": layer, f"relu{number}": nn.ReLU()}
        if drop:
            layers[f"drop{number}"] = nn.Dropout(drop)
    return nn.Sequential(layers)


class OneMap(NamedTuple):
    """A trunk that gives one map of `channels`, the pool that cuts windows out of it, and what looks at these: `head`,
    which gives `width` features."""

    trunk: Maps
    channels: int
    pool: RegionPool
    head: nn.Module
    width: int


def vgg16_map() -> OneMap:
    """conv1_1 to relu5_3 of VGG-16, of stride 16; fc6 and fc7 of 4096 units, with dropout, on windows of 7x7."""
    trunk = vgg16()
    maps = Maps(trunk, (next(reversed(trunk)),), classifier="vgg16")
    return OneMap(maps, 512, RegionPool(7, (16,)), fully_connected(512 * 49, 4096, drop=0.5), 4096)


def resnet_map(encoder: str, width: int = 64, stride: int = 16, hidden: int = 0) -> OneMap:
    """A ResNet to its conv4, of stride 16, or to its conv3, of stride 8. Windows of 14x14 go through its other stages
    and are averaged; with `hidden` units, windows of 7x7 through fc6 and fc7. width: maps of conv1."""
    layers, widths = resnet(encoder, width)
    last, channels = ("conv4", widths[2]) if stride == 16 else ("conv3", widths[1])
    order = list(layers)
    end = 1 + max(place for place, name in enumerate(order) if name.startswith(last))
    classifier = encoder if width == 64 else ""
    trunk = Maps({name: layers[name] for name in order[:end]}, (order[end - 1],), classifier=classifier)
    if hidden:
        return OneMap(trunk, channels, RegionPool(7, (stride,)), fully_connected(channels * 49, hidden), hidden)
    rest = OrderedDict((name, layers[name]) for name in order[end:])
    head = nn.Sequential(OrderedDict(**rest, avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten()))
    return OneMap(trunk, channels, RegionPool(14, (stride,)), head, widths[3])
