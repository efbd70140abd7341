"""The moving average of the weights (Polyak and Juditsky 1992; as used since Szegedy et al. 2016)."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class Average:
    """A second copy of a model that follows it: a ← d·a + (1-d)·w after each update, buffers of numbers included.

    d is `decay`, but at most (1 + s)/(10 + s) at update s, so that the first random weights are forgotten. Counters
    (integer buffers) are copied. `Average.model` is in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = deepcopy(model).requires_grad_(False).eval()
        mine, live = self.model.state_dict(), model.state_dict()  # views: they follow what happens in place
        floats = [name for name, value in mine.items() if value.is_floating_point()]
        self._mine = [mine[name] for name in floats]
        self._live = [live[name] for name in floats]
        self._counters = [(mine[name], live[name]) for name in mine if name not in floats]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._mine, self._live, 1 - decay)
        for mine, live in self._counters:
            mine.copy_(live)
