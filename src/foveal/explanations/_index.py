"""Exact nearest neighbours by Euclidean distance, in blocks, for sets of any size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def nearest(features: Any, queries: Tensor, count: int, block: int = 16_384) -> tuple[Tensor, Tensor]:
    """Of each query, float32 [Q, D], the `count` nearest rows of `features`, float32 [N, D] (a tensor, or an array that
    may be mapped from a file): distances float64 [Q, count] and row numbers int64 [Q, count], equal ones by number.

    A block is compared by one matrix product, whose rounding is bounded by (D + 8) ε (‖q‖² + ‖x‖²) times two; rows that
    may be among the nearest within that bound are compared again in float64. So the result is that of comparing all.
    """
    total, count = len(features), min(count, len(features))
    bound = 2 * (queries.shape[1] + 8) * torch.finfo(torch.float32).eps
    q2 = queries.square().sum(1, keepdim=True)
    limits = torch.full((len(queries), count), torch.inf)
    owners, rows, lowers = [], [], []
    for first in range(0, total, block):
        x = torch.as_tensor(features[first : first + block], dtype=torch.float32)
        norms = q2 + x.square().sum(1)
        apart = norms - 2 * (queries @ x.T)
        limits = torch.cat((limits, apart + bound * norms), 1).topk(count, 1, largest=False).values
        lower = apart - bound * norms
        owner, row = (lower <= limits.amax(1, keepdim=True)).nonzero(as_tuple=True)
        owners.append(owner)
        rows.append(row + first)
        lowers.append(lower[owner, row])
    owner, row, lower = torch.cat(owners), torch.cat(rows), torch.cat(lowers)
    kept = lower <= limits.amax(1)[owner]
    return _compared(features, queries, (owner[kept], row[kept]), count)


def _compared(features: Any, queries: Tensor, pairs: tuple[Tensor, Tensor], count: int) -> tuple[Tensor, Tensor]:
    """The nearest of the pairs (query, row) that are left."""
    distances = torch.empty(len(queries), count, dtype=torch.float64)
    numbers = torch.empty(len(queries), count, dtype=torch.int64)
    for q, query in enumerate(queries.double()):
        own = pairs[1][pairs[0] == q].sort().values
        x = torch.as_tensor(features[own.numpy() if not isinstance(features, Tensor) else own], dtype=torch.float64)
        order = (x - query).norm(dim=1).sort(stable=True)
        distances[q], numbers[q] = order.values[:count], own[order.indices[:count]]
    return distances, numbers
