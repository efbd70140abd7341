"""Detectors that look at every window or place, from the command line: trained on blood cells, and drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

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
