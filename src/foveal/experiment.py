"""The main job, from a recipe to a measured run with its report."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal.data.open import data_splits
from foveal.errors import FovealError
from foveal.evaluation import evaluate
from foveal.evaluation.base import Measurement
from foveal.evaluation.splits import held_out
from foveal.recipes import resolve
from foveal.report import write_report
from foveal.tasks import task
from foveal.training.console import Console
from foveal.training.distributed import processes
from foveal.training.recipe import Recipe
from foveal.training.run import Run
from foveal.training.train import resume
from foveal.training.train import train as train_recipe


def train(
    recipe: Recipe | str | Path,
    /,
    *,
    out: str | Path | None = None,
    quick: bool = False,
    console: Console | None = None,
    **settings: Any,
) -> tuple[Run, Measurement | None]:
    """Train a recipe (or go on with a run), evaluate it on its test (else validation) split and write its report.

    Args:
        recipe: a recipe's name, a network's name (the house recipe), a Recipe, or the folder of a run to resume.
        out: the run's folder; by default runs/NAME-N with the first free N.
        quick: shrink the recipe to a smoke test.
        console: where progress is shown.
        settings: fields of Recipe to change, such as data="./photos" or lr=0.05; of a run those on which no result
            depends, such as data= for the same images at another place.

    Returns:
        The run, and its evaluation: None when training was interrupted (the run can be resumed) or when the data has
        neither split.

    Raises:
        FovealError: unknown names or settings, unusable data, a folder that holds another run.
    """
    if _is_run(recipe):
        if quick or out:
            given = "quick" if quick else f"out={out}"
            raise FovealError(f"{recipe} is a run, which goes on as it began: no {given}", f"leave {given} away")
        run = resume(str(recipe), console=console, **settings)
    elif isinstance(recipe, Recipe):
        run = train_recipe(recipe.with_settings(**settings), out=out, console=console)
    else:
        run = train_recipe(resolve(str(recipe), quick=quick, **settings), out=out, console=console)
    return run, _conclude(run)


@dataclass(frozen=True)
class Repetition:
    """Several runs of one recipe that differ in their seed alone, and their errors on `split`, in %.

    The error of other tasks than classification is what their figure lacks of 100 %.

    The last run was `interrupted` when somebody asked to stop; it has no error then. Under torchrun only the first
    process has errors.
    """

    runs: tuple[Run, ...]
    errors: tuple[float, ...]
    split: str = "test"

    @property
    def interrupted(self) -> bool:
        """Whether the repetition ended before its last seed."""
        return any(run.interrupted for run in self.runs)

    def text(self) -> str:
        """Accuracy, or the figure of the task, as mean ± standard deviation (n - 1), in per cent."""
        accuracies = [100 - error for error in self.errors]
        spread = f" ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
        each = " ".join(f"{a:.2f}" for a in accuracies)
        name = {"val": "validation"}.get(self.split, self.split)
        label = task(self.runs[0].recipe.task).label
        return f"{name} {label} {statistics.mean(accuracies):.2f}{spread} % over {len(accuracies)} seeds ({each})"


def repeat(recipe: Recipe | str, seeds: Sequence[int], /, *, quick: bool = False, **settings: Any) -> Repetition:
    """Train a recipe once per seed, each run with its own evaluation and report; stops at a run that is interrupted.

    Raises FovealError, before anything is trained, for a run, a `seed` among the settings, and data without images to
    measure on.
    """
    if "seed" in settings:
        raise FovealError(
            f"seed={settings['seed']} cannot be given with several seeds", f"leave it away: the seeds are {list(seeds)}"
        )
    if _is_run(recipe):
        raise FovealError(f"{recipe} is a run, which has its seed", "name a recipe or a network for several seeds")
    if isinstance(recipe, Recipe):
        resolved = recipe.with_settings(**settings)
    else:
        resolved = resolve(recipe, quick=quick, **settings)
    split = compared_on(resolved)
    runs: list[Run] = []
    errors: list[float] = []
    with processes():  # one group for all runs: it can be joined only once
        for seed in seeds:
            run, evaluation = train(resolved.with_settings(seed=seed))
            runs.append(run)
            if run.interrupted:
                break
            if evaluation is not None:
                errors.append(task(resolved.task).rank(evaluation.metrics)[0])
    return Repetition(tuple(runs), tuple(errors), split)


def compared_on(recipe: Recipe) -> str:
    """The split on which several runs of a recipe are compared. FovealError when its data has none to spare."""
    splits = data_splits(recipe.data, recipe.task)
    split = "test" if "test" in splits else "val"
    if split not in splits and not recipe.holdout:
        raise FovealError(
            f"{recipe.data} has neither a test nor a validation split, so runs cannot be compared",
            "add one, or set holdout=0.1",
        )
    return split


def _is_run(recipe: Recipe | str | Path) -> bool:
    return isinstance(recipe, str | Path) and (Path(recipe) / "recipe.json").is_file()


def _conclude(run: Run) -> Measurement | None:
    if run.interrupted or not run.is_main_process:
        return None
    split = held_out(run)
    evaluation = evaluate(run, split=split) if split in run.data["counts"] else None
    write_report(run)
    return evaluation
