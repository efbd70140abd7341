"""Which ground-truth box each reference box is to find: Faster R-CNN's, SSD's and YOLO's rules; and which ones count.

A matching is int64 [references]: the index of the ground-truth box, or BACKGROUND, or IGNORED (counts in no loss).
"""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.boxes.coding import to_centre
from foveal.boxes.overlap import iou
from foveal.errors import FovealError

BACKGROUND, IGNORED = -1, -2


def match(truth: Tensor, references: Tensor, low: float, high: float, *, best_of_each: bool = False) -> Tensor:
    """By IoU thresholds: its best box from `high` on, background below `low`, ignored between: int64 [references].

    truth [T, 4], references [R, 4]. best_of_each: every ground-truth box also gets the references that overlap it most,
    ties included, however little. Faster R-CNN 3.1.2: RPN 0.3, 0.7, best_of_each; second stage 0.5, 0.5 (Fast R-CNN has
    low 0.1). A low-quality reference keeps the box that it itself overlaps most, as in Girshick's code.
    """
    if not 0 <= low <= high <= 1:
        raise FovealError(f"thresholds low={low}, high={high}", "0 ≤ low ≤ high ≤ 1")
    if not len(truth):
        return truth.new_full((len(references),), BACKGROUND, dtype=torch.int64)
    overlap = iou(truth[:, None], references)  # [T, R]
    value, best = overlap.max(0)
    found = torch.where(value >= high, best, torch.where(value < low, BACKGROUND, IGNORED))
    if best_of_each:
        most = overlap.amax(1, keepdim=True)
        lifted = ((overlap == most) & (most > 0)).any(0)
        found = torch.where(lifted, best, found)
    return found


def match_priors(truth: Tensor, references: Tensor, threshold: float = 0.5) -> Tensor:
    """SSD's rule (2.2): each ground-truth box gets the default box that overlaps it most, others from `threshold`.

    int64 [references], without IGNORED. When two boxes want one default box, the pair that overlaps more goes first,
    as in the paper's code: so no box is left without one while there are more default boxes than boxes.
    """
    found = match(truth, references, threshold, threshold)
    overlap = iou(truth[:, None], references).clone()  # [T, R]
    for _ in range(min(len(truth), len(references))):
        box, reference = divmod(int(overlap.argmax()), len(references))
        found[reference] = box
        overlap[box] = -1
        overlap[:, reference] = -1
    return found


def match_cells(truth: Tensor, rows: int, columns: int, stride: float) -> Tensor:
    """YOLO's rule: the cell that holds a box's centre is responsible for it: int64 [T], row * columns + column.

    A centre on the right or lower border belongs to the last cell. Where two boxes share a cell, YOLOv1 learns one: it
    is the caller who decides which.
    """
    centre = to_centre(truth)[:, :2] / stride
    column = centre[:, 0].floor().long().clamp(0, columns - 1)
    row = centre[:, 1].floor().long().clamp(0, rows - 1)
    return row * columns + column


def match_shapes(truth: Tensor, priors: Tensor) -> Tensor:
    """YOLOv2's and v3's rule: the prior [P, 2] whose shape overlaps the box most, both centred: int64 [T]."""
    sides = to_centre(truth)[:, 2:]
    box = torch.cat((-sides / 2, sides / 2), 1)
    prior = torch.cat((-priors / 2, priors / 2), 1)
    return iou(box[:, None], prior).argmax(1)


def match_places(truth: Tensor, references: Tensor, middle: float = 0.5) -> Tensor:
    """By centres: a reference box finds the object in whose middle its own centre lies: int64 [references].

    truth [T, 4], references [R, 4]. middle: the share of both sides of a box that counts as its middle; of several
    objects the smallest is found. Centres elsewhere in a box are ignored, those outside of all are background. An
    object whose middle holds no centre gets the nearest one, unless that has found another.
    """
    if not len(truth):
        return truth.new_full((len(references),), BACKGROUND, dtype=torch.int64)
    places, boxes = to_centre(references)[:, :2], to_centre(truth)
    away = (places[:, None] - boxes[:, :2]).abs() / boxes[:, 2:].clamp_min(1e-12)  # [R, T, 2], in sides
    size = boxes[:, 2] * boxes[:, 3]
    inside, central = (away <= 0.5).all(-1), (away <= middle / 2).all(-1)
    found = torch.where(inside.any(1), IGNORED, BACKGROUND)
    smallest = torch.where(central, size, torch.inf).argmin(1)
    found = torch.where(central.any(1), smallest, found)
    nearest = (places[:, None] - boxes[:, :2]).square().sum(-1).argmin(0)  # [T]
    for box in (~central.any(0)).nonzero().flatten().tolist():
        if found[nearest[box]] < 0:
            found[nearest[box]] = box
    return found


def sample(
    matching: Tensor, count: int, positive: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """`count` references at random, at most the share `positive` of them matched: indices (positives, negatives).

    Faster R-CNN: 256 with up to half positive for the RPN, 512 (Fast R-CNN 64 an image) with a quarter for the second
    stage. Too few positives are filled up with negatives. int64, in random order; drawn on the CPU from `generator`.
    """
    chosen = (matching >= 0).nonzero().flatten()
    others = (matching == BACKGROUND).nonzero().flatten()
    first = min(len(chosen), int(count * positive))
    second = min(len(others), count - first)
    return _some(chosen, first, generator), _some(others, second, generator)


def hard_negatives(losses: Tensor, matching: Tensor, ratio: float = 3.0) -> Tensor:
    """The background references of the highest loss, `ratio` times as many as are matched: bool like `matching`.

    SSD 2.2, "hard negative mining": 3 to 1. losses and matching are [..., R] and mined row by row; no count depends on
    the data's values, so the graph is fixed.
    """
    matched = matching >= 0
    wanted = (matched.sum(-1, keepdim=True) * ratio).long()
    open_ = matching == BACKGROUND
    order = losses.detach().masked_fill(~open_, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank.scatter_(-1, order, torch.arange(order.shape[-1], device=order.device).expand_as(order))
    return open_ & (rank < wanted)


def _some(indices: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    order = torch.randperm(len(indices), generator=generator)[:count]
    return indices[order.to(indices.device)]
