"""One small run on coloured pictures in files, trained once, for all tests of what is done with a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.training.recipe import Recipe
from foveal.training.run import Run
from foveal.training.train import train

COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red & co": (210, 50, 40)}


def _paint(file: Path, name: str, seed: int, size: tuple[int, int] = (40, 30)) -> None:
    """A noisy picture of the class's colour, width by height."""
    noise = np.random.default_rng(seed).integers(-60, 60, (size[1], size[0], 3))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(COLOURS.get(name, (128, 128, 128))) + noise).clip(0, 255).astype(np.uint8)).save(file)


def _photos(root: Path, classes: tuple[str, ...] = tuple(COLOURS), each: int = 8) -> Path:
    """A folder with train and test pictures of some of the colours."""
    for split in ("train", "test"):
        for name in classes:
            for i in range(each):
                _paint(
                    root / split / name / f"{i}.png",
                    name,
                    seed=len(name) * 1000 + i + (500 if split == "test" else 0),
                )
    return root


@pytest.fixture
def paint() -> Callable[..., None]:
    """`paint(file, name, seed)`: a picture of a class; grey for an unknown one."""
    return _paint


@pytest.fixture
def photos() -> Callable[..., Path]:
    """`photos(root, classes)`: a folder with train and test pictures of some classes."""
    return _photos


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run; do not write into it: take `run`."""
    root = tmp_path_factory.mktemp("report")
    recipe = Recipe(
        name="colours",
        model="mlp",
        options={"hidden": (16,), "input": (3, 16, 16)},
        data=str(_photos(root / "photos")),
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
