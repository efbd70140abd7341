"""What a task contributes to the report of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from foveal.data.dataset import VisionSet
from foveal.data.open import open_data
from foveal.errors import FovealError
from foveal.evaluation.splits import held_out, open_split
from foveal.report.html import Html
from foveal.training.run import Run

_Set = TypeVar("_Set", bound=VisionSet)


@dataclass(frozen=True)
class Content:
    """The parts of a report that depend on the task.

    headline: the main figure, and remarks to it; None while the run is not measured. figures: others by name. trouble:
    why pictures are missing, or nothing. parts: anchor and title of each of its sections, which `sections` makes for
    pictures of at most so many pixels; `sides` are those to try until the page is small enough.
    """

    headline: Html | None
    figures: Sequence[tuple[str, str]]
    trouble: str
    parts: Sequence[tuple[str, str]]
    sides: tuple[int, ...]
    sections: Callable[[int], Sequence[Html]]


def opened(run: Run, task: str, kind: type[_Set], measured: bool) -> tuple[_Set | None, _Set | None, str]:
    """The run's training images, and the held-out ones of a measured run; or nothing, and why they cannot be had.
    `kind` is of what class the sets of the task are."""
    try:
        train = open_data(run.recipe.data, "train", seed=run.recipe.seed, task=task)
        test = open_split(run, held_out(run)) if measured else None
    except FovealError as error:
        return None, None, error.what
    assert isinstance(train, kind) and isinstance(test, kind | None)
    return train, test, ""
