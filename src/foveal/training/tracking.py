"""The evaluations as TensorBoard events, for those who have the `track` extra installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Tracker:
    """Writes the figures of each evaluation to RUN/tensorboard; without TensorBoard it does nothing.

    metrics.csv is the record; this is a copy for viewers, which hides what lies beyond the update resumed from.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._writer: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter  # here, since it is an extra

            self._writer = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def add(self, row: Mapping[str, float | int | None]) -> None:
        """One evaluation: a row of metrics.csv."""
        if self._writer is None:
            return
        for name, value in row.items():
            if name != "step" and value is not None:
                self._writer.add_scalar(name, value, row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
