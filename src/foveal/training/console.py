"""What a person sees while a run trains: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console as Rich
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_IN_PERCENT = ("_error", "_iu", "_accuracy", "_f1", "ap", "ap50", "ap75")  # ends of figures' names


class Console:
    """Prints a run's lines and, on a terminal, one bar: updates, images per second, loss, best figure, time left.

    `silent` prints nothing (other processes of a distributed run, tests).
    """

    def __init__(self, *, silent: bool = False, rich: Rich | None = None) -> None:
        self.silent = silent
        self._rich = rich or Rich(highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._shown = 0.0

    def line(self, text: str) -> None:
        """One line of text."""
        if not self.silent:
            self._rich.print(text, markup=False)

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int, int], None] | None]:
        """A function of (done, total) that moves a bar called `what` on a terminal; None elsewhere."""
        if self.silent or not self._rich.is_terminal:
            yield None
            return
        columns = (TextColumn(what), BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
        with Progress(*columns, console=self._rich, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def start(self, name: str, step: int, total: int) -> None:
        """Training begins, at update `step` of `total`."""
        if self.silent or not self._rich.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed}/{task.total}  {task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=self._rich,
            transient=True,
        )
        self._task = self._bar.add_task(name, total=total, completed=step, figures="")
        self._bar.start()

    def update(self, step: int, loss: float | None, speed: float, best: str) -> None:
        """Move the bar to update `step`; `loss` where it is known, `speed` in images per second, `best` as text."""
        if self._bar is not None and self._task is not None:
            shown = "" if loss is None else f"  loss {loss:.4f}"
            figures = f"{speed:,.0f} img/s{shown}{f'  best {best}' if best else ''}"
            self._bar.update(self._task, completed=step, figures=figures)

    @property
    def wants_update(self) -> bool:
        """Whether the bar is due: at most five times a second, so that it costs nothing."""
        if self._bar is None or time.monotonic() - self._shown < 0.2:
            return False
        self._shown = time.monotonic()
        return True

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def evaluation_line(row: Mapping[str, float | int | str | None], total: int) -> str:
    """An evaluation in one line, without a clock, for the console and the log."""
    parts = [f"update {row['step']}/{total}", f"epoch {row['epoch']}", f"lr {row['lr']:.3g}"]
    parts.append(f"train loss {row['train_loss']:.4f}")
    for key, value in row.items():
        if value is None or key in ("step", "epoch", "lr", "train_loss", "best"):
            continue
        name = key.replace("_", " ")
        parts.append(f"{name} {value:.2f} %" if key.endswith(_IN_PERCENT) else f"{name} {value:.4f}")
    if row.get("best") is not None:
        parts.append(f"best {row['best']:.2f} %")
    return "  ".join(parts)
