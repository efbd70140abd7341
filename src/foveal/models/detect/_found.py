"""From boxes and scores to detections: threshold, suppression, the best."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foveal.boxes.suppression import batched_nms, fixed_nms
from foveal.errors import FovealError

_FIRST = 4  # times as many boxes as are reported are looked at before all others
Detections = dict[str, Tensor]  # boxes float32 [K, 4], scores float32 [K] falling, labels int64 [K]


@dataclass(frozen=True)
class Limits:
    """What a detector reports: boxes that score more than `score`, of each class the best `candidates` (0: all), of
    those that overlap by an IoU above `overlap` the best, and at most `most` of an image. Sides are `side` pixels at
    least."""

    score: float
    overlap: float
    most: int
    candidates: int = 0
    side: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.score < 1 and 0 <= self.overlap <= 1):
            raise FovealError(f"score={self.score}, overlap={self.overlap}", "both lie between 0 and 1")
        if self.most < 1:
            raise FovealError(f"most={self.most}: nothing could be found", "give 1 or more")


def found(boxes: Tensor, scores: Tensor, limits: Limits) -> Detections:
    """The detections of one image: boxes [R, 4], or [R, C, 4] of each class its own, and scores [R, C]."""
    value = scores.t().contiguous()  # [C, R]
    if 0 < limits.candidates < len(scores):
        value, row = value.topk(limits.candidates, dim=1)
    else:  # of boxes that score the same the first comes first, as in an exported graph
        row = torch.arange(len(scores), device=scores.device).expand_as(value)
    label = torch.arange(len(value), device=scores.device).repeat_interleave(value.shape[1])
    value, row = value.flatten(), row.flatten()
    over = (value > limits.score).nonzero().flatten()
    value, row, label = value[over], row[over], label[over]
    chosen = boxes[row] if boxes.ndim == 2 else boxes[row, label]
    if limits.side:
        large = ((chosen[:, 2:] - chosen[:, :2]) >= limits.side).all(1).nonzero().flatten()
        chosen, value, label = chosen[large], value[large], label[large]
    kept = _best(chosen, value, label, limits)
    return {"boxes": chosen[kept], "scores": value[kept], "labels": label[kept]}


def _best(boxes: Tensor, scores: Tensor, labels: Tensor, limits: Limits) -> Tensor:
    """The first `most` that suppression leaves. A box goes by better ones alone, so that they are found among the best:
    so many that enough are left of them."""
    order = scores.sort(descending=True, stable=True).indices
    count = _FIRST * limits.most
    while True:
        some = order[:count]
        kept = some[batched_nms(boxes[some], scores[some], labels[some], limits.overlap)]
        if len(kept) >= limits.most or count >= len(order):
            return kept[: limits.most]
        count *= 4


def found_fixed(boxes: Tensor, scores: Tensor, limits: Limits) -> Detections:
    """`found` in a graph that does not depend on the data, for export.

    boxes [N, R, 4] or [N, R, C, 4], scores [N, R, C] → `boxes` float32 [N, K, 4], `scores` [N, K] falling, `labels`
    int64 [N, K]; K is `limits.most`, or all there can be; where less is found, the last scores are 0.
    """
    own, points = candidates_fixed(boxes, scores, limits)
    if limits.side:
        points = torch.where(((own[..., 2:] - own[..., :2]) >= limits.side).all(-1), points, 0.0)
    points = torch.where(fixed_nms(own, points, limits.overlap, limits.score), points, 0.0)
    return best_fixed(own, points, limits)


def candidates_fixed(boxes: Tensor, scores: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """Class by class the boxes [N, C, R, 4] and scores [N, C, R], with `limits.candidates` the best so many, by falling
    score: of what `found_fixed` takes."""
    points = scores.transpose(1, 2)
    classes, count = points.shape[1:]
    own = boxes[:, None].expand(-1, classes, -1, -1) if boxes.ndim == 3 else boxes.transpose(1, 2)
    if limits.candidates:
        points, row = points.topk(min(limits.candidates, count), dim=2)
        own = own.gather(2, row[..., None].expand(-1, -1, -1, 4))
    return own, points


def best_fixed(boxes: Tensor, scores: Tensor, limits: Limits) -> Detections:
    """What `found_fixed` gives, of what is left of the candidates: [N, C, R, 4] and [N, C, R], 0 for those that are
    gone."""
    classes, count = scores.shape[1:]
    best, place = scores.flatten(1).topk(min(limits.most, classes * count), dim=1)
    chosen = boxes.flatten(1, 2).gather(1, place[..., None].expand(-1, -1, 4))
    return {"boxes": chosen, "scores": best, "labels": place // count}
