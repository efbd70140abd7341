"""COCO's average precision: its numbers for boxes, masks and keypoints, equal to pycocotools', over all images at once.

Lin et al., "Microsoft COCO" (ECCV 2014) and its evaluation page: AP is the mean over the IoU thresholds 0.50, 0.55, …,
0.95 and over the classes of the precision interpolated at 101 recalls. Detections of a class in an image are taken by
falling score, 100 at most (20 with keypoints); each takes the free truth that it overlaps most. Matches are made for
all images at once: first detection, second detection, and so on, for all thresholds and ranges of area together.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from foveal.errors import FovealError
from foveal.metrics.boxes import Bools, Floats, Found, Ints, Table, Truth
from foveal.metrics.keypoints import Points
from foveal.metrics.outlines import Masks

By = Literal["boxes", "masks", "keypoints"]
SHAPES: Mapping[str, By] = {"mask": "masks", "keypoint": "keypoints"}  # compared beside boxes; figures are called so
THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)
_AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
_MOST = (1, 10, 100)
_MOST_POSES = (20,)
_NONE = -9.0  # below every overlap, and every overlap - 2


@dataclass(frozen=True)
class CocoFigures:
    """`figures`: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl in this order, or of keypoints AP,
    AP50, AP75, APm, APl, AR, AR50, AR75, ARm, ARl; 0 to 1, and -1 where nothing is to be found; `per_class`: AP of each
    class, NaN without ground truth; `precision` [10, 101, classes]."""

    figures: Mapping[str, float]
    per_class: tuple[float, ...]
    precision: Floats


class _Shapes(Protocol):
    """What is compared: the areas of all detections, and how much pairs of rows, (detection, truth), have in common."""

    areas: Floats

    def overlaps(self, detection: Ints, truth: Ints) -> Floats: ...


class _Boxes:
    def __init__(self, table: Table) -> None:
        self.areas: Floats = (table.box[:, 2] - table.box[:, 0]) * (table.box[:, 3] - table.box[:, 1])
        self.overlaps = table.overlaps


def coco(found: Sequence[Found], truth: Sequence[Truth], classes: int, by: By = "boxes") -> CocoFigures:
    """The numbers of a set of images with `classes` classes, whose labels go from 0 on: twelve, of keypoints ten.

    by: what tells how much a detection has in common with a truth: the IoU of boxes or of masks, or the similarity of
    keypoints, where truths without any given are passed over. Raises FovealError where an image has none of these.
    """
    most = _MOST_POSES if by == "keypoints" else _MOST
    table = Table(found, truth, most[-1])
    shapes = _shapes(table, found, truth, by)
    names = [name for name in _AREAS if by != "keypoints" or name != "small"]
    ranges = np.array([_AREAS[name] for name in names])  # [A, 2]
    unwanted = table.t_ignored | ~shapes.given.any(1) if isinstance(shapes, Points) else table.t_ignored
    passed = unwanted | (table.t_area < ranges[:, :1]) | (table.t_area > ranges[:, 1:])  # [A, truths]
    matched, ignored = _matched(table, shapes, passed)
    outside = (shapes.areas < ranges[:, :1]) | (shapes.areas > ranges[:, 1:])  # [A, detections]
    ignored |= ~matched & outside[:, None]
    precision = np.full((len(names), len(THRESHOLDS), len(_RECALLS), classes), -1.0)
    recall = np.full((len(names), len(most), len(THRESHOLDS), classes), -1.0)
    bounds = np.searchsorted(table.label, np.arange(classes + 1))
    for k in range(classes):
        wanted = (~passed[:, table.t_label == k]).sum(1)  # [A]
        rows = slice(int(bounds[k]), int(bounds[k + 1]))
        order = np.argsort(-table.score[rows], kind="mergesort")
        for a in np.flatnonzero(wanted):
            right = matched[a, :, rows][:, order]
            passed_over = ignored[a, :, rows][:, order]
            for m, count in enumerate(most):
                first = table.rank[rows][order] < count
                good = np.cumsum(right[:, first] & ~passed_over[:, first], 1)
                recall[a, m, :, k] = good[:, -1] / wanted[a] if good.shape[1] else 0.0
            precision[a, :, :, k] = _interpolated(right & ~passed_over, ~right & ~passed_over, int(wanted[a]))
    figures = _of_poses(precision, recall) if by == "keypoints" else _of_boxes(precision, recall)
    own = [_mean(precision[0, :, :, k]) for k in range(classes)]
    return CocoFigures(figures, tuple(float("nan") if value < 0 else value for value in own), precision[0])


def given(found: Sequence[Found], truth: Sequence[Truth], by: By) -> bool:
    """Whether all detections and all truths have what is compared."""
    return all(getattr(one, by) is not None for one in (*found, *truth))


def _shapes(table: Table, found: Sequence[Found], truth: Sequence[Truth], by: By) -> _Shapes:
    if by == "boxes":
        return _Boxes(table)
    parts: list[list[Any]] = [[getattr(one, by) for one in kind] for kind in (found, truth)]
    bare = next((i for kind in parts for i, part in enumerate(kind) if part is None), None)
    if bare is not None:
        raise FovealError(f"image {bare} has no {by} to compare", f"compare boxes, or give {by} of every image")
    if by == "masks":
        return Masks(table, *([mask for part in kind for mask in part] for kind in parts))
    return Points(table, *parts)


def _matched(table: Table, shapes: _Shapes, passed: Bools) -> tuple[Bools, Bools]:
    """Which detections have a truth, and which of these truths are ignored: both bool [A, T, detections]."""
    areas, count = len(passed), len(THRESHOLDS)
    matched = np.zeros((areas, count, len(table.label)), bool)
    ignored = np.zeros_like(matched)
    detection, box = table.pairs()
    overlap = shapes.overlaps(detection, box)
    near = overlap >= THRESHOLDS[0] - 1e-10
    detection, box, overlap = detection[near], box[near], overlap[near]
    taken = np.zeros((areas, count, len(passed[0])), bool)
    # Detections of the same rank, of different images or classes, share no ground-truth box
    rank = table.rank[detection]
    order = np.argsort(rank, kind="stable")
    detection, box, overlap = detection[order], box[order], overlap[order]
    bounds = np.concatenate(([0], np.flatnonzero(np.diff(rank[order])) + 1, [len(order)]))
    for start, stop in itertools.pairwise(bounds.tolist()):
        if start == stop:
            continue
        some, its = detection[start:stop], box[start:stop]
        starts = np.flatnonzero(np.concatenate(([True], some[1:] != some[:-1])))
        free = ~taken[:, :, its] | table.t_crowd[its]  # [A, T, pairs]
        a, t, pair = _chosen(free, overlap[start:stop], passed[:, its], starts)
        taken[a, t, its[pair]] = True
        matched[a, t, some[pair]] = True
        ignored[a, t, some[pair]] = passed[a, its[pair]]
    return matched, ignored


def _chosen(free: Bools, overlap: Floats, passed: Bools, starts: Ints) -> tuple[Ints, Ints, Ints]:
    """For each detection, whose pairs begin at `starts`, the free box of the largest overlap: (range, threshold, pair).

    A box to be ignored is taken only where no wanted one is near; of equal overlaps the last counts, as in pycocotools.
    """
    near = overlap >= np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    value = np.where(free & near, (overlap - 2 * passed)[:, None], _NONE)
    best = np.maximum.reduceat(value, starts, axis=-1)
    lengths = np.diff(np.append(starts, len(overlap)))
    equal = value == np.repeat(best, lengths, axis=-1)
    last = np.maximum.reduceat(np.where(equal, np.arange(len(overlap)), -1), starts, axis=-1)
    a, t, detection = np.nonzero(best > _NONE)
    return a, t, last[a, t, detection]


def _interpolated(right: Bools, wrong: Bools, wanted: int) -> Floats:
    """Precision at the 101 recalls, [T, 101]: the best at that recall or a higher one, 0 where it is never reached."""
    good, bad = np.cumsum(right, 1, dtype=np.float64), np.cumsum(wrong, 1, dtype=np.float64)
    recall = good / wanted
    precision = good / (good + bad + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    result = np.zeros((len(right), len(_RECALLS)))
    for t in range(len(right)):
        places = np.searchsorted(recall[t], _RECALLS, side="left")
        reached = places < recall.shape[1]
        result[t, reached] = precision[t, places[reached]]
    return result


def _of_boxes(precision: Floats, recall: Floats) -> dict[str, float]:
    """precision [A, T, 101, K] and recall [A, M, T, K], -1 where a class has nothing to be found."""
    return {
        "AP": _mean(precision[0]),
        "AP50": _mean(precision[0, 0]),
        "AP75": _mean(precision[0, 5]),
        "APs": _mean(precision[1]),
        "APm": _mean(precision[2]),
        "APl": _mean(precision[3]),
        "AR1": _mean(recall[0, 0]),
        "AR10": _mean(recall[0, 1]),
        "AR100": _mean(recall[0, 2]),
        "ARs": _mean(recall[1, 2]),
        "ARm": _mean(recall[2, 2]),
        "ARl": _mean(recall[3, 2]),
    }


def _of_poses(precision: Floats, recall: Floats) -> dict[str, float]:
    """The same without small objects, and with one number of detections."""
    parts = (("AP", precision), ("AR", recall[:, 0]))
    return {
        f"{name}{end}": _mean(values[place])
        for name, values in parts
        for end, place in (("", (0,)), ("50", (0, 0)), ("75", (0, 5)), ("m", (1,)), ("l", (2,)))
    }


def _mean(values: Floats) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0
