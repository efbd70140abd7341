"""How far a long command has come: a bar with the time left on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

_LINES = 10  # at most, where the output is no terminal


@contextmanager
def counting(what: str, *, lines: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total), on standard error. One step alone shows nothing.

    `lines` tells it where there is no terminal too, in at most ten lines.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield (lambda done, total: _line(what, done, total)) if lines else (lambda done, total: None)
        return
    columns = (TextColumn(what), BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _line(what: str, done: int, total: int) -> None:
    if total > 1 and done * _LINES // total > (done - 1) * _LINES // total:
        typer.echo(f"{done} of {total} {what}", err=True)
