"""PASCAL VOC's average precision, per class and in the mean, with its curves; and what kinds of mistakes there are.

Everingham et al., "The PASCAL Visual Object Classes challenge" (IJCV 2010), section 4.2. Detections of a class are
taken by falling score over all images. Each is compared with the ground-truth box of its class that it overlaps most:
from IoU 0.5 on (the development kit's ≥) the first is right and later ones are wrong; a difficult box makes it neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from foveal.metrics.boxes import Bools, Floats, Found, Ints, Table, Truth, precision_recall

Method = Literal["area", "11_point"]
KINDS = ("localisation", "confusion", "background", "duplicate", "missed")
_TOUCHED = 0.1  # IoU from which a wrong box still means an object


@dataclass(frozen=True)
class Curve:
    """A class's precision and recall after each of its detections by falling score, [K]; `wanted` boxes are to be
    found; `ap` is NaN where that is none."""

    precision: Floats
    recall: Floats
    scores: Floats
    wanted: int
    ap: float


def voc(
    found: Sequence[Found],
    truth: Sequence[Truth],
    classes: int,
    *,
    threshold: float = 0.5,
    method: Method = "area",
) -> tuple[float, tuple[Curve, ...]]:
    """The mean AP over the classes that occur, 0 to 1 (NaN where none does), and a curve for each class.

    method: "area" under the curve made monotone (VOC 2010 on), or "11_point", the mean of the best precision at the
    recalls 0, 0.1, …, 1 and beyond (VOC 2007).
    """
    table = Table(found, truth)
    right, wrong, _ = judged(table, threshold)
    curves = []
    for k in range(classes):
        rows = np.flatnonzero(table.label == k)
        rows = rows[np.argsort(-table.score[rows], kind="stable")]
        wanted = int((~table.t_ignored[table.t_label == k]).sum())
        precision, recall = precision_recall(right[rows], wrong[rows], wanted)
        ap = average_precision(precision, recall, method) if wanted else float("nan")
        curves.append(Curve(precision, recall, table.score[rows], wanted, ap))
    known = [curve.ap for curve in curves if curve.wanted]
    return float(np.mean(known)) if known else float("nan"), tuple(curves)


def average_precision(precision: Floats, recall: Floats, method: Method = "area") -> float:
    """One number for a curve, [K] each with rising recall: see `voc`."""
    if method == "11_point":
        best = [precision[recall >= t].max(initial=0) for t in np.linspace(0, 1, 11) - 1e-12]
        return float(np.mean(best))
    hull = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * hull))


def judged(table: Table, threshold: float) -> tuple[Bools, Bools, Ints]:
    """Which detections are right, which are wrong (the rest meet a difficult box), and the truth each overlaps most.

    bool, bool, int64 [detections]; -1 where there is no truth of its class in its image.
    """
    detection, box = table.pairs()
    overlap = table.overlaps(detection, box)
    best, value = _best(detection, box, overlap, len(table.label))
    near = (value >= threshold) & (best >= 0)
    passed = near & table.t_ignored[best] if len(table.t_ignored) else np.zeros(len(best), bool)
    rows = np.flatnonzero(near & ~passed)
    first = rows[np.unique(best[rows], return_index=True)[1]]  # rows of an image and class stand by falling score
    right = np.zeros(len(best), bool)
    right[first] = True
    return right, ~right & ~passed, best


def mistakes(
    found: Sequence[Found], truth: Sequence[Truth], *, threshold: float = 0.5, least_score: float = 0.0
) -> Mapping[str, int]:
    """How many mistakes of each kind of KINDS, among detections from `least_score` on.

    After Hoiem, Chodpathumwan and Dai, "Diagnosing error in object detectors" (ECCV 2012): localisation: the right
    class, IoU 0.1 to the threshold; duplicate: a box that was found already; confusion: IoU 0.1 or more with an object
    of another class; background: anything else; missed: a wanted box that no detection found.
    """
    kind, missed = diagnosed(Table(above(found, least_score), truth), threshold)
    counts = np.bincount(kind[kind >= 0], minlength=len(KINDS))
    counts[KINDS.index("missed")] = missed.sum()
    return dict(zip(KINDS, counts.tolist(), strict=True))


def above(found: Sequence[Found], score: float) -> list[Found]:
    """The detections that score `score` or more."""
    return [f.select(f.scores >= score) for f in found]


def diagnosed(table: Table, threshold: float) -> tuple[Ints, Bools]:
    """Of each detection its kind of mistake, a place in KINDS, -1 where it is none; and which truths are missed.

    int64 [detections], bool [truths]; see `mistakes`.
    """
    right, wrong, best = judged(table, threshold)
    detection, box = table.pairs(same_label=False)
    overlap = table.overlaps(detection, box, crowds=False)
    same = table.label[detection] == table.t_label[box]
    _, own = _best(detection[same], box[same], overlap[same], len(right))
    _, other = _best(detection[~same], box[~same], overlap[~same], len(right))
    chosen = [own >= threshold, own >= _TOUCHED, other >= _TOUCHED]
    places = [KINDS.index(name) for name in ("duplicate", "localisation", "confusion")]
    kind = np.where(wrong, np.select(chosen, places, KINDS.index("background")), -1)
    missed = ~table.t_ignored
    missed[best[right]] = False
    return kind, missed


def _best(detection: Ints, box: Ints, overlap: Floats, count: int) -> tuple[Ints, Floats]:
    """Of each of `count` detections the box it overlaps most, -1 for none, and how much; pairs stand by detection."""
    best, value = np.full(count, -1), np.zeros(count)
    if len(detection):
        starts = np.flatnonzero(np.concatenate(([True], detection[1:] != detection[:-1])))
        most = np.maximum.reduceat(overlap, starts)
        equal = overlap == np.repeat(most, np.diff(np.append(starts, len(overlap))))
        place = np.minimum.reduceat(np.where(equal, np.arange(len(overlap)), len(overlap)), starts)
        best[detection[starts]], value[detection[starts]] = box[place], most
    return best, value
