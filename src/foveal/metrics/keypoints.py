"""Keypoints compared: COCO's object keypoint similarity, which takes the place of IoU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from foveal.errors import FovealError
from foveal.metrics.boxes import Bools, Floats, Ints, Table

_COCO = (0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89)


def spreads(count: int) -> Floats:
    """How far apart annotators place each of `count` keypoints, as a share of the object's size: for 17 COCO's, nose to
    ankles; for other counts nobody measured it, and all have the mean of these."""
    known = np.array(_COCO) / 10
    return known if count == len(_COCO) else np.full(count, known.mean())


class Points:
    """The keypoints of all detections and truths of a table, in its order: [detections, J, 3] and [truths, J, 3]."""

    def __init__(self, table: Table, found: Sequence[Tensor], truth: Sequence[Tensor]) -> None:
        counts = {part.shape[1] for part in (*found, *truth)}
        if len(counts) > 1:
            raise FovealError(f"objects of {sorted(counts)} keypoints are compared", "give all the same ones")
        points, t_points = (np.concatenate([part.double().cpu().numpy() for part in parts]) for parts in (found, truth))
        self.found, self.truth = points[table.row], t_points[table.t_row]
        self.given: Bools = np.asarray(self.truth[..., 2] > 0)
        self._box, self._area = table.t_box, table.t_area
        corners = self.found[..., :2]
        self.areas: Floats = np.prod(corners.max(1) - corners.min(1), -1) if len(corners) else np.zeros(0)

    def overlaps(self, detection: Ints, truth: Ints) -> Floats:
        """The similarity of each pair of rows: the mean of exp(-d² / (2 area (2 spread)²)) over the truth's given
        keypoints; where it has none, d is how far each lies outside its box, made larger by its sides all around."""
        points, its, given = self.found[detection, :, :2], self.truth[truth, :, :2], self.given[truth]
        box = self._box[truth]
        sides = box[:, 2:] - box[:, :2]
        low, high = (box[:, :2] - sides)[:, None], (box[:, 2:] + sides)[:, None]
        outside = np.maximum(low - points, 0) + np.maximum(points - high, 0)
        some: Bools = np.asarray(given.any(1))
        apart = np.where(some[:, None, None], points - its, outside)
        area = (self._area[truth] + np.spacing(1))[:, None]
        similar = np.exp(-(apart**2).sum(-1) / (2 * spreads(given.shape[1])) ** 2 / area / 2)
        counted = np.where(some[:, None], given, True)
        mean: Floats = (similar * counted).sum(1) / counted.sum(1)
        return mean
