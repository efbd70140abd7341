"""The region proposal network: where something is, whatever it is. The first stage of Faster R-CNN and its heirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.boxes.coding import clip, decode, encode
from foveal.boxes.matching import match, sample
from foveal.boxes.suppression import batched_nms, fixed_nms
from foveal.models.detect._references import References, by_place

BETA = 1 / 9  # where smooth L1 turns from a square into a line, as in Girshick's code
_SAMPLED, _POSITIVE = 256, 0.5  # anchors of an image that count in the losses, and the share of objects among them


class Regions(NamedTuple):
    """What is said of A anchors, level by level: objectness [N, A_l] before the sigmoid, deltas [N, A_l, 4]; and the
    anchors [A_l, 4] in pixels."""

    objectness: list[Tensor]
    deltas: list[Tensor]
    anchors: list[Tensor]


class RegionProposals(nn.Module):
    """S. Ren, K. He, R. Girshick, J. Sun, «Faster R-CNN», NIPS 2015, section 3.1: a 3x3 convolution and two of 1x1,
    the same on all maps. Maps, images → `Regions`.

    before and after: how many of the best boxes of a level go into suppression (IoU above 0.7), and of an image come
    out, in test and in training. side: shorter boxes, in pixels, are dropped.
    """

    def __init__(
        self,
        channels: int,
        maps: int,
        references: References,
        *,
        before: tuple[int, int],
        after: tuple[int, int],
        side: float,
        overlap: float = 0.7,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, maps, 3, padding=1)
        self.relu = nn.ReLU()
        self.objectness = nn.Conv2d(maps, references.counts[0], 1)
        self.deltas = nn.Conv2d(maps, 4 * references.counts[0], 1)
        self.references = references
        self.before, self.after, self.side, self.overlap = before, after, side, overlap
        for layer in (self.conv, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor], images: Tensor) -> Regions:
        hidden = [self.relu(self.conv(map)) for map in maps]
        return Regions(
            [by_place(self.objectness(map), 1)[..., 0].float() for map in hidden],
            [by_place(self.deltas(map), 4).float() for map in hidden],
            self.references(maps, images),
        )

    @torch.no_grad()
    def proposals(self, regions: Regions, images: Tensor, *, learning: bool = False) -> list[Tensor]:
        """The boxes of each image that the second stage is to look at, best first: float32 [P, 4] within the image."""
        boxes, scores = self._best(regions, images, learning)
        level = torch.cat([torch.full_like(own[0], number, dtype=torch.int64) for number, own in enumerate(scores)])
        found = []
        for box, score in zip(torch.cat(boxes, 1), torch.cat(scores, 1), strict=True):
            large = self._large(box).nonzero().flatten()
            kept = batched_nms(box[large], score[large], level[large], self.overlap)[: self.after[learning]]
            found.append(box[large[kept]])
        return found

    @torch.no_grad()
    def fixed_proposals(self, regions: Regions, images: Tensor) -> tuple[Tensor, Tensor]:
        """`proposals` in a graph that does not depend on the data, for export: always as many, float32 [N, P, 4], and
        which of them are proposals, bool [N, P]; the others come last."""
        boxes, scores = self._best(regions, images, False)
        kept = []
        for box, score in zip(boxes, scores, strict=True):
            points = torch.where(self._large(box), score, -1.0)
            kept.append(torch.where(fixed_nms(box, points, self.overlap, -1.0), points, -1.0))
        every = torch.cat(kept, 1)
        best, place = every.topk(min(self.after[0], every.shape[1]), dim=1)
        return torch.cat(boxes, 1).gather(1, place[..., None].expand(-1, -1, 4)), best >= 0

    def _best(self, regions: Regions, images: Tensor, learning: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Of each level the best boxes [N, K, 4] within the image, and how probably they are objects' [N, K]."""
        boxes, scores = [], []
        for objectness, deltas, anchors in zip(*regions, strict=True):
            value, place = objectness.topk(min(self.before[learning], objectness.shape[1]), dim=1)
            chosen = deltas.gather(1, place[..., None].expand(-1, -1, 4))
            boxes.append(clip(decode(chosen, anchors[place]), *images.shape[2:]))
            scores.append(value.sigmoid())
        return boxes, scores

    def _large(self, boxes: Tensor) -> Tensor:
        return ((boxes[..., 2:] - boxes[..., :2]) >= self.side).all(-1)

    def losses(self, regions: Regions, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Equation 1 over 256 anchors of each image, up to half of them on objects: `objectness`, cross-entropy, and
        `regions`, smooth L1 of the shifts. An anchor is an object's from an IoU of 0.7 on, or as its best."""
        anchors = torch.cat(regions.anchors)
        objectness, deltas = torch.cat(regions.objectness, 1), torch.cat(regions.deltas, 1)
        points, wanted, shifts = [], [], objectness.new_zeros(())
        for own, delta, target in zip(objectness, deltas, targets, strict=True):
            matching = match(target["boxes"], anchors, 0.3, 0.7, best_of_each=True)
            some, others = sample(matching, _SAMPLED, _POSITIVE)
            points += [own[some], own[others]]
            wanted += [torch.ones_like(own[some]), torch.zeros_like(own[others])]
            truth = encode(target["boxes"][matching[some]], anchors[some])
            shifts = shifts + F.smooth_l1_loss(delta[some], truth, beta=BETA, reduction="sum")
        sampled = torch.cat(points)
        return {
            "objectness": F.binary_cross_entropy_with_logits(sampled, torch.cat(wanted)),
            "regions": shifts / max(1, len(sampled)),
        }
