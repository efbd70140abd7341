"""Masks over boxes, as detectors give them, brought to the image; and cut out of it, as they learn them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from foveal.boxes.pooling import roi_align


def pasted(masks: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Masks over boxes brought to the image: float32 [K, m, m] and boxes [K, 4] in pixels → [K, height, width].

    Bilinear between the centres of the masks' cells, 0 outside of the boxes.
    """
    y = torch.arange(height, device=boxes.device) + 0.5
    x = torch.arange(width, device=boxes.device) + 0.5
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp_min(1e-6)
    right = 2 * (x - boxes[:, :1]) / sides[:, :1] - 1  # [K, width], -1 … 1 over the box
    down = 2 * (y - boxes[:, 1:2]) / sides[:, 1:] - 1
    grid = torch.stack(
        (right[:, None].expand(-1, height, -1), down[..., None].expand(-1, -1, width)), -1
    )  # [K, height, width, 2]
    return F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0]


def cut_out(masks: Tensor, boxes: Tensor, which: Tensor, side: int) -> Tensor:
    """What boxes hold of the image's masks: bool [K, H, W], boxes [P, 4] and the mask of each, int64 [P] → float32
    [P, side, side], the share of each cell that the mask covers."""
    order = which.argsort(stable=True)
    own = torch.split(boxes[order], torch.bincount(which, minlength=len(masks)).tolist())
    cells = roi_align(masks[:, None].float(), own, (side, side), 1.0, samples=-1)[:, 0]
    return cells[order.argsort()]
