"""Where a study works: its folder, its base recipe and its seeds. Every run is one of `foveal.train`, in a sub-folder.

A study started again in its folder takes the runs that are finished as they are and resumes the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console as Rich

from foveal import experiment
from foveal.errors import FovealError
from foveal.evaluation import Evaluation, evaluate, load_evaluation
from foveal.evaluation.base import Measurement
from foveal.evaluation.masks import load_mask_evaluation
from foveal.recipes import resolve
from foveal.studies._outcome import Spread
from foveal.training.checkpoint import replace_file
from foveal.training.console import Console
from foveal.training.recipe import Recipe
from foveal.training.run import Run

_FILE = "study.json"
_FREE = ("device", "workers", "cache", "strict", "seed")


@dataclass(frozen=True)
class Trial:
    """One finished run, and how good it is on the images held out."""

    run: Run
    evaluation: Measurement


def spread(trials: Sequence[Trial], figure: Callable[[Trial], float]) -> Spread:
    """A figure of each trial, together."""
    return Spread(tuple(figure(trial) for trial in trials))


def accuracy(trial: Trial) -> float:
    """Share of held-out images recognised, in %."""
    return 100 - _of_classes(trial.evaluation).top1_error


def training_accuracy(trial: Trial) -> float:
    """Share of training images, not augmented, that are recognised, in %."""
    return accuracy_on(trial.run, "train")


def accuracy_on(run: Run, split: str, checkpoint: str = "best") -> float:
    """Share of the images of one split that a run recognises, in %."""
    return 100 - _of_classes(evaluate(run, split=split, checkpoint=checkpoint)).top1_error


def curve(trials: Sequence[Trial], column: str) -> tuple[list[float], list[float]]:
    """Updates, and the mean over the trials of a column of metrics.csv at each."""
    tables = [trial.run.metrics() for trial in trials]
    steps = [float(row["step"] or 0) for row in tables[0]]
    return steps, [sum(float(table[i][column] or 0) for table in tables) / len(tables) for i in range(len(steps))]


class Lab:
    """The place of one study. `seeds` runs are trained of everything; `quick` asks for a smoke test."""

    def __init__(
        self,
        study: str,
        base: str | Recipe | None,
        settings: Mapping[str, Any],
        *,
        folder: Path,
        seeds: int,
        quick: bool,
    ) -> None:
        self.study, self.folder, self.quick = study, folder, quick
        self.seeds = range(seeds)
        self._base, self._settings = base, settings
        self._console = Console(rich=Rich(stderr=True, highlight=False, soft_wrap=True))

    @property
    def data(self) -> str | None:
        """The data that the user named."""
        named: str | None = self.given("data", None)
        return named

    def given(self, key: str, default: Any) -> Any:
        """A setting as the user gave it, read by the recipe's schema; `default` where it was not given."""
        if key not in self._settings:
            return default
        least = Recipe(name=self.study, model="chain", data="digits", input=(3, 32, 32), length=1, batch_size=1, lr=1)
        return getattr(least.with_settings(**{key: self._settings[key]}), key)

    def base(self, default: Recipe) -> Recipe:
        """The recipe that the study varies: the user's, else `default`; with the user's settings. Claims the folder.

        Raises FovealError for a recipe of another task than the default's, when the folder holds another study or one
        of another base, and for data on which nothing can be compared.
        """
        if "seed" in self._settings:
            raise FovealError(
                f"seed={self._settings['seed']}: a study counts its seeds", "give their number with --seeds"
            )
        if isinstance(self._base, str):
            recipe = resolve(self._base, quick=self.quick, **self._settings)
        else:
            recipe = (self._base or default).with_settings(**self._settings)
        if recipe.time_budget:
            raise FovealError("time_budget: a study compares whole runs", "leave it away, or set a shorter length")
        if recipe.task != default.task:
            raise FovealError(
                f"{recipe.name} is a recipe to {recipe.task}, and study {self.study} is about recipes to "
                f"{default.task}",
                "name another",
            )
        experiment.compared_on(recipe)
        self._claim(recipe.model_dump(mode="json"))
        return recipe

    def alone(self) -> None:
        """Claim the folder for a study that trains nothing. FovealError when a base or settings are given."""
        given = [*([str(self._base)] if self._base else []), *(f"{key}=…" for key in self._settings)]
        if given:
            raise FovealError(f"study {self.study} trains no network: no {' '.join(given)}", "leave it away")
        self._claim(None)

    def trials(self, label: str, recipe: Recipe) -> list[Trial]:
        """One finished run for each seed, trained now where it is not there yet. `label` names the sub-folders.

        Raises KeyboardInterrupt when somebody asked to stop; the unfinished run is saved.
        """
        return [self.trial(label, recipe, seed) for seed in self.seeds]

    def trial(self, label: str, recipe: Recipe, seed: int) -> Trial:
        """As `trials`, of one seed."""
        recipe = recipe.with_settings(seed=seed)
        name = f"{_path(label)}-seed{seed}"
        folder = self.folder / name
        done = Run(folder) if (folder / "recipe.json").is_file() else None
        if done and done.finished and _lasting(done.recipe) == _lasting(recipe):
            known = _known(done)
            if known:
                return Trial(done, known)
        self._console.line(f"study {self.study}: {name}")
        run, evaluation = experiment.train(recipe, out=folder, console=self._console)
        if run.interrupted or not run.finished:
            raise KeyboardInterrupt
        assert evaluation is not None  # `base` has looked for images to measure on
        return Trial(run, evaluation)

    def _claim(self, base: dict[str, Any] | None) -> None:
        file = self.folder / _FILE
        mine = {"study": self.study, "base": base}
        if file.is_file():
            _check_same(file, mine)
            return
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise FovealError(f"out={self.folder} is not empty and not a study", "name a new folder")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(file, json.dumps(mine, indent=1, ensure_ascii=False).encode())
        except OSError as error:
            reason = error.strerror or str(error)
            raise FovealError(f"cannot write into {self.folder}: {reason}", "choose another out=") from error


def _known(run: Run) -> Measurement | None:
    """What was measured of a finished run."""
    return load_mask_evaluation(run.path) if run.recipe.task == "segment" else load_evaluation(run)


def _of_classes(found: Measurement) -> Evaluation:
    assert isinstance(found, Evaluation)  # `base` has looked at the task
    return found


def _check_same(file: Path, mine: Mapping[str, Any]) -> None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        study, base = found["study"], found["base"] or {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FovealError(f"{file} is damaged", "restore it from a copy, or choose another out=") from error
    if study != mine["study"]:
        raise FovealError(f"{file.parent} holds the study {study}, not {mine['study']}", "choose another out=")
    wanted = mine["base"] or {}
    differing = [key for key in wanted if key not in _FREE and base.get(key) != wanted[key]]
    if differing:
        listed = "; ".join(f"{key}={base.get(key)!r} there, {wanted[key]!r} here" for key in differing[:3])
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise FovealError(f"{file.parent} holds this study of another base: {listed}{more}", "choose another out=")


def _lasting(recipe: Recipe) -> dict[str, Any]:
    """The settings on which results depend."""
    return {key: value for key, value in recipe.model_dump(mode="json").items() if key not in _FREE or key == "seed"}


def _path(label: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", label).strip("_")
