"""Running the command line inside the test's own process, in a folder with pictures and a run."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal import experiment
from foveal.cli import main


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def foveal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """`foveal("show", "vgg16")` as a shell would run it."""

    def run(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["foveal", *map(str, words)])
        capfd.readouterr()
        try:
            main()
            status = 0
        except SystemExit as leave:
            status = int(leave.code or 0)
        out, err = capfd.readouterr()
        return Result(status, out, err)

    return run


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Path]:
    """`pictures(folder, classes, count)` makes class folders with small grey PNGs, no two alike."""
    return draw


def draw(root: Path, classes: Sequence[str] = ("cat", "dog", "owl"), count: int = 8) -> Path:
    generator = np.random.default_rng(len(classes))
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(generator.integers(0, 256, (32, 32), dtype=np.uint8)).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    draw(place / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        experiment.train("lenet5", data="photos", length=1, batch_size=4, device="cpu", out="run")
    return place


@pytest.fixture
def place(_place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of a test: it holds `photos`, three classes of eight pictures, and `run`, trained on them.

    Whatever a test does to it, nothing there may have changed afterwards: what is refused leaves no trace.
    """
    monkeypatch.chdir(_place)
    before = contents(_place)
    yield _place
    assert contents(_place) == before


@pytest.fixture
def copy(_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as `place`, to be changed."""
    shutil.copytree(_place, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and every folder (as b"")."""
    found = folder.rglob("*")
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in found}


@pytest.fixture
def refused(foveal: Callable[..., Result]) -> Callable[..., Result]:
    """`refused("show vgg15", what, mend)`: exit status 2 and exactly this message, what is wrong and what to do."""

    def run(words: str, what: str, mend: str) -> Result:
        result = foveal(*shlex.split(words))
        assert result.err == f"foveal: {what}\n{mend}\n"
        assert result.status == 2
        assert "Traceback" not in result.out
        return result

    return run
