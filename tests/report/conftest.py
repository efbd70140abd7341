"""One small run on coloured pictures in files, trained once, for all tests of what is done with a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from coloured_pictures import photos

from foveal.training.recipe import Recipe
from foveal.training.run import Run
from foveal.training.train import train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run; do not write into it: take `run`."""
    root = tmp_path_factory.mktemp("report")
    recipe = Recipe(
        name="colours",
        model="mlp",
        options={"hidden": (16,), "input": (3, 16, 16)},
        data=str(photos(root / "photos")),
        input=(3, 16, 16),
        prepare=("resize_exact(16, 16)",),
        holdout=0.25,
        length=3,
        batch_size=6,
        lr=0.01,
        log_every=1,
        workers=0,
    )
    return train(recipe, out=root / "run").path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    """A copy of the run, to be written into. Its pictures are beside the original."""
    return Run(shutil.copytree(trained, tmp_path / "run"))
