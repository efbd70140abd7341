"""Learning rates as pure functions of the update's number, so that nothing has to be stored to resume."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foveal.training.recipe import Recipe

_ONECYCLE_RISE = 0.3  # share of the run that the rate rises, when no warm-up is set (torch's OneCycleLR)
_ONECYCLE_START, _ONECYCLE_END = 25.0, 1e4  # first rate = peak / 25, last = first / 10,000


@dataclass
class Schedule:
    """The rate of update s, counted from 0: `schedule(s)`. `unit` is updates per unit of the recipe, `total` in all.

    constant, step (times gamma at each milestone, which counts updates from the start of training as the papers do),
    plateau (times gamma after each `drops`), exponential (gamma per unit after the warm-up), cosine (to 0 at the end;
    Loshchilov and Hutter 2017, one period) and onecycle (Smith and Topin 2018, in the form of torch's OneCycleLR;
    the momentum stays as it is). A warm-up goes before all but onecycle, whose rise it sets: linearly from `warmup_lr`
    to `lr`, or at `warmup_lr` throughout (`warmup_shape="constant"`, as ResNet-110's 400 iterations at 0.01 in He et
    al. 2016, section 4.2, where the authors waited until the training error fell below 80 %).
    """

    recipe: Recipe
    unit: int
    total: int
    drops: int = 0  # how often `plateau` has lowered the rate: set from the evaluations, stored with the position

    def __call__(self, step: int) -> float:
        recipe, rise = self.recipe, self.recipe.warmup * self.unit
        if recipe.schedule == "onecycle":
            return self._onecycle(step, float(rise) if rise else _ONECYCLE_RISE * self.total)
        if step < rise:
            if recipe.warmup_shape == "constant":
                return recipe.warmup_lr
            return recipe.warmup_lr + (recipe.lr - recipe.warmup_lr) * step / rise
        return recipe.lr * self._factor(step, rise)

    def _factor(self, step: int, rise: int) -> float:
        """What the peak rate is multiplied by after the warm-up of `rise` updates."""
        factor = 1.0
        match self.recipe.schedule:
            case "step":
                factor = self.recipe.gamma ** sum(step >= m * self.unit for m in self.recipe.milestones)
            case "plateau":
                factor = self.recipe.gamma**self.drops
            case "exponential":
                factor = float(self.recipe.gamma ** ((step - rise) / self.unit))
            case "cosine":
                factor = (1 + math.cos(math.pi * (step - rise) / max(self.total - rise, 1))) / 2
        return factor

    def _onecycle(self, step: int, rise: float) -> float:
        peak = self.recipe.lr
        first = peak / _ONECYCLE_START
        top = rise - 1
        if step <= top:
            return _between(first, peak, step / top if top > 0 else 1.0)
        fall = self.total - 1 - top
        return _between(peak, first / _ONECYCLE_END, (step - top) / fall if fall > 0 else 1.0)


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` (share 0) to `end` (share 1)."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


@dataclass
class Progress:
    """Whether a sequence of figures, smaller is better, still falls: what patience and plateau ask.

    Equal is no progress. Figures are compared as tuples, so that a second one may settle ties.
    """

    best: tuple[float, ...] | None = None
    step: int = 0  # where the best was
    since: int = 0  # evaluations without progress

    def add(self, step: int, *figures: float) -> bool:
        """Take in one evaluation; True when it is the best so far. A figure that is not a number never is."""
        finite = all(math.isfinite(figure) for figure in figures)
        if finite and (self.best is None or figures < self.best):
            self.best, self.step, self.since = figures, step, 0
            return True
        self.since += 1
        return False
