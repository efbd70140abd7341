"""What a task contributes to the report of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foveal.report.html import Html


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
