"""All patches of an image through a network at once: what patches have in common is computed once.

A value of the network is held for all patches together. Along one dimension, a patch's first and last positions may be
its own, because they have seen the padding that the network puts around the patch; those between are the same numbers
as in the neighbouring patches, and lie in one shared map, where Li, Zhao and Wang's d-regularly sparse windows find
them (arXiv 1412.4526). Where nothing is padded all is shared; where the padding has reached everything, each patch goes
by itself. Either way the result is that of patch by patch, to rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Private = tuple[int, int]
"""Positions first … last + 1 of each patch, on their own."""
Want = Private | int
"""What is asked of one dimension: positions of each patch, or the shared map from that position of the patches on."""

OWN_FIRST, SHARED, OWN_LAST = range(3)


@dataclass(frozen=True)
class Axis:
    """One dimension of the grid.

    `count` patches, `step` positions of the shared map apart; in each, `size` positions, `jump` positions of the shared
    map apart, of which the `first` first and the `last` last are the patch's own.
    """

    count: int
    step: int
    size: int
    jump: int = 1
    first: int = 0
    last: int = 0

    @property
    def whole(self) -> bool:
        """Nothing is shared."""
        return self.first + self.last >= self.size

    @property
    def kinds(self) -> list[int]:
        """The parts that exist."""
        if self.whole:
            return [OWN_FIRST]
        return [OWN_FIRST] * (self.first > 0) + [SHARED] + [OWN_LAST] * (self.last > 0)

    def with_own(self, first: int, last: int) -> Axis:
        """The same with other borders; all of it own where they meet."""
        own = first + last >= self.size
        return replace(self, first=self.size if own else first, last=0 if own else last)

    def want(self, kind: int) -> Want:
        """The positions of a part."""
        return ((0, self.first), self.first, (self.size - self.last, self.size))[kind]

    def cut(self, positions: Private) -> list[tuple[int, Private]]:
        """The parts that hold these positions, and which of them."""
        borders = ((0, self.first), (self.first, self.size - self.last), (self.size - self.last, self.size))
        each = [(kind, (max(lo, positions[0]), min(hi, positions[1]))) for kind, (lo, hi) in enumerate(borders)]
        return [(kind, (lo, hi)) for kind, (lo, hi) in each if lo < hi]


@dataclass(frozen=True)
class Patches:
    """One value for all patches: for each combination of parts a tensor [N, *patches, C, *positions].

    In a dimension where a part is shared there is 1 in place of the number of patches.
    """

    axes: tuple[Axis, ...]
    parts: dict[tuple[int, ...], Tensor]

    @classmethod
    def of(cls, images: Tensor, size: Sequence[int], stride: Sequence[int]) -> Patches:
        """All patches of `size` that fit into images [N, C, *grid], `stride` pixels apart."""
        grid = images.shape[2:]
        axes = tuple(
            Axis((n - p) // s + 1, s if n >= p + s else 0, p) for n, p, s in zip(grid, size, stride, strict=True)
        )
        ones = (1,) * len(axes)
        return cls(axes, {(SHARED,) * len(axes): images.view(images.shape[0], *ones, *images.shape[1:])})

    @property
    def dims(self) -> int:
        """Dimensions of the grid."""
        return len(self.axes)

    @property
    def whole(self) -> bool:
        """Nothing is shared in any dimension."""
        return all(axis.whole for axis in self.axes)

    @property
    def shared(self) -> bool:
        """Everything is shared in every dimension."""
        return not any(axis.first or axis.last for axis in self.axes)

    @property
    def kinds(self) -> list[tuple[int, ...]]:
        """The combinations of parts that exist."""
        return list(itertools.product(*(axis.kinds for axis in self.axes)))

    def each(self, function: Callable[[Tensor], Tensor]) -> Patches:
        """The value after a function of [B, C, *positions] that treats all positions alike."""
        return replace(self, parts={kinds: self.apply(function, part) for kinds, part in self.parts.items()})

    def apply(self, function: Callable[[Tensor], Tensor], part: Tensor) -> Tensor:
        """A function of [B, C, *positions] on one part."""
        lead = part.shape[: self.dims + 1]
        result = function(part.reshape(-1, *part.shape[self.dims + 1 :]))
        return result.reshape(*lead, *result.shape[1:])

    def separate(self) -> Tensor:
        """Each patch on its own: [N · patches, C, *size]."""
        return self.take([(0, axis.size) for axis in self.axes]).flatten(0, self.dims)

    def with_own(self, axes: tuple[Axis, ...]) -> Patches:
        """The same value with wider borders."""
        if axes == self.axes:
            return self
        kinds = itertools.product(*(axis.kinds for axis in axes))
        parts = {k: self.take([axis.want(kind) for axis, kind in zip(axes, k, strict=True)]) for k in kinds}
        return Patches(axes, parts)

    def take(self, wants: Sequence[Want]) -> Tensor:
        """What is asked for in each dimension, as a part: [N, *patches, C, *positions]."""
        return self._gather([], wants)

    def _gather(self, chosen: list[tuple[int, Want]], wants: Sequence[Want]) -> Tensor:
        dim = len(chosen)
        if dim == self.dims:
            return self._piece(chosen)
        want = wants[dim]
        pieces = [(SHARED, want)] if isinstance(want, int) else self.axes[dim].cut(want)
        found = [self._gather([*chosen, piece], wants) for piece in pieces]
        return found[0] if len(found) == 1 else torch.cat(found, self.dims + 2 + dim)

    def _piece(self, chosen: list[tuple[int, Want]]) -> Tensor:
        part = self.parts[tuple(kind for kind, _ in chosen)]
        for dim, ((kind, want), axis) in enumerate(zip(chosen, self.axes, strict=True)):
            place = self.dims + 2 + dim
            if isinstance(want, int):
                start = (want - axis.first) * axis.jump
                part = part.narrow(place, start, part.shape[place] - start)
            elif kind == SHARED:
                part = _spread(part, axis, want, place, dim + 1)
            else:
                start = want[0] - (axis.size - axis.last if kind == OWN_LAST else 0)
                part = part.narrow(place, start, want[1] - want[0])
        return part


def _spread(part: Tensor, axis: Axis, positions: Private, place: int, patches: int) -> Tensor:
    """Shared positions, once for each patch: dimension `place` gets the positions, `patches` the patches."""
    start, length = (positions[0] - axis.first) * axis.jump, positions[1] - positions[0]
    if length == 1:  # a view
        part = part.narrow(place, start, (axis.count - 1) * axis.step + 1)
        if axis.step > 1:
            part = part[(slice(None),) * place + (slice(None, None, axis.step),)]
        return part.transpose(place, patches)
    at = torch.arange(axis.count, device=part.device)[:, None] * axis.step
    at = at + start + torch.arange(length, device=part.device) * axis.jump
    part = part.index_select(place, at.flatten())
    shape = (*part.shape[:place], axis.count, length, *part.shape[place + 1 :])
    return part.reshape(shape).movedim(place, patches).squeeze(patches + 1)
