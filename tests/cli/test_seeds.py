"""foveal train --seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foveal import experiment
from foveal.training.recipe import Recipe
from foveal.training.run import Run

SMALL = "train lenet5 data=only length=1 batch_size=4 device=cpu --seeds 2"


def test_ctrl_c_ends_all_seeds(foveal: Callable[..., Any], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def interrupted(recipe: Recipe, out: Path | None = None, console: object = None) -> Run:
        asked.append(recipe.seed)
        run = Run("run")
        run.interrupted = len(asked) == 2
        return run

    def conclude(run: Run) -> Any:
        return None

    monkeypatch.setattr(experiment, "train_recipe", interrupted)
    monkeypatch.setattr(experiment, "_conclude", conclude)
    result = foveal("train", "lenet5_digits", "--seeds", "3")
    assert result.status == 130 and asked == [0, 1] and not result.out


def test_seeds_are_compared_on_what_there_is(
    foveal: Callable[..., Any], refused: Callable[..., Any], copy: Path
) -> None:
    Path("only").mkdir()
    Path("photos").rename("only/train")
    refused(
        f"{SMALL} holdout=0",
        "only has neither a test nor a validation split, so runs cannot be compared",
        "add one, or set holdout=0.1",
    )
    refused("train run --seeds 2", "run is a run, which has its seed", "name a recipe or a network for several seeds")
    assert not Path("runs").exists()
    result = foveal(*SMALL.split())
    assert result.status == 0, result.err
    assert "validation accuracy" in result.out and "over 2 seeds" in result.out
    assert sorted(path.name for path in Path("runs").iterdir()) == ["lenet5-1", "lenet5-2"]
