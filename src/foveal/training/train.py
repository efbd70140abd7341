"""Training as a verb: a recipe or a run's folder in, a run out."""

from __future__ import annotations

import json
import os
import platform
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from foveal.errors import FovealError
from foveal.training import mean_image, whitening
from foveal.training.checkpoint import Checkpoint, replace_file
from foveal.training.claim import LOCK, claimed, held
from foveal.training.console import Console
from foveal.training.detector import PROPOSALS
from foveal.training.device import is_out_of_memory
from foveal.training.distributed import Group, processes
from foveal.training.inputs import check_same, open_inputs
from foveal.training.job import Job
from foveal.training.recipe import Recipe
from foveal.training.run import Run

# May change on resume: on the same kind of device no result depends on them, on another they agree to rounding.
_FREE = ("workers", "cache", "device", "data", "time_budget", "strict")
_LISTED = 10  # unreadable images that the log names
_FIRST = ("data.json", "environment.json", "recipe.json", mean_image.FILE, whitening.FILE)
_EARLY = {*_FIRST, *(f".{name}.new" for name in _FIRST), LOCK, PROPOSALS} - {"recipe.json"}


def train(
    recipe: Recipe | str | Path, /, *, out: str | Path | None = None, console: Console | None = None, **settings: Any
) -> Run:
    """Train by a recipe, or resume a run's folder, and return the run. Called by every process under torchrun.

    settings: fields of the recipe to change. out: the run's folder, by default runs/NAME-N with the first free N; one
    that holds an unfinished run of the same recipe is resumed. console: where progress is shown.

    The same recipe and seed give the same bits on a CPU, however often the run was interrupted and resumed. Asked to
    stop (Ctrl-C, SIGTERM), the update is finished and saved, and the run that is returned has `interrupted` set.
    Raises FovealError for what the user can mend.
    """
    if not isinstance(recipe, Recipe):
        if out is not None:
            raise FovealError(f"out={out} cannot be given when the run {recipe} is resumed", "leave out= away")
        return resume(recipe, console=console, **settings)
    wanted = recipe.with_settings(**settings) if settings else recipe
    with processes() as group, claimed(out, wanted.name, group) as folder:
        console = console or Console(silent=not group.first)
        if group.tell((folder / "recipe.json").exists()):  # the first process decides, before it writes any
            changed = {key: getattr(wanted, key) for key in _FREE}
            return _resume(folder, changed, group, console, wanted)
        if group.first and {file.name for file in folder.iterdir()} - _EARLY:
            raise FovealError(f"out={folder} is not empty and not a run", "name a new folder")
        return _train(wanted, folder, group, console, fresh=True)


def resume(run: Run | str | Path, /, *, console: Console | None = None, **settings: Any) -> Run:
    """Go on with a run from its last checkpoint, exactly; one that is finished is returned as it is.

    Of the settings, only these may change: workers, cache, data (the same images at another place), time_budget,
    strict, on which no result depends, and device, with which results agree to rounding.
    """
    folder = run.path if isinstance(run, Run) else Run(run).path
    with processes() as group, held(folder, group):
        return _resume(folder, settings, group, console or Console(silent=not group.first))


def _resume(
    folder: Path, settings: Mapping[str, Any], group: Group, console: Console, wanted: Recipe | None = None
) -> Run:
    run = Run(folder)
    if wanted is not None:
        _check_same_recipe(run, wanted)
    recipe = run.recipe.with_settings(**settings)
    for key in settings:
        if key not in _FREE and getattr(recipe, key) != getattr(run.recipe, key):
            raise FovealError(
                f"{key} was {getattr(run.recipe, key)!r} when {folder} began and cannot change",
                f"start a new run; on resume only {', '.join(_FREE)} may change",
            )
    if run.finished:
        console.line(f"{folder} is finished: {run.step} updates")
        return run
    return _train(recipe, folder, group, console, fresh=False)


def _check_same_recipe(run: Run, wanted: Recipe) -> None:
    mine, theirs = wanted.model_dump(), run.recipe.model_dump()
    differing = [key for key in mine if key not in _FREE and mine[key] != theirs[key]]
    if differing:
        listed = "; ".join(f"{key}={theirs[key]!r} there, {mine[key]!r} here" for key in differing[:4])
        more = f"; and {len(differing) - 4} more" if len(differing) > 4 else ""
        raise FovealError(
            f"{run.path} holds a run of another recipe: {listed}{more}",
            f"choose another out=, or go on with that run: foveal train {run.path}",
        )


def _train(recipe: Recipe, folder: Path, group: Group, console: Console, *, fresh: bool) -> Run:
    with torch.random.fork_rng(devices=[]), _signals() as signals:
        with console.counting("images") as progress:
            inputs = open_inputs(recipe, progress=progress)
        summary = inputs.summary(recipe.data)
        if not fresh:
            _check_data(recipe, summary, Run(folder), group)
        job = Job(recipe, folder, inputs, group, console)
        try:
            found = None if fresh else job.found()
            matching = "" if found else job.load_initial_weights()  # a bad file leaves no folder behind
            if fresh and group.first:
                _create_folder(job, summary)
            group.tell(None)  # the folder is there
            _begin(job, found, matching)
            return _go(job, signals)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise _out_of_memory(job) from error
        finally:
            console.close()
            job.close()


def _check_data(recipe: Recipe, summary: Mapping[str, Any], run: Run, group: Group) -> None:
    """The data must be what the run began with; where they lie now is written down, for evaluation and report."""
    check_same(summary, run.data)
    if recipe.data != run.recipe.data and group.first:
        moved = run.recipe.with_settings(data=recipe.data)
        replace_file(run.path / "data.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())
        replace_file(run.path / "recipe.json", moved.model_dump_json(indent=1).encode())


def _begin(job: Job, found: Checkpoint | None, matching: str) -> None:
    """The network with its weights on the device, and the first lines of the log."""
    if found is None:
        job.cut_records(-1)
    if matching:
        job.log(matching)
    job.place()
    if found is not None:
        job.restore(found)
        job.console.line(f"{job.folder}: resumed at update {job.position.step} of {job.total}")
        _tell_placement(job)
    else:
        parameters = sum(p.numel() for p in job.model.parameters())
        job.log(f"{job.recipe.name}: {job.recipe.data}, {job.inputs.describe()}")
        for name, reason in job.inputs.skipped[:_LISTED]:
            job.log(f"skipped {name}: {reason}")
        if len(job.inputs.skipped) > _LISTED:
            job.log(f"and {len(job.inputs.skipped) - _LISTED} more, all in data.json")
        job.log(f"{job.recipe.model}: {parameters:,} parameters, {job.facts.macs:,} multiply-adds an image")
        if job.plan.said:
            job.log(job.plan.said)
        job.log(f"on {job.placement.describe()}")
        job.log(f"{job.total} updates of {job.loader.batch_size} images, {job.loader.per_epoch} an epoch")
    job.console.line(job.loader.describe())


def _tell_placement(job: Job) -> None:
    """Where a resumed run computes, and that its numbers will differ if that is not what it began with."""
    now = job.placement.describe()
    job.console.line(f"on {now}")
    began = str(Run(job.folder).environment.get("placement", ""))
    if began.partition(": ")[0] != now.partition(": ")[0]:
        job.console.line(
            f"warning: the run began on {began}: from here on it agrees to rounding only with one that stayed there"
        )


def _out_of_memory(job: Job) -> FovealError:
    size, parts = job.recipe.batch_size, job.recipe.accumulate
    more = next((n for n in range(2 * parts, size + 1) if size % n == 0), None)
    return FovealError(
        f"{job.placement.device} ran out of memory on batches of {size // parts}",
        f"set accumulate={more}: the same update in smaller parts, which take less memory"
        if more
        else "choose a smaller batch_size, network or input",
    )


def _go(job: Job, signals: _Signals) -> Run:
    """Consume the updates: evaluate, save, and stop for a reason."""
    recipe, deadline = job.recipe, time.monotonic() + 60 * job.recipe.time_budget
    job.console.start(recipe.name, job.position.step, job.total)
    for update in job.steps():
        due = job.evaluation_due()
        if due:
            job.evaluate(update.lr)
        if update.step == job.total:
            job.position.finished = "length"
        stop = bool(job.position.finished)
        if due or job.group.world == 1 or update.step % recipe.log_every == 0:  # processes agree now and then
            late = bool(recipe.time_budget) and time.monotonic() >= deadline
            stop = job.group.any(stop or bool(signals.number) or late)
        if due or stop or (recipe.save_every and update.step % recipe.save_every == 0):
            job.save()
        if stop:
            break
    return _end(job, signals)


def _end(job: Job, signals: _Signals) -> Run:
    job.group.tell(None)  # the last checkpoint is written
    if job.tracker:
        job.tracker.close()
    job.console.close()
    run = Run(job.folder)
    run.interrupted = not job.position.finished and job.group.any(bool(signals.number))  # somewhere, for all
    why = "interrupted" if run.interrupted else "time budget"
    job.note(job.position.finished or why)
    if job.position.finished == "patience":
        best, since = job.position.best.step, job.position.best.since
        job.console.line(f"stopped: no progress in {since} evaluations; the best was at update {best}")
    elif not job.position.finished:
        why += "" if run.interrupted else " used up"
        job.console.line(f"{why} at update {job.position.step}; resume with: foveal train {job.folder}")
    return run


def _create_folder(job: Job, summary: Mapping[str, Any]) -> None:
    """The run's first files; recipe.json is the last, since it makes the folder a run."""
    program = Path(sys.argv[0]).name
    environment = {
        "command": shlex.join(["foveal" if program == "__main__.py" else program, *sys.argv[1:]]),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": job.group.world,
        "placement": job.placement.describe(),
        "loader": job.loader.describe(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    if job.placement.mean_image is not None:
        mean_image.write(job.folder, job.placement.mean_image)
    if job.placement.whitening is not None:
        whitening.write(job.folder, job.placement.whitening)
    replace_file(job.folder / "data.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())
    replace_file(job.folder / "environment.json", json.dumps(environment, indent=1).encode())
    replace_file(job.folder / "recipe.json", job.recipe.model_dump_json(indent=1).encode())


class _Signals:
    """The number of the signal that asked to stop, 0 before. A second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.number = 0

    def take(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def _signals() -> Iterator[_Signals]:
    """Take Ctrl-C and SIGTERM as a wish to finish the update; outside the main thread they are left as they are."""
    signals = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, signals.take)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
