"""OverFeat's greedy merging: boxes that many windows and scales predict are averaged, not suppressed.

Sermanet et al., "OverFeat" (ICLR 2014), section 4.3: of all boxes take the two with the least match score; stop when it
exceeds t; else replace them by their average. The paper computes the match score "using the sum of the distance between
centers of the two bounding boxes and the intersection area of the boxes", and minimises it: read as it stands, it would
favour boxes that do not overlap. Overlap must bring boxes nearer, so here the score is

    distance of the centres / mean diagonal of the two boxes + 1 - intersection / smaller area,

which is 0 for equal boxes, has no unit, and grows as boxes part. That, and the threshold with it, is our choice.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from foveal.boxes.overlap import area, intersection
from foveal.errors import FovealError


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
