"""Regions of a feature map brought to one size, by maximum (Fast R-CNN) or by samples (Mask R-CNN), over a pyramid too.

The kernels are torchvision's: they run on CPU and GPU, are differentiable and export to ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision import ops

from foveal.boxes.overlap import area


def roi_max_pool(features: Tensor, boxes: Sequence[Tensor], size: tuple[int, int], stride: float) -> Tensor:
    """The maximum of each of `size` (rows, columns) cells of each box: [N, C, h, w] → [boxes, C, *size].

    boxes: for each image [K, 4] in pixels of the input; stride: pixels a place of the map. Borders are rounded to
    places of the map (Girshick, "Fast R-CNN", ICCV 2015, 2.1). The boxes of image 0 come first.
    """
    pooled: Tensor = ops.roi_pool(features, list(boxes), list(size), 1 / stride)
    return pooled


def roi_align(
    features: Tensor,
    boxes: Sequence[Tensor],
    size: tuple[int, int],
    stride: float,
    *,
    samples: int = 2,
    aligned: bool = False,
) -> Tensor:
    """The mean of `samples`² bilinear samples in each cell of each box: [N, C, h, w] → [boxes, C, *size].

    He et al., "Mask R-CNN" (ICCV 2017), section 3: nothing is rounded. `aligned` shifts by half a place, so
    that pixel centres are met; the paper's code and torchvision's detectors do not.
    """
    pooled: Tensor = ops.roi_align(features, list(boxes), list(size), 1 / stride, samples, aligned)
    return pooled


def pyramid_level(boxes: Tensor, low: int = 2, high: int = 5, *, side: float = 224.0, level: int = 4) -> Tensor:
    """The level of a feature pyramid that boxes [K, 4] are pooled from: int64 [K], `low` to `high`.

    k = ⌊k0 + log2(√(w h) / 224)⌋ with k0 = 4 (Lin et al., "Feature pyramid networks", CVPR 2017, equation 1); 1e-6 is
    added before rounding down, as in the code of all, so that a box of exactly 224 pixels is of level 4.
    """
    found = torch.floor(level + torch.log2(area(boxes).sqrt() / side) + 1e-6)
    return found.clamp(low, high).to(torch.int64)


def pyramid_align(
    pyramid: Sequence[Tensor],
    boxes: Sequence[Tensor],
    size: tuple[int, int],
    strides: Sequence[float],
    *,
    samples: int = 2,
    fixed: bool = True,
) -> Tensor:
    """`roi_align` of each box from its own level; pyramid and strides by rising level, from level log2(strides[0]).

    [boxes, C, *size], the boxes of image 0 first. fixed: no shape depends on where the boxes fall, each level pools all
    boxes and only its own are taken, so that the graph can be exported; else each level pools its own ones alone.
    """
    low = round(math.log2(strides[0]))
    levels = pyramid_level(torch.cat(list(boxes)), low, low + len(pyramid) - 1)
    if not fixed:
        return _each_its_own(pyramid, boxes, size, strides, levels=levels - low, samples=samples)
    result = roi_align(pyramid[0], boxes, size, strides[0], samples=samples)
    for place, (features, stride) in enumerate(zip(pyramid[1:], strides[1:], strict=True), low + 1):
        pooled = roi_align(features, boxes, size, stride, samples=samples)
        result = torch.where((levels == place).view(-1, 1, 1, 1), pooled, result)
    return result


def _each_its_own(
    pyramid: Sequence[Tensor],
    boxes: Sequence[Tensor],
    size: tuple[int, int],
    strides: Sequence[float],
    *,
    levels: Tensor,
    samples: int,
) -> Tensor:
    result = pyramid[0].new_zeros(len(levels), pyramid[0].shape[1], *size)
    for place, (features, stride) in enumerate(zip(pyramid, strides, strict=True)):
        mine = levels == place
        own = [box[some] for box, some in zip(boxes, torch.split(mine, [len(box) for box in boxes]), strict=True)]
        pooled = roi_align(features, own, size, stride, samples=samples)
        result.index_copy_(0, mine.nonzero().flatten(), pooled)
    return result
