"""Detections against ground truth, image by image: the matching on which VOC's, COCO's and all other figures stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.data.outlines import Runs
from foveal.errors import FovealError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Found(NamedTuple):
    """What a detector says of one image: boxes [K, 4] (x1, y1, x2, y2 in pixels), scores [K], labels int64 [K]; of some
    detectors K `masks` of the image's size, or keypoints [K, J, 3] (x, y in pixels, how sure, 0 to 1)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: tuple[Runs, ...] | None = None
    keypoints: Tensor | None = None

    def select(self, which: Tensor) -> Found:
        """The detections at these places, int64, or where this is true, bool [K]."""
        index = which.nonzero().flatten() if which.dtype == torch.bool else which
        masks = None if self.masks is None else tuple(self.masks[i] for i in index.tolist())
        keypoints = None if self.keypoints is None else self.keypoints[index]
        return Found(self.boxes[index], self.scores[index], self.labels[index], masks, keypoints)


class Truth(NamedTuple):
    """What is there: boxes [T, 4], labels [T]; `ignored` bool [T], neither wanted nor wrong (VOC's difficult), `crowd`
    bool [T] (COCO's regions: any number of detections inside are passed over), `area` [T], by default the boxes'; for
    detectors of such, T `masks` of the image's size, or keypoints [T, J, 3] (x, y, and above 0 where given)."""

    boxes: Tensor
    labels: Tensor
    ignored: Tensor | None = None
    crowd: Tensor | None = None
    area: Tensor | None = None
    masks: tuple[Runs, ...] | None = None
    keypoints: Tensor | None = None


class Table:
    """All detections and all ground truth of a set in rows, NumPy.

    Detections: image, label, score, box, sorted by (label, image, falling score), equal scores as given. Truths: image,
    label, box, area, crowd, ignored, sorted by (label, image). `row` and `t_row`: where each stood among all of them.
    """

    def __init__(self, found: Sequence[Found], truth: Sequence[Truth], most: int | None = None) -> None:
        if len(found) != len(truth):
            raise FovealError(f"detections of {len(found)} images, truth of {len(truth)}", "give one of each an image")
        self.images = len(found)
        image = np.repeat(np.arange(len(found)), [len(f.labels) for f in found])
        label, score = _joined([f.labels for f in found]).astype(np.int64), _joined([f.scores for f in found])
        box = _joined([f.boxes for f in found]).reshape(-1, 4)
        if not np.isfinite(score).all():
            raise FovealError(f"image {int(image[~np.isfinite(score)][0])}: a score is no number", "mend the detector")
        order = np.lexsort((-score, image, label))  # stable: of equal scores the first stays first
        self.image, self.label, self.score, self.box = image[order], label[order], score[order], box[order]
        self.row, self.rank = order, _rank(self.label, self.image)
        if most is not None:
            self._keep(self.rank < most)
        self._take(truth)

    def _keep(self, which: Bools) -> None:
        for name in ("image", "label", "score", "box", "row", "rank"):
            setattr(self, name, getattr(self, name)[which])

    def _take(self, truth: Sequence[Truth]) -> None:
        counts = [len(t.labels) for t in truth]
        image = np.repeat(np.arange(len(truth)), counts)
        label, box = (
            _joined([t.labels for t in truth]).astype(np.int64),
            _joined([t.boxes for t in truth]).reshape(-1, 4),
        )
        own = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
        parts = np.cumsum(counts)[:-1]
        areas = zip(truth, np.split(own, parts), strict=True)
        area = np.concatenate([_joined([t.area]) if t.area is not None else a for t, a in areas]) if counts else own
        crowd = _flags([t.crowd for t in truth], counts)
        ignored = _flags([t.ignored for t in truth], counts) | crowd
        order = np.lexsort((image, label))
        self.t_row = order
        self.t_image, self.t_label, self.t_box = image[order], label[order], box[order]
        self.t_area, self.t_crowd, self.t_ignored = area[order], crowd[order], ignored[order]

    def pairs(self, *, same_label: bool = True) -> tuple[Ints, Ints]:
        """Rows (detection, truth) of the same image and, by default, label; by detection, then by truth."""
        mine, its = self._key(self.label, self.image, same_label), self._key(self.t_label, self.t_image, same_label)
        order = np.argsort(its, kind="stable")
        start, stop = np.searchsorted(its[order], mine), np.searchsorted(its[order], mine, "right")
        count = stop - start
        detection = np.repeat(np.arange(len(mine)), count)
        within = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
        return detection, order[np.repeat(start, count) + within]

    def _key(self, label: Ints, image: Ints, same_label: bool) -> Ints:
        return label * self.images + image if same_label else image

    def overlaps(self, detection: Ints, truth: Ints, *, crowds: bool = True) -> Floats:
        """IoU of each pair; with a crowd the share of the detection inside it, as COCO has it."""
        a, b = self.box[detection], self.t_box[truth]
        width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
        height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
        common = np.where((width > 0) & (height > 0), width * height, 0)
        own = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
        union = own + (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) - common
        whole = np.where(self.t_crowd[truth], own, union) if crowds else union
        return np.divide(common, whole, out=np.zeros(len(common)), where=whole > 0)


def precision_recall(right: Bools, wrong: Bools, wanted: int) -> tuple[Floats, Floats]:
    """The curve of detections by falling score: precision and recall after each, both [K]."""
    good, bad = np.cumsum(right), np.cumsum(wrong)
    return good / np.maximum(good + bad, 1), good / max(wanted, 1)


def _rank(label: Ints, image: Ints) -> Ints:
    """The place of each row among those of its label and image, from 0."""
    if not len(label):
        return np.empty(0, np.int64)
    new = np.concatenate(([True], (label[1:] != label[:-1]) | (image[1:] != image[:-1])))
    starts = np.flatnonzero(new)
    ranks: Ints = np.arange(len(label)) - np.repeat(starts, np.diff(np.append(starts, len(label))))
    return ranks


def _joined(parts: Sequence[Tensor]) -> Floats:
    arrays = [np.asarray(part.detach().cpu(), np.float64).reshape(-1) for part in parts]
    return np.concatenate(arrays) if arrays else np.empty(0)


def _flags(parts: Sequence[Tensor | None], counts: Sequence[int]) -> Bools:
    arrays = [np.zeros(n, bool) if p is None else np.asarray(p.cpu(), bool) for p, n in zip(parts, counts, strict=True)]
    return np.concatenate(arrays) if arrays else np.empty(0, bool)
