"""All objects of whole images: average precision as PASCAL VOC and COCO have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from foveal.metrics.coco import SHAPES, coco, given
from foveal.metrics.voc import voc
from foveal.protocols._found import compared

TASK = "detect"


def detections(predict: Any, dataset: Any, *, batch_size: int = 16) -> Iterator[tuple[str, Any]]:
    """Evaluate a detector on every image of `dataset`, whose items are (uint8 [C, H, W], target with boxes).

    Yields, as (name, value): ("found", a `Found` each image) and ("truth", a `Truth` each), ("class_ap50", float64
    [classes]: in %, NaN for a class that does not occur), then, in %: ("ap50": PASCAL VOC's mean AP at IoU 0.5, area
    under the curve, difficult objects passed over), ("ap": COCO's, the mean over IoU 0.50 to 0.95) and ("ap75"); of a
    detector that gives masks or keypoints also ("mask_ap", "mask_ap50", "mask_ap75") or ("keypoint_ap", …), COCO's by
    the IoU of masks and the similarity of keypoints. `batch_size` images are prepared ahead.

    Raises FovealError for an empty set, and for one without a box to be found.
    """
    found, truth = compared(predict, dataset, batch_size)
    classes = len(predict.classes)
    yield "found", found
    yield "truth", truth
    ap50, curves = voc(found, truth, classes)
    yield "class_ap50", torch.from_numpy(100 * np.array([curve.ap for curve in curves]))
    yield "ap50", 100 * ap50
    figures = coco(found, truth, classes).figures
    yield "ap", 100 * figures["AP"]
    yield "ap75", 100 * figures["AP75"]
    for name, by in SHAPES.items():
        if given(found, truth, by):
            figures = coco(found, truth, classes, by).figures
            for end in ("", "50", "75"):
                yield f"{name}_ap{end}", 100 * figures[f"AP{end}"]
