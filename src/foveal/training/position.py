"""Where a run stands: everything that the next update depends on besides the weights and the optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foveal.training.schedules import Progress


@dataclass
class Position:
    """Updates done, the losses since the last evaluation, progress on the watched figures, and why training ended.

    Plain numbers throughout: JSON gives back the same floats, so that a resumed run goes on with the same bits.
    """

    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best: Progress = field(default_factory=Progress)  # on the validation split: chooses the best checkpoint
    plateau: Progress = field(default_factory=Progress)  # validation error, else training loss: lowers the rate
    drops: int = 0
    finished: str = ""  # "length", "patience", or "" while there is more to do

    def to_json(self, total: int) -> dict[str, Any]:
        """Plain values, with the run's `total` updates for readers."""
        return {
            "step": self.step,
            "total": total,
            "finished": self.finished,
            "loss_sum": self.loss_sum,
            "loss_count": self.loss_count,
            "best": _plain(self.best),
            "plateau": _plain(self.plateau),
            "drops": self.drops,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Position:
        """What `to_json` gave."""
        return cls(
            step=values["step"],
            loss_sum=values["loss_sum"],
            loss_count=values["loss_count"],
            best=_progress(values["best"]),
            plateau=_progress(values["plateau"]),
            drops=values["drops"],
            finished=values["finished"],
        )


def _plain(progress: Progress) -> dict[str, Any]:
    best = None if progress.best is None else list(progress.best)
    return {"figures": best, "step": progress.step, "since": progress.since}


def _progress(values: Mapping[str, Any]) -> Progress:
    best = None if values["figures"] is None else tuple(values["figures"])
    return Progress(best, values["step"], values["since"])
