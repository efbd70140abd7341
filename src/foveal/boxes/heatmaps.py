"""Keypoints as places of a map over a box: what a keypoint branch learns, and what its answer says.

K. He, G. Gkioxari, P. Dollár, R. Girshick, «Mask R-CNN», ICCV 2017, section 5: each keypoint is one cell of m x m, and
the map a softmax over all of them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = 1.0  # pixels: narrower boxes are taken for that wide


def cells(keypoints: Tensor, boxes: Tensor, side: int) -> Tensor:
    """The cell, row * side + column, in which each keypoint lies: int64 [K, J], -1 for one that is not given or lies
    outside its box.

    keypoints [K, J, 3] (x, y in pixels, and above 0 where given), boxes [K, 4].
    """
    corner, sides = boxes[:, None, :2], (boxes[:, None, 2:] - boxes[:, None, :2]).clamp_min(1e-6)
    share = (keypoints[..., :2] - corner) / sides
    place = (share * side).floor().long().clamp_max(side - 1)  # the right and lower border belong to the last cell
    there = (keypoints[..., 2] > 0) & ((share >= 0) & (share <= 1)).all(-1)
    return torch.where(there, place[..., 1] * side + place[..., 0], -1)


def peaks(maps: Tensor, boxes: Tensor) -> Tensor:
    """Where maps over boxes are highest: logits float32 [K, J, m, m] and boxes [K, 4] in pixels → [K, J, 3].

    x, y in pixels of the image, found among the pixels of the box, between whose places the map is bicubic; and how
    probable the place is, 0 to 1, by the softmax over the m x m cells.
    """
    found = maps.new_zeros(*maps.shape[:2], 3)
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp_min(_LEAST)
    totals = maps.flatten(2).logsumexp(2)
    for k, (width, height) in enumerate(sides.ceil().long().tolist()):
        fine = F.interpolate(maps[k][None], size=(height, width), mode="bicubic", align_corners=False)[0].flatten(1)
        value, place = fine.max(1)  # [J]
        centre = torch.stack((place % width, place.div(width, rounding_mode="floor")), 1) + 0.5
        found[k, :, :2] = boxes[k, :2] + centre * sides[k] / centre.new_tensor((width, height))
        found[k, :, 2] = (value - totals[k]).exp().clamp_max(1)
    return found
