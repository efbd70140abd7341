"""Two trainings that are started together do not share a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_networks import recipe

from foveal.errors import FovealError
from foveal.training import claim
from foveal.training.claim import claimed, held
from foveal.training.console import Console
from foveal.training.distributed import Group
from foveal.training.train import resume, train


@pytest.fixture(autouse=True)
def _impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claim, "_PATIENCE", 0.0)


def test_each_gets_a_folder_of_its_own() -> None:
    with claimed(None, "net", Group()) as one, claimed(None, "net", Group()) as other:
        assert (one, other) == (Path("runs/net-1"), Path("runs/net-2"))
        (one / "recipe.json").touch()
    assert [path.name for path in Path("runs").iterdir()] == ["net-1"]


def test_a_start_that_fails_leaves_nothing() -> None:
    for out in (None, "deep/er"):
        with pytest.raises(FovealError, match="there is no such file or folder"):
            train(recipe(data="nowhere"), out=out, console=Console(silent=True))
    assert not list(Path().iterdir())


def test_a_folder_in_use_is_refused_and_free_afterwards() -> None:
    short, quiet = recipe(length=1), Console(silent=True)
    run = train(short.with_settings(time_budget=1e-5), out="run", console=quiet)
    with held(run.path, Group()):
        for start in (lambda: resume(run, console=quiet), lambda: train(short, out="run", console=quiet)):
            with pytest.raises(FovealError, match="another process trains in run"):
                start()
    assert resume(run, console=quiet, time_budget=0).finished
