"""How much boxes overlap: IoU, its relatives that learn better, and the share of one box inside another.

Boxes are x1, y1, x2, y2 in pixels, float [..., 4]. All functions broadcast: `iou(a, b)` compares box by box,
`iou(a[:, None], b)` gives the matrix [len(a), len(b)]. Without area nothing overlaps: the result is 0, never NaN.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """Square pixels: [..., 4] → [...]. An inverted box has none."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Square pixels that lie in both."""
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    sides = sides.clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union, 0 to 1 (Everingham et al., "The PASCAL VOC challenge", IJCV 2010, section 4.2)."""
    common = intersection(a, b)
    return _share(common, area(a) + area(b) - common)


def ioa(a: Tensor, b: Tensor) -> Tensor:
    """The share of a's area that lies in b, 0 to 1: what COCO takes for regions of a crowd b."""
    return _share(intersection(a, b), area(a))


def giou(a: Tensor, b: Tensor) -> Tensor:
    """IoU minus the share of the enclosing box that neither covers, -1 to 1 (Rezatofighi et al., CVPR 2019)."""
    common = intersection(a, b)
    union = area(a) + area(b) - common
    hull = area(_enclosing(a, b))
    return _share(common, union) - _share(hull - union, hull)


def diou(a: Tensor, b: Tensor) -> Tensor:
    """IoU minus the squared distance of the centres over the enclosing box's squared diagonal (Zheng et al., AAAI 2020,
    equation 7), -1 to 1."""
    apart = ((a[..., :2] + a[..., 2:]) / 2 - (b[..., :2] + b[..., 2:]) / 2).square().sum(-1)
    hull = _enclosing(a, b)
    return iou(a, b) - _share(apart, (hull[..., 2:] - hull[..., :2]).square().sum(-1))


def ciou(a: Tensor, b: Tensor) -> Tensor:
    """DIoU minus α v, with v = 4/π² (the difference of the angles arctan w/h)² and α = v / (1 - IoU + v).

    Zheng et al., AAAI 2020, equations 8 to 11. α is taken as a constant in the gradient, as in the paper's code.
    """
    overlap = iou(a, b)
    v = 4 / math.pi**2 * (_angle(a) - _angle(b)).square()
    with torch.no_grad():
        alpha = _share(v, 1 - overlap + v)
    return diou(a, b) - alpha * v


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 where there is no whole; its gradient is 0 there too."""
    some = whole > 0
    return torch.where(some, part, 0) / torch.where(some, whole, 1)


def _enclosing(a: Tensor, b: Tensor) -> Tensor:
    return torch.cat((torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])), -1)


def _angle(boxes: Tensor) -> Tensor:
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)
    return torch.atan2(sides[..., 0], sides[..., 1])
