"""Detectors that look at every window or place, from the command line: trained on blood cells, and drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from foveal.data.formats import voc
from foveal.data.open import open_data


@pytest.mark.filterwarnings("ignore:.*has no area")
@pytest.mark.parametrize("recipe", ["overfeat_bccd_fast", "fcn_detector_bccd_fast"])
def test_train_and_draw(
    foveal: Callable[..., Any], tmp_path: Path, recipe: str, real_data: Callable[[str], Path]
) -> None:
    cells = real_data("bccd")
    sets = {split: open_data(cells, split, task="detect") for split in ("train", "val", "test")}
    voc.write({split: images.select(torch.arange(2)) for split, images in sets.items()}, tmp_path / "cells")
    run = tmp_path / "run"
    trained = foveal("train", recipe, f"data={tmp_path / 'cells'}", "--quick", "device=cpu", "--out", run)
    assert trained.status == 0, trained.err
    assert (run / "report.html").is_file() and "ap50" in json.loads((run / "evaluation.json").read_text())["metrics"]
    pictures = tmp_path / "cells" / "JPEGImages"
    seen = foveal("predict", run, pictures, "--score", "0.0", "--draw", tmp_path / "drawn", "--json")
    assert seen.status == 0, seen.err
    found = json.loads(seen.out)
    assert len(found) == len(list((tmp_path / "drawn").iterdir())) == 6
    assert all(0 <= box["score"] <= 1 for one in found for box in one["boxes"])


def test_the_localiser_asks_for_a_classifier(foveal: Callable[..., Any], tmp_path: Path) -> None:
    voc.example(tmp_path / "tiles")
    small = ("input=3,96,96", "prepare=letterbox(96, 96)", "options.trunk=5-2Conv4 → FC8", "options.side=41")
    hidden = ("options.hidden=[8,8]", "options.scales=[1.0,0.6]")
    recipe = "overfeat_localisation_imagenet"
    said = foveal("train", recipe, f"data={tmp_path / 'tiles'}", *small, *hidden, "--out", tmp_path / "run")
    assert said.status == 2 and "weights=" in said.err and len(said.err.splitlines()) <= 2, said.err
    assert not (tmp_path / "run").exists()


def test_a_classifiers_run_becomes_a_localiser(foveal: Callable[..., Any], tmp_path: Path) -> None:
    """Both stages: a classifier of windows, then the regressor on top of it, which alone learns."""
    voc.example(tmp_path / "tiles")
    trunk = "5-2Conv8 (ReLU) → 2-2MaxPool → 3-1Conv12 (ReLU) → 2-2MaxPool → FC16 (ReLU)"
    window = ("options.input=[3,27,27]", "input=3,27,27", "prepare=resize_exact(27, 27)", "augment=", "test=")
    chain = ("train", "chain", "data=digits", f"options.text={trunk} → FC10", *window, "device=cpu")
    first = foveal(*chain, "--quick", "--out", tmp_path / "classifier")
    assert first.status == 0, first.err
    image = ("input=3,64,96", "prepare=resize_exact(64, 96)", "augment=flip", "test=", "batch_size=2", "device=cpu")
    small = (f"options.trunk={trunk}", "options.side=27", "options.scales=[1.0,0.6]", "options.hidden=[16,8]")
    began = (f"weights={tmp_path / 'classifier'}", "partial=true", "freeze=classifier", "ema=0", "holdout=0")
    second = ("train", "overfeat_localiser", f"data={tmp_path / 'tiles'}", *image, *small, *began)
    result = foveal(*second, "--quick", "--out", tmp_path / "run")
    assert result.status == 0, result.err
    before, after = (load_file(tmp_path / run / "last" / "weights.safetensors") for run in ("classifier", "run"))
    assert torch.equal(before["conv1.weight"], after["backbone.conv1.weight"])
    assert torch.equal(before["fc3.weight"], after["classifier.fc3.weight"])
    assert after["regressor.fc3.bias"].tolist() != [-1, -1, 1, 1]
    measured = foveal("evaluate", tmp_path / "run", "--protocol", "localisation", "--json")
    assert measured.status == 0 and 0 <= json.loads(measured.out)["metrics"]["localisation_error"] <= 100
