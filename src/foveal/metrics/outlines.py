"""Masks compared by their run lengths: no mask is drawn, however large the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveal.data.outlines import Runs
from foveal.errors import FovealError
from foveal.metrics.boxes import Bools, Floats, Ints, Table


class Masks:
    """The masks of all detections and truths of a table, in its order."""

    def __init__(self, table: Table, found: Sequence[Runs], truth: Sequence[Runs]) -> None:
        self.found, self.truth = [found[i] for i in table.row], [truth[i] for i in table.t_row]
        self.areas: Floats = np.array([mask.area for mask in self.found], np.float64)
        self._crowd: Bools = table.t_crowd

    def overlaps(self, detection: Ints, truth: Ints) -> Floats:
        """IoU of each pair of rows; with a crowd the share of the detection inside it, as COCO has it."""
        common = np.zeros(len(detection))
        for t in np.unique(truth).tolist():
            pairs = np.flatnonzero(truth == t)
            common[pairs] = shared([self.found[d] for d in detection[pairs]], self.truth[t])
        area = np.array([mask.area for mask in self.truth], np.float64)
        own = self.areas[detection]
        whole = np.where(self._crowd[truth], own, own + area[truth] - common)
        return np.divide(common, whole, out=np.zeros(len(common)), where=whole > 0)


def shared(masks: Sequence[Runs], other: Runs) -> Floats:
    """The pixels that each of the masks has in common with the other one, [K]. FovealError for masks of other sizes.

    Down the columns, the count of the other's pixels so far is a line that rises along its runs: what a run of a mask
    has in common with it is the rise between its ends.
    """
    ends = np.concatenate(([0], np.cumsum(other.counts)))
    rise = np.concatenate(([0], np.cumsum(np.where(np.arange(len(other.counts)) % 2, other.counts, 0))))
    new = np.diff(ends, prepend=-1) > 0  # runs of no length
    result = np.zeros(len(masks))
    for k, mask in enumerate(masks):
        if (mask.height, mask.width) != (other.height, other.width):
            raise FovealError(
                f"masks of {mask.width} x {mask.height} and of {other.width} x {other.height} pixels are compared",
                "bring both to the image's own pixels",
            )
        bounds = np.cumsum(mask.counts)[: len(mask.counts) // 2 * 2]
        reached = np.interp(bounds, ends[new], rise[new])
        result[k] = (reached[1::2] - reached[::2]).sum()
    return result
