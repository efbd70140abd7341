"""What evaluations of all tasks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one protocol found: numbers by name, and the 95 % bootstrap intervals of its errors, in %.

    A name with a slash, as "exit 2/top1_error", belongs to a part of the protocol; parts have no intervals.
    """

    protocol: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Measurement(ABC):
    """The measured quality of one checkpoint on one split of a run's own or of other data.

    `metrics` holds numbers by name, those of the first protocol; further protocols' come after the protocol's name and
    a slash. `note` says what else there is to know of the images.
    """

    run: str
    model: str
    checkpoint: str
    data: str
    split: str
    classes: tuple[str, ...]
    metrics: Mapping[str, float]
    skipped: tuple[tuple[str, str], ...] = ()  # (file, reason) of unreadable images
    note: str = ""

    @property
    @abstractmethod
    def images(self) -> int:
        """How many images were evaluated."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; null where there was nothing to compute from. Each task adds its own."""
        return {
            "run": self.run,
            "model": self.model,
            "checkpoint": self.checkpoint,
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "note": self.note,
            "metrics": dict(self.metrics),
            "skipped": [{"file": file, "reason": reason} for file, reason in self.skipped],
        }

    @abstractmethod
    def text(self) -> str:
        """The same for the terminal."""
