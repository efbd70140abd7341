"""OverFeat's greedy merging: boxes that many windows and scales predict are averaged, not suppressed.

Sermanet et al., "OverFeat" (ICLR 2014), section 4.3: of all boxes take the two with the least match score; stop when it
exceeds t; else replace them by their average. The paper computes the match score "using the sum of the distance between
centers of the two bounding boxes and the intersection area of the boxes", and minimises it: read as it stands, it would
favour boxes that do not overlap. Overlap must bring boxes nearer, so here the score is

    distance of the centres / mean diagonal of the two boxes + 1 - intersection / smaller area,

which is 0 for equal boxes, has no unit, and grows as boxes part. That, and the threshold with it, is our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from foveal.boxes.overlap import area, intersection
from foveal.errors import FovealError

_LOOP: Callable[..., tuple[Tensor, ...]] = torch.ops.higher_order.while_loop
"""(condition, step, what is carried on, what stays) → what was carried on: a loop that exported graphs keep."""


class Merged(NamedTuple):
    """Boxes float [M, 4] by falling score, the sum of the scores in each [M], and how many they are, int64 [M]."""

    boxes: Tensor
    scores: Tensor
    counts: Tensor


def match_score(a: Tensor, b: Tensor) -> Tensor:
    """The distance that is minimised, from 0 for equal boxes on: [..., 4] broadcast → [...]."""
    centres = ((a[..., :2] + a[..., 2:]) - (b[..., :2] + b[..., 2:])).norm(dim=-1) / 2
    diagonal = ((a[..., 2:] - a[..., :2]).norm(dim=-1) + (b[..., 2:] - b[..., :2]).norm(dim=-1)) / 2
    smaller = torch.minimum(area(a), area(b))
    shared = torch.where(smaller > 0, intersection(a, b) / smaller.clamp_min(1e-12), 0)
    score: Tensor = centres / diagonal.clamp_min(1e-12) + 1 - shared
    return score


def merge(boxes: Tensor, scores: Tensor, threshold: float = 0.5) -> Merged:
    """Boxes [N, 4] of one class with scores [N], merged while two have a match score of at most `threshold`.

    A merged box is the mean of all the boxes that went into it (boxMerge, applied to two at a time with their counts),
    and its score their sum: "the cumulative class score" that the paper's final prediction takes the largest of.
    """
    if boxes.shape != (len(scores), 4):
        raise FovealError(f"boxes {list(boxes.shape)} and scores {list(scores.shape)}", "give [N, 4] and [N]")
    boxes, scores = boxes.clone(), scores.clone()
    counts = torch.ones(len(boxes), dtype=torch.int64, device=boxes.device)
    here = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    distance = match_score(boxes[:, None], boxes).fill_diagonal_(torch.inf)
    while len(boxes) > 1:
        least, place = distance.flatten().min(0)
        if not least <= threshold:
            break
        i, j = divmod(int(place), len(boxes))
        total = counts[i] + counts[j]
        boxes[i] = (boxes[i] * counts[i] + boxes[j] * counts[j]) / total
        scores[i], counts[i] = scores[i] + scores[j], total
        here[j] = False
        distance[j] = torch.inf
        distance[:, j] = torch.inf
        anew = match_score(boxes[i], boxes).masked_fill(~here, torch.inf)
        anew[i] = torch.inf
        distance[i] = anew
        distance[:, i] = anew
    order = scores[here].argsort(descending=True, stable=True)
    return Merged(boxes[here][order], scores[here][order], counts[here][order])


def fixed_merge(boxes: Tensor, scores: Tensor, threshold: float = 0.5, least: float = 0.0) -> tuple[Tensor, Tensor]:
    """The same rule in a graph that does not depend on the data, for export: merged boxes [..., N, 4] by falling score,
    and their scores [..., N], which are 0 where no box is left.

    boxes [..., N, 4] and scores [..., N], N from 1 on; any leading dimensions (images, classes) are sets of their own.
    Boxes that do not score above `least`, which is 0 or more, go before. Sets that have boxes are taken in turn, in
    N - 1 steps at most each: ONNX's Loop in a Loop. A set takes memory for N² distances while its turn lasts.
    """
    if boxes.shape != (*scores.shape, 4) or scores.ndim < 1 or scores.shape[-1] < 1:
        told = f"boxes {list(boxes.shape)} and scores {list(scores.shape)}"
        raise FovealError(told, "give [..., N, 4] and [..., N], N from 1 on")
    points = torch.where(scores > least, scores, 0.0).reshape(-1, scores.shape[-1]).detach()
    best, order = points.amax(1).topk(len(points))
    begin = (torch.zeros_like(order[:1]), boxes.reshape(-1, *boxes.shape[-2:]).detach(), points)
    _, together, sums = _LOOP(_is_set, partial(_merge_set, threshold=threshold), begin, (order, (best > 0).sum()))
    return together.view(boxes.shape), sums.view(scores.shape)


def _is_set(number: Tensor, boxes: Tensor, scores: Tensor, order: Tensor, count: Tensor) -> Tensor:
    return (number < count)[0]


def _merge_set(
    number: Tensor, boxes: Tensor, scores: Tensor, order: Tensor, count: Tensor, *, threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The set [number] of `order`, int64 [1], merged and sorted among all: boxes [G, N, 4] and scores [G, N]."""
    own = order[number]
    corners, points = boxes[own][0], scores[own][0]
    here = points > 0
    each = torch.arange(len(points), device=points.device)
    pairs = here[:, None] & here & (each[:, None] != each)
    distance = torch.where(pairs, match_score(corners[:, None], corners), torch.inf)
    begin = (corners, points, here.to(points.dtype), distance, distance.flatten().argmin()[None])
    corners, points, *_ = _LOOP(partial(_is_near, threshold=threshold), _merge_pair, begin, ())
    best, row = points.topk(len(points))
    return number + 1, boxes.index_put((own,), corners[row][None]), scores.index_put((own,), best[None])


def _is_near(
    boxes: Tensor, scores: Tensor, counts: Tensor, distance: Tensor, place: Tensor, *, threshold: float
) -> Tensor:
    return (distance.flatten()[place] <= threshold)[0]


def _merge_pair(boxes: Tensor, scores: Tensor, counts: Tensor, distance: Tensor, place: Tensor) -> tuple[Tensor, ...]:
    """The two boxes of the least distance, which is at `place`, int64 [1], become the first of them: one step of
    `merge`. Boxes [N, 4], scores [N], counts [N] in the scores' type, 0 for a box that is gone, distance [N, N]."""
    each = torch.arange(len(scores), device=scores.device)
    i, j = place // len(scores), place % len(scores)
    first, second = each == i, each == j
    total = counts[i] + counts[j]
    mean = (boxes[i] * counts[i] + boxes[j] * counts[j]) / total
    boxes = torch.where(first[:, None], mean, boxes)
    scores = torch.where(first, scores[i] + scores[j], torch.where(second, 0.0, scores))
    counts = torch.where(first, total, torch.where(second, 0.0, counts))
    anew = torch.where((counts > 0) & ~first, match_score(mean, boxes), torch.inf)
    pair, rows = torch.cat((i, j)), torch.stack((anew, torch.full_like(anew, torch.inf)))
    distance = distance.index_put((pair,), rows).scatter(1, pair.expand(len(scores), 2), rows.t())
    return boxes, scores, counts, distance, distance.flatten().argmin()[None]
