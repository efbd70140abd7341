"""Non-maximum suppression, exact: of boxes that overlap too much only the one of the highest score stays.

The rule is the field's: in order of falling score (of equal scores the earlier first) a box is kept unless a kept one
has an IoU above the threshold with it. On the CPU the keep list is torchvision's to the last index, ties included.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import ops

from foveal.boxes import near
from foveal.errors import FovealError

_FEW = 1024  # up to here torchvision's C++ loop is as fast
_BLOCK = 512
_SCHEMA = "(Tensor boxes, Tensor scores, float threshold, float least) -> Tensor"
_LITTLE = 4  # boxes that a strong one removes on average, up to which there is no crowd


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """The indices that stay, by falling score: boxes [N, 4] (x1, y1, x2, y2) and scores [N] → int64 [M].

    threshold: IoU, 0 to 1; above it a box goes. Boxes without area, or with a side that is no number, stay and remove
    none. On the CPU large sets are compared with their neighbours only, found by a grid, in blocks; on other devices
    torchvision's kernel does it.
    """
    _check(boxes, scores, threshold)
    plain = boxes.detach() if boxes.dtype in (torch.float32, torch.float64) else boxes.detach().float()
    points = scores.detach().to(plain.dtype)
    if plain.device.type != "cpu" or len(plain) <= _FEW or threshold == 1:
        return _kernel(plain, points, threshold)
    order = points.sort(stable=True, descending=True).indices
    strong = _kernel(plain[order[:_BLOCK]], points[order[:_BLOCK]], threshold)
    if len(strong) <= _BLOCK // 16:  # a few crowds, which the kernel's loop is done with at once
        return _kernel(plain, points, threshold)
    return order[torch.from_numpy(_kept(plain[order].numpy(), threshold))]


def batched_nms(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """`nms` among boxes of one label only (class, or level): the indices that stay, by falling score.

    labels [N], int64. Labels are taken in turn: shifting boxes apart by label, the usual short cut, rounds them.
    """
    _check(boxes, scores, threshold)
    stays = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    order = labels.sort(stable=True).indices
    counts = torch.unique(labels, return_counts=True)[1].tolist()
    for members in torch.split(order, counts):
        stays[members[nms(boxes[members], scores[members], threshold)]] = True
    kept = stays.nonzero().flatten()
    return kept[scores[kept].sort(stable=True, descending=True).indices]


def fixed_nms(boxes: Tensor, scores: Tensor, threshold: float, least: float = 0.0) -> Tensor:
    """The same rule in a graph that does not depend on the data, for export: which boxes stay, bool [..., N].

    boxes [..., N, 4] and scores [..., N]; any leading dimensions (images, classes) are sets of their own. Boxes that do
    not score above `least` go and remove none. In ONNX it is NonMaxSuppression.
    """
    _check(boxes.reshape(-1, 4), scores.flatten(), threshold)
    stays: Tensor = _stays(boxes.reshape(-1, *boxes.shape[-2:]), scores.reshape(-1, scores.shape[-1]), threshold, least)
    return stays.view(scores.shape)


@torch.library.custom_op("foveal::stays", mutates_args=(), schema=_SCHEMA)
def _stays(boxes: Tensor, scores: Tensor, threshold: float, least: float) -> Tensor:
    """One step of an exported graph, whatever is found: boxes [G, N, 4] and scores [G, N] → bool [G, N]."""
    stays = torch.zeros_like(scores, dtype=torch.bool)
    for own, points, row in zip(boxes, scores, stays, strict=True):
        above = (points > least).nonzero().flatten()
        row[above[nms(own[above], points[above], threshold)]] = True
    return stays


@_stays.register_fake
def _(boxes: Tensor, scores: Tensor, threshold: float, least: float) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


FIXED = torch.ops.foveal.stays.default
"""The operation of `fixed_nms` in exported graphs, which exporters have to translate."""


def _check(boxes: Tensor, scores: Tensor, threshold: float) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise FovealError(f"boxes {list(boxes.shape)} and scores {list(scores.shape)}", "give [N, 4] and [N]")
    if not 0 <= threshold <= 1:
        raise FovealError(f"an IoU threshold of {threshold}", "it lies between 0 and 1")


def _kept(boxes: NDArray[np.floating], threshold: float) -> NDArray[np.int64]:
    """Positions that stay of boxes sorted by falling score, found among neighbours.

    Block by block, strongest first: in a crowd most boxes have gone before anything is compared with them. As soon as a
    block removes few, all pairs of neighbours that are left are found at once, and decided in rounds.
    """
    limit = _below(threshold, boxes.dtype)
    proper = np.isfinite(near.areas(boxes)) & (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    stays = ~proper
    inside = np.flatnonzero(proper)
    boxes = boxes[inside]
    rest = np.arange(len(boxes))
    grid = near.Grid(boxes, threshold) if len(boxes) else None
    while grid is not None and len(rest):
        block, rest = rest[:_BLOCK], rest[_BLOCK:]
        own = torch.from_numpy(boxes[block])
        strong = block[_kernel(own, torch.arange(len(block), 0, -1, dtype=own.dtype), threshold).numpy()]
        stays[inside[strong]] = True
        before = len(rest)
        alive = np.zeros(len(boxes), dtype=bool)  # in cell order
        alive[grid.places[rest]] = True
        alive[grid.pairs(grid.places[strong], alive, limit)[1]] = False
        rest = rest[alive[grid.places[rest]]]
        if before - len(rest) <= _LITTLE * len(strong):
            first, second = grid.pairs(grid.places[rest], alive, limit)
            gone = _rounds(grid.rank[first], grid.rank[second], len(boxes))
            stays[inside[rest[~gone[rest]]]] = True
            break
    return np.flatnonzero(stays)


def _kernel(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    kept: Tensor = ops.nms(boxes, scores, threshold)
    return kept


def _rounds(first: NDArray[np.int64], second: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Who of `count` boxes goes, when first[n] removes second[n] if it stays itself, and first[n] < second[n].

    In each round the undecided boxes that no undecided one threatens stay, and those they threaten go.
    """
    gone = np.zeros(count, dtype=bool)
    while len(first):
        threatened = np.zeros(count, dtype=bool)
        threatened[second] = True
        gone[second[~threatened[first]]] = True
        still = ~gone[first] & ~gone[second]
        first, second = first[still], second[still]
    return gone


def _below(threshold: float, dtype: np.dtype[np.floating]) -> np.floating:
    """The largest number of a type that is not above the threshold: x > threshold is x > it, compared in that type."""
    value = dtype.type(threshold)
    return value if float(value) <= threshold else np.nextafter(value, dtype.type(-1))
