"""Where one object is, among five guesses (ILSVRC), and how many objects a list of proposals holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from foveal.boxes.overlap import iou
from foveal.errors import FovealError
from foveal.metrics.boxes import Found, Truth


def localisation_error(
    found: Sequence[Found], truth: Sequence[Truth], *, guesses: int = 5, threshold: float = 0.5
) -> float:
    """Per cent of images of which none of the `guesses` best has the class and an IoU above the threshold with one of
    its boxes: the challenge's measure (Russakovsky et al., "ILSVRC", IJCV 2015, section 4.2), OverFeat's and VGG's."""
    _check(found, truth)
    wrong = 0
    for said, there in zip(found, truth, strict=True):
        best = said.scores.argsort(descending=True, stable=True)[:guesses]
        close = iou(said.boxes[best][:, None], there.boxes) > threshold  # [guesses, boxes]
        named = said.labels[best][:, None] == there.labels
        wrong += not bool((close & named).any())
    return 100 * wrong / len(found)


def proposal_recall(
    proposals: Sequence[Tensor],
    truth: Sequence[Tensor],
    counts: Sequence[int] = (100, 500, 1000, 1500, 2000),
    *,
    threshold: float = 0.5,
) -> Mapping[int, float]:
    """The share of all boxes, 0 to 1, that one of the first `count` windows of their image covers, for each count.

    proposals: for each image [K, 4], best first; truth [T, 4]. Covered is an IoU of the threshold at least: the curve
    of recall against number of windows of Uijlings et al. (IJCV 2013, section 5.3).
    """
    _check(proposals, truth)
    first = torch.cat([_first(*pair, threshold) for pair in zip(proposals, truth, strict=True)])
    return {count: float((first < count).float().mean()) for count in counts}


def average_best_overlap(proposals: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """The mean over all boxes of the largest IoU that a window has with each (ABO: Uijlings et al., 5.1), 0 to 1."""
    _check(proposals, truth)
    best = [
        iou(boxes[:, None].float(), windows.float()).amax(1) if len(windows) else boxes.new_zeros(len(boxes)).float()
        for windows, boxes in zip(proposals, truth, strict=True)
    ]
    return float(torch.cat(best).mean())


def _first(windows: Tensor, boxes: Tensor, threshold: float) -> Tensor:
    """The place of the first window that covers each box, and a huge number where none does: int64 [T]."""
    far = torch.iinfo(torch.int64).max
    if not len(windows):
        return torch.full((len(boxes),), far)
    covers = iou(boxes[:, None].float(), windows.float()) >= threshold  # [T, K]
    return torch.where(covers.any(1), covers.int().argmax(1), far)


def _check(given: Sequence[object], truth: Sequence[object]) -> None:
    if len(given) != len(truth) or not truth:
        raise FovealError(f"answers for {len(given)} images, truth of {len(truth)}", "give one of each an image")
