"""verify: a network trained on some identities tells others apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import foveal
from foveal.errors import FovealError

TEXT = "3-1-1Conv8 (ReLU) → 2-2MaxPool → FC32 (ReLU) → FC10"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    recipe = foveal.Recipe(
        name="known", model="chain", options={"text": TEXT, "input": [1, 8, 8]}, data="digits", input=(1, 8, 8),
        classes=tuple("01234"), length=3, batch_size=32, lr=0.05, evaluate_every=3,
    )  # fmt: skip
    return foveal.train(recipe, out=tmp_path_factory.mktemp("runs") / "known")[0]


@pytest.mark.parametrize("metric", ["cosine", "chi_square"])
def test_new_identities_are_told_apart(metric: str, run: foveal.Run) -> None:
    found = foveal.verify(run, classes=tuple("56789"), metric=metric, folds=5, each=60)
    assert found.identities == tuple("56789") and found.known == ()
    assert found.accuracy.mean > 60 and found.roc.area > 0.65
    assert f"± {found.accuracy.standard_error:.2f}" in found.text()
    assert foveal.verify(run, folds=5, each=60, metric=metric).known == tuple("01234")


def test_the_verb(run: foveal.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from foveal.cli.app import app

    words = ["verify", str(run.path), "classes=5,6,7", "--folds", "4", "--each", "20", "--out", str(tmp_path / "v")]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout[done.stdout.index("{") :])["pairs"] == 160
    written = json.loads((tmp_path / "v" / "verification.json").read_text(encoding="utf-8"))
    assert written["folds"] and written["roc"]["true_accepts"][-1] == 1
    assert (tmp_path / "v" / "roc.svg").stat().st_size < 150_000


def test_what_is_refused(run: foveal.Run) -> None:
    with pytest.raises(FovealError, match="cosine"):
        foveal.verify(run, metric="cosin")
    with pytest.raises(FovealError, match="has no val split"):
        foveal.verify(run, split="val")
    with pytest.raises(FovealError, match="eleven"):
        foveal.verify(run, classes=("eleven", "1"))
