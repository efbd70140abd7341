"""Gaussian filtering in many dimensions on the permutohedral lattice, in time linear in the number of points.

A. Adams, J. Baek, M. Davis, «Fast high-dimensional filtering using the permutohedral lattice», Eurographics 2010.

Space is cut into equal simplices. A point gives its value to the d + 1 corners of its simplex (splat), corners give
each other theirs along each of the d + 1 axes with weights 1/4, 1/2, 1/4 (blur), and points take theirs back (slice).
Here the corners that are used are found for all points at once: each gets a whole number for a key, keys are sorted,
and a corner's number is its place among them. Splat, blur and slice are then weighted sums over lists of indices.
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
            lowest, rank, weights = _simplices(features.detach().T.contiguous())
            keys, factors = _keys(lowest, rank)
            keys, order = keys.flatten().sort(stable=True)  # entries (point, corner) by corner
            first = F.pad(keys[1:] != keys[:-1], (1, 0), value=True)
            used = keys[first]
            self.corners = len(used)
            numbers = torch.empty_like(order)
            numbers[order] = first.cumsum(0) - 1
            self.at = numbers.view(self.points, self.dims + 1)  # [P, d + 1], the corners of each point
            self.weights = weights
            self.givers = order // (self.dims + 1)
            self.given = self.weights.flatten()[order]
            self.starts = first.nonzero().flatten()
            self.blurred = _blurred(used, factors, self.dims)

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
        shares = values.new_tensor([1, 0.5, 0.5]).expand(len(x), 3).contiguous()
        for corners in self.blurred.flip(0) if transposed else self.blurred:
            x = F.embedding_bag(corners, x, mode="sum", per_sample_weights=shares)
        taken = F.embedding_bag(self.at, x, mode="sum", per_sample_weights=self.weights.to(values.dtype))
        return taken.mul_(_scale(self.dims))


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


def _simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of features [d, P] each point's simplex (section 3.1 of the paper): its corner of remainder 0, int64 [d + 1, P],
    the rank of each coordinate's difference from it, the largest first, int64 [d + 1, P], and the barycentric weights
    of its corners, [P, d + 1]."""
    dims = len(features)
    # Into the plane Σx = 0 of d + 1 dimensions, scaled so that the blur has the standard deviation 1.
    step = torch.arange(1, dims + 1, device=features.device, dtype=features.dtype)[:, None]
    scaled = features * (math.sqrt(2 / 3) * (dims + 1) / (step * (step + 1)).sqrt())
    tail = F.pad(scaled.flip(0).cumsum(0).flip(0), (0, 0, 0, 1))  # Σ of the features from i on
    lifted = tail - F.pad(scaled * step, (0, 0, 1, 0))  # [d + 1, P]
    nearest = (lifted / (dims + 1)).round()
    apart = lifted - nearest * (dims + 1)
    rank = torch.zeros_like(lifted, dtype=torch.long)
    for i in range(dims):  # of two equal differences the first counts as larger
        for j in range(i + 1, dims + 1):
            less = apart[i] < apart[j]
            rank[i] += less
            rank[j] += ~less
    rank += nearest.sum(0).round().long()
    turn = (rank < 0).long() - (rank > dims).long()
    up = (nearest.long() + turn) * (dims + 1)
    rank += turn * (dims + 1)
    # Barycentric weights from the sorted differences.
    offset = torch.empty_like(lifted).scatter_(0, rank, (lifted - up) / (dims + 1))  # by rank, descending
    falling = offset.flip(0)  # weight k is the drop at the k-th smallest
    weights = falling.diff(dim=0, prepend=falling[:1])
    weights[0] = 1 + falling[0] - falling[-1]
    return up, rank, weights.T.contiguous()


def _keys(lowest: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """One whole number for each corner of each point, [P, d + 1], and the factors of each coordinate in it.

    Corner k adds k to the coordinates of the one of remainder 0, or k - (d + 1) where the rank is among the k last. The
    last coordinate follows from the sum 0.
    """
    dims = len(lowest) - 1
    seen = lowest[:-1]
    low, high = seen.amin(1) - 2 * dims - 1, seen.amax(1) + 2 * dims + 1  # corners, and room for their neighbours
    spans = high - low + 1
    room = math.prod(int(n) for n in spans)
    if room >= 2**63:
        raise ValueError(f"features lie too far apart: {room:.2g} cells of the lattice; divide them by their deviation")
    factors = F.pad(spans.flip(0).cumprod(0)[:-1], (1, 0), value=1).flip(0)
    begun = ((seen - low[:, None]) * factors[:, None]).sum(0)  # [P]
    by_rank = torch.zeros_like(lowest).scatter_(0, rank, F.pad(factors, (0, 1))[:, None].expand_as(lowest))
    back = F.pad(by_rank.flip(0).cumsum(0)[:-1], (0, 0, 1, 0))  # [d + 1, P], factors of the k last
    k = torch.arange(dims + 1, device=lowest.device)[:, None]
    return (begun + k * factors.sum() - (dims + 1) * back).T.contiguous(), factors


def _blurred(used: Tensor, factors: Tensor, dims: int) -> Tensor:
    """Each corner and its two neighbours along each axis, int64 [d + 1, corners + 1, 3]; `corners` where none is used,
    as for what stands behind the last corner."""
    own = torch.arange(len(used) + 1, device=used.device)
    found = []
    for axis in range(dims + 1):
        step = -torch.ones(dims, dtype=torch.long, device=used.device)
        if axis < dims:
            step[axis] = dims
        shift = (step * factors).sum()
        columns = [own]
        for key in (used - shift, used + shift):
            place = torch.searchsorted(used, key).clamp_(max=len(used) - 1)
            columns.append(F.pad(torch.where(used[place] == key, place, len(used)), (0, 1), value=len(used)))
        found.append(torch.stack(columns, 1))
    return torch.stack(found)
