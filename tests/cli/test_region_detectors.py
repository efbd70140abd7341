"""R-CNN and Fast R-CNN from the command line: one command trains all of it, others take the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from foveal.data.formats import voc

SMALL = ("input=3,64,96", "prepare=resize_exact(64, 96)", "batch_size=2", "options.windows=20", "device=cpu")


@pytest.mark.parametrize("recipe", ["rcnn_bccd_fast", "fast_rcnn_bccd_fast"])
def test_train_evaluate_predict(
    foveal: Callable[..., Any], tmp_path: Path, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    voc.example(tmp_path / "tiles")
    trained = foveal("train", recipe, "data=tiles", "--quick", *SMALL, "options.proposals=single", "--out", "run")
    assert trained.status == 0, trained.err
    run = tmp_path / "run"
    assert (run / "report.html").is_file()
    searched = {file.name for file in (run / "proposals").iterdir()}
    assert searched
    before = json.loads((run / "evaluation.json").read_text())
    again = foveal("evaluate", "run", "--json")
    assert again.status == 0, again.err
    assert json.loads(again.out)["metrics"] == before["metrics"]
    assert {file.name for file in (run / "proposals").iterdir()} == searched
    picture = next((tmp_path / "tiles" / "JPEGImages").iterdir())
    seen = foveal("predict", "run", picture, "--score", "0.0", "--json")
    assert seen.status == 0, seen.err
    assert json.loads(seen.out)
    assert {file.name for file in (run / "proposals").iterdir()} == searched  # pictures of others leave nothing
    if recipe.startswith("rcnn"):
        weights = load_file(run / "last" / "weights.safetensors")
        assert weights["fitted"] and weights["weight"].any() and weights["shift"].any()
        assert "machines of" in (run / "log.txt").read_text()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("options.proposals=singel", "did you mean single"),
        ("options.classifier=resnet21", "resnet20"),
        ("options.layer=avgpol", "did you mean avgpool"),
        ("options.size=0", "windows of 0 x 0"),
    ],
)
def test_mistakes_are_said_in_a_line(foveal: Callable[..., Any], tmp_path: Path, setting: str, said: str) -> None:
    voc.example(tmp_path / "tiles")
    result = foveal("train", "rcnn_bccd_fast", f"data={tmp_path / 'tiles'}", *SMALL, setting, "--out", tmp_path / "run")
    assert result.status == 2 and said in result.err and len(result.err.splitlines()) <= 2, result.err
    assert not (tmp_path / "run").exists()
