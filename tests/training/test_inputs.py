"""The images of a run: the same ones at whatever place, and decoded alike wherever they are measured."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_networks import recipe

from foveal.data.convert import convert
from foveal.data.formats import voc, voc_masks
from foveal.errors import FovealError
from foveal.evaluation import evaluate
from foveal.training.console import Console
from foveal.training.inputs import open_inputs
from foveal.training.train import train


def draw(root: Path, side: int = 8, count: int = 8) -> Path:
    """Class folders of grey noise as JPEG files."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(generator.integers(0, 256, (side, side), dtype=np.uint8)).save(root / name / f"{i}.jpg")
    return root


def fingerprint(data: str | Path) -> str:
    """Of the set at a place, as spelt."""
    found: str = open_inputs(recipe(data=os.fspath(data))).summary(os.fspath(data))["fingerprint"]
    return found


@pytest.mark.parametrize("form", ["folder", "csv"])
def test_the_fingerprint_is_of_the_images_not_of_the_path(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "drawn", count=16)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    convert("drawn", "photos", form)
    (tmp_path / "link").symlink_to("photos", target_is_directory=True)
    spellings: list[str | Path] = [
        "./photos",
        "photos/",
        "../" + tmp_path.name + "/photos",
        tmp_path / "photos",
        "~/photos",
        "link",
    ]
    if form == "csv":
        spellings += ["photos/images.csv", "./photos/images.csv"]
    assert {fingerprint(data) for data in spellings} == {fingerprint("photos")}
    monkeypatch.chdir("photos")
    here = fingerprint(".")
    monkeypatch.chdir(tmp_path)
    assert here == fingerprint("photos")
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert fingerprint("moved") == here
    next((tmp_path / "moved").rglob("*.jpg")).write_bytes(b"")
    assert fingerprint("moved") != here


def test_splits_are_those_of_the_task(tmp_path: Path) -> None:
    """A folder of Pascal VOC holds boxes and masks, whose lists differ."""
    voc.example(tmp_path)
    voc_masks.example(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "train.txt").unlink()
    found = open_inputs(recipe(data=str(tmp_path), task="segment", holdout=0))
    assert found.test is not None and len(found.test) == len(voc_masks.open(tmp_path, "test"))
    assert len(found.train) == len(voc_masks.open(tmp_path, "train"))
    with pytest.raises(FovealError, match="no training split"):
        open_inputs(recipe(data=str(tmp_path), task="detect"))


def test_validation_decodes_as_the_final_evaluation_does(tmp_path: Path) -> None:
    """Large JPEG files are decoded at a fraction, which is not the same picture as a whole one made small."""
    data = draw(tmp_path / "photos", side=256, count=16)
    prepared = recipe(data=str(data), prepare=("resize_exact(8, 8)",), cache=False, workers=0, length=1, batch_size=8)
    run = train(prepared, out=tmp_path / "run", console=Console(silent=True))
    shown = run.metrics()[-1]["val_cross_entropy"]
    assert evaluate(run, split="val", checkpoint="last").metrics["cross_entropy"] == pytest.approx(shown, abs=1e-6)
