"""Boxes as numbers relative to a reference box, which is what networks regress; and back.

Boxes are x1, y1, x2, y2 in pixels, float [..., 4].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LARGEST = math.log(
    1000 / 16
)  # of a predicted log-ratio of sides, in Girshick's code since Fast R-CNN: no exp overflows
SSD_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # one over the "variances" 0.1, 0.1, 0.2, 0.2 of SSD's code
RCNN_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the second stage; the first (RPN) has none


def to_centre(boxes: Tensor) -> Tensor:
    """x1, y1, x2, y2 → centre x, centre y, width, height."""
    return torch.cat(((boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]), -1)


def to_corners(boxes: Tensor) -> Tensor:
    """Centre x, centre y, width, height → x1, y1, x2, y2."""
    half = boxes[..., 2:] / 2
    return torch.cat((boxes[..., :2] - half, boxes[..., :2] + half), -1)


def encode(boxes: Tensor, references: Tensor, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """The deltas t that lead from references to boxes, each times its weight: both [..., 4] → [..., 4].

    tx = (x - xr)/wr, ty = (y - yr)/hr, tw = log(w/wr), th = log(h/hr): R-CNN (Girshick et al., CVPR 2014, appendix C,
    equations 6 to 9), Faster R-CNN equation 2. SSD's are the same with weights one over its variances. Boxes and
    references need width and height above 0.
    """
    box, reference = to_centre(boxes), to_centre(references)
    shift = (box[..., :2] - reference[..., :2]) / reference[..., 2:]
    return torch.cat((shift, (box[..., 2:] / reference[..., 2:]).log()), -1) * shift.new_tensor(weights)


def decode(deltas: Tensor, references: Tensor, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """The boxes to which deltas lead from references, `encode`'s inverse: both [..., 4], broadcast → [..., 4].

    A side grows by 62.5 times at most, so that no prediction overflows.
    """
    deltas = deltas / deltas.new_tensor(weights)
    reference = to_centre(references)
    centre = reference[..., :2] + deltas[..., :2] * reference[..., 2:]
    return to_corners(torch.cat((centre, reference[..., 2:] * deltas[..., 2:].clamp_max(LARGEST).exp()), -1))


def encode_cell(boxes: Tensor, cells: Tensor, stride: float, priors: Tensor) -> Tensor:
    """YOLOv3's targets: offsets in the cell, 0 to 1, and log-ratios to the prior's sides (Redmon and Farhadi 2018).

    boxes [..., 4] in pixels; cells [..., 2] column and row of the cell that holds the centre; priors [..., 2] width and
    height in pixels → [..., 4]. YOLOv2 and v3 predict the offsets through a sigmoid: give these to its cross-entropy.
    """
    box = to_centre(boxes)
    return torch.cat((box[..., :2] / stride - cells, (box[..., 2:] / priors).log()), -1)


def decode_cell(raw: Tensor, cells: Tensor, stride: float, priors: Tensor) -> Tensor:
    """YOLOv3's boxes in pixels: bx = σ(tx) + cx, by = σ(ty) + cy in strides, bw = pw e^tw, bh = ph e^th.

    raw [..., 4] as the network gives them; cells and priors as in `encode_cell` → x1, y1, x2, y2 [..., 4].
    """
    centre = (raw[..., :2].sigmoid() + cells) * stride
    return to_corners(torch.cat((centre, priors * raw[..., 2:].clamp_max(LARGEST).exp()), -1))


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """Boxes within an image of `height` × `width` pixels."""
    limits = boxes.new_tensor((width, height, width, height))
    return torch.minimum(boxes.clamp_min(0), limits)
