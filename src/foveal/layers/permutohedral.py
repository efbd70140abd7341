"""Gaussian filtering in many dimensions on the permutohedral lattice, in time linear in the number of points.

A. Adams, J. Baek, M. Davis, «Fast high-dimensional filtering using the permutohedral lattice», Eurographics 2010.

Space is cut into equal simplices. A point gives its value to the d + 1 corners of its simplex (splat), corners give
each other theirs along each of the d + 1 axes with weights 1/4, 1/2, 1/4 (blur), and points take theirs back (slice).
Here the corners that are used are found for all points at once: each gets a whole number for a key, keys are sorted,
and a corner's number is its place among them. Splat and slice are then weighted sums over lists of indices, blur is
reading two neighbours.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_NONE = 1e-20  # keeps a point without neighbours from dividing by zero


class Lattice:
    """Σ_j exp(-|f_i - f_j|²/2) v_j, approximately, for points with the features f.

    features: [P, d], in standard deviations of the Gaussian: they are to be divided by it before. d from 1 to 8.
    `filter` is linear in the values and differentiable with respect to them; the features are constants. What it gives
    is a Gaussian up to a factor of about (2π)^(d/2) over the corners' density, which normalisation removes. On the meta
    device nothing is sorted, and `filter` gives the values back: shapes alone.

    Raises ValueError for features of another shape, and for ones so far apart that keys have no room.
    """

    def __init__(self, features: Tensor) -> None:
        if features.dim() != 2 or not 1 <= features.shape[1] <= 8:
            raise ValueError(f"features of shape {tuple(features.shape)}, not [points, 1 … 8]")
        self.points, self.dims = features.shape
        self.meta = features.is_meta
        if self.meta:
            return
        with torch.no_grad():
            corners, weights = _simplices(features.detach())
            keys, table, spans = _keys(corners)
            used, numbers = torch.unique(keys, return_inverse=True)
            self.corners = len(used)
            self.at = numbers.view(self.points, self.dims + 1)  # [P, d + 1], the corners of each point
            self.weights = weights
            order = numbers.argsort(stable=True)  # entries (point, corner) by corner
            self.givers = order // (self.dims + 1)
            self.given = self.weights.flatten()[order]
            starts = torch.bincount(numbers, minlength=self.corners).cumsum(0)
            self.starts = F.pad(starts[:-1], (1, 0))
            self.neighbours = _neighbours(used, table, spans, self.dims)

    @torch.no_grad()
    def normalise(self) -> Lattice:
        """Make the filter's kernel K symmetrically normalised, D^-1/2 K D^-1/2 with D the sums of its rows; itself."""
        if not self.meta:
            ones = self.weights.new_ones(self.points, 1)
            norm = (self._apply(ones) + _NONE).rsqrt()  # [P, 1]
            self.weights = self.weights * norm
            self.given = self.given * norm[self.givers, 0]
        return self

    def filter(self, values: Tensor) -> Tensor:
        """values [P, C] → [P, C]."""
        filtered: Tensor = _Filter.apply(values, self)
        return filtered

    def _apply(self, values: Tensor, *, transposed: bool = False) -> Tensor:
        if self.meta:
            return values.clone()
        sums = F.embedding_bag(
            self.givers, values, self.starts, mode="sum", per_sample_weights=self.given.to(values.dtype)
        )
        # A last row of zeros stands for all corners that no point uses.
        x = torch.cat((sums, sums.new_zeros(1, sums.shape[1])))
        for before, behind in self.neighbours.flip(0) if transposed else self.neighbours:
            blurred = x[before].add_(x[behind]).mul_(0.5).add_(x[:-1])
            x = torch.cat((blurred, x[-1:]))
        taken = F.embedding_bag(self.at, x, mode="sum", per_sample_weights=self.weights.to(values.dtype))
        return taken * _scale(self.dims)


class _Filter(torch.autograd.Function):
    """The lattice's filter; its transpose blurs along the axes in the other order."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lattice: Lattice) -> Tensor:
        ctx.lattice = lattice
        return lattice._apply(values.contiguous())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        lattice: Lattice = ctx.lattice
        return lattice._apply(gradient.contiguous(), transposed=True), None


def _scale(dims: int) -> float:
    """What keeps a constant where all corners are used: splatting, blurring and slicing add to 1 + 2^-d."""
    return 1 / (1 + 2.0**-dims)


def _simplices(features: Tensor) -> tuple[Tensor, Tensor]:
    """The corners of each point's simplex, int64 [P, d + 1, d] (a last coordinate follows from the sum 0), and their
    barycentric weights [P, d + 1] (section 3.1 of the paper)."""
    dims = features.shape[1]
    # Into the plane Σx = 0 of d + 1 dimensions, scaled so that the blur has the standard deviation 1.
    step = torch.arange(1, dims + 1, device=features.device, dtype=features.dtype)
    scaled = features * (math.sqrt(2 / 3) * (dims + 1) / (step * (step + 1)).sqrt())
    tail = F.pad(scaled.flip(1).cumsum(1).flip(1), (0, 1))  # Σ of the features from i on
    lifted = tail - F.pad(scaled * step, (1, 0))  # [P, d + 1]
    # The nearest corner of remainder 0, and the order of the differences.
    up = (lifted / (dims + 1)).round() * (dims + 1)
    rank = (lifted - up).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    excess = (up.sum(1, keepdim=True) / (dims + 1)).round().long()
    rank = rank + excess
    low, high = rank < 0, rank > dims
    up = up + (dims + 1) * (low.to(up.dtype) - high.to(up.dtype))
    rank = rank + (dims + 1) * (low.long() - high.long())
    # Barycentric weights from the sorted differences.
    offset = torch.empty_like(lifted).scatter_(1, rank, (lifted - up) / (dims + 1))  # by rank, descending
    falling = offset.flip(1)  # weight k is the drop at the k-th smallest
    weights = falling - F.pad(falling[:, :-1], (1, 0))
    weights[:, 0] = 1 + falling[:, 0] - falling[:, -1]
    # Corner k adds k, or k - (d + 1) where the rank is among the k last.
    k = torch.arange(dims + 1, device=features.device)
    moved = torch.where(rank[:, None] > dims - k[:, None], k[:, None] - (dims + 1), k[:, None])  # [P, k, d + 1]
    return up.long()[:, None, :dims] + moved[..., :dims], weights


def _keys(corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One whole number for each corner, [P (d + 1)], the lowest coordinates and the factors of each coordinate."""
    flat = corners.flatten(0, 1)
    dims = flat.shape[1]
    low = flat.amin(0) - (dims + 1)  # room for neighbours
    spans = flat.amax(0) + (dims + 1) - low + 1
    room = math.prod(int(n) for n in spans)
    if room >= 2**63:
        raise ValueError(f"features lie too far apart: {room:.2g} cells of the lattice; divide them by their deviation")
    factors = F.pad(spans.flip(0).cumprod(0)[:-1], (1, 0), value=1).flip(0)
    return ((flat - low) * factors).sum(1), low, factors


def _neighbours(used: Tensor, low: Tensor, factors: Tensor, dims: int) -> Tensor:
    """Both neighbours of each corner along each axis, int64 [d + 1, 2, corners]; `corners` where none is used."""
    found = []
    for axis in range(dims + 1):
        step = -torch.ones(dims, dtype=torch.long, device=used.device)
        if axis < dims:
            step[axis] = dims
        shift = (step * factors).sum()
        pair = []
        for key in (used - shift, used + shift):
            place = torch.searchsorted(used, key).clamp_(max=len(used) - 1)
            pair.append(torch.where(used[place] == key, place, len(used)))
        found.append(torch.stack(pair))
    return torch.stack(found)
