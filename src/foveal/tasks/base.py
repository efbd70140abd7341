"""What training, evaluation and reports ask of every task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Task:
    """One kind of recognition.

    losses(model, images, targets, **options): the loss terms of a batch by name. check(model, output, classes, input):
    raises FovealError for a network that does not answer in the task's form; `output` is the shape of what `forward`
    returns for one image, or None where that is no tensor. protocol: the one that measures it by default. figure: the
    protocol's figure, in %, that says how good a network is; `label`: what 100 % minus the error is called; `falls`
    when less of the figure is better; `tie`: the figure that settles ties, less is better. `reaches_zero`: whether the
    worst of networks has 0 % of what is right.
    """

    name: str
    losses: Callable[..., dict[str, Tensor]]
    check: Callable[[nn.Module, tuple[int, ...] | None, int, tuple[int, int, int]], None]
    protocol: str
    figure: str
    label: str
    falls: bool
    tie: str | None = None
    reaches_zero: bool = True

    def rank(self, figures: Mapping[str, Any]) -> tuple[float, ...]:
        """What a protocol yielded as numbers of which less is better, the first in %: the error, or what is missing."""
        first = figures[self.figure] if self.falls else 100 - figures[self.figure]
        return (first,) if self.tie is None else (first, figures[self.tie])

    def best(self, rank: float) -> float:
        """The figure again from the first number of `rank`."""
        return rank if self.falls else 100 - rank
