"""The examples of segmentation run, and show what they say."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foveal.data.formats.masks import write_classes
from foveal.recipes import resolve
from foveal.training.train import train

EXAMPLES = Path(__file__).parents[2] / "examples"


def main(name: str) -> Any:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright rectangles on a dark ground, with noise."""
    root, random = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for folder in ("images", "masks"):
            (root / split / folder).mkdir(parents=True)
        for i in range(4):
            mask = np.zeros((90, 120), np.uint8)
            top, left = random.integers(5, 40, 2)
            mask[top : top + 40, left : left + 60] = 1
            image = np.stack([60 + 100 * mask] * 3, 2) + random.integers(0, 20, (90, 120, 3), dtype=np.uint8)
            Image.fromarray(image.astype(np.uint8)).save(root / split / "images" / f"{i}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{i}.png")
    write_classes(root, ("ground", "block"))
    return root


def test_gridding(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = main("gridding")(data=str(scenes), out=str(tmp_path), length=1, width=4)
    assert min(found["unpool2"], found["unpool1"]) > 10 * found["conv1_2"] > 0
    assert found["dilations 2, 2, 2"] > 3 * found["dilations 1, 2, 3"]
    assert "dilations 1, 2, 3: " in capsys.readouterr().out
    for name in ("unpooling", "dilation"):
        with Image.open(tmp_path / f"gridding_{name}.png") as picture:
            assert picture.width == 888


def test_street_crf(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"input": (3, 32, 32), "prepare": ("resize_exact(32, 32)",), "augment": (), "batch_size": 4, "length": 1}
    train(resolve("unet_camvid_fast", data=str(scenes), **small, options={"width": 2}), out=tmp_path / "run")
    gained = main("street_crf")(run=str(tmp_path / "run"), every=2, iterations=2, out=str(tmp_path / "crf.png"))
    printed = capsys.readouterr().out
    assert "on 2 validation images" in printed and "with the CRF: " in printed
    assert -100 < gained < 100
    with Image.open(tmp_path / "crf.png") as picture:
        assert picture.width == 960
