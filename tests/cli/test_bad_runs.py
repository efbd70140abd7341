"""Runs that were damaged, tampered with or moved, and a disk that is full."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from foveal import experiment

TRAIN = "train lenet5 data=photos length=3 batch_size=4 device=cpu --out new"
Refused = Callable[..., Any]


class Hostile:
    """Makes a folder called `pwned` when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def test_a_checkpoint_that_would_execute_code(refused: Refused, copy: Path) -> None:
    """With or without a manifest that was forged to fit."""
    shutil.rmtree("run/best")
    size = Path("run/last/optimizer.pt").stat().st_size
    torch.save({"optimizer": Hostile()}, "run/last/optimizer.pt")
    now = Path("run/last/optimizer.pt").stat().st_size
    mend = "restore it from a copy, or train again with another out="
    message = f"run/last/optimizer.pt has {now} bytes instead of {size}; run/previous is missing"
    refused("predict run photos", message, mend)
    manifest = json.loads(Path("run/last/manifest.json").read_text())
    data = Path("run/last/optimizer.pt").read_bytes()
    manifest["files"]["optimizer.pt"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    Path("run/last/manifest.json").write_text(json.dumps(manifest))
    message = "run/last/optimizer.pt holds code, which is not executed; run/previous is missing"
    for words in ("predict run photos", "evaluate run", "train run"):
        refused(words, message, mend)
    assert not Path("pwned").exists()


TAMPERED = [
    ('"lenet5"', '"os:mkdir"', "os:mkdir has no option num_classes, so it cannot be made for 3 classes"),
    ('"prepare":["resize_exact(32, 32)"]', '"prepare":["os:mkdir(\'pwned\')"]', "'os:mkdir' is no transform"),
    ('"input":[1,32,32]', '"input":[1,8,8]', "layer 'C3' (TableConv2d) looks through 5x5 and is given 6x2x2"),
    ('"lr":0.05', '"lr":"x"', "run/recipe.json cannot be read: setting lr=x is not a number above 0"),
    ('"lr":0.05', '"rl":0.05', "run/recipe.json cannot be read: setting lr is missing"),
    ('"lr":0.05', '"lr":0.05,"code":1', "run/recipe.json cannot be read: unknown setting 'code'"),
]


@pytest.mark.parametrize(("there", "instead", "what"), TAMPERED)
def test_a_recipe_that_was_edited(there: str, instead: str, what: str, foveal: Callable[..., Any], copy: Path) -> None:
    file = Path("run/recipe.json")
    text = json.dumps(json.loads(file.read_text()), separators=(",", ":"))
    assert there in text
    file.write_text(text.replace(there, instead))
    result = foveal("predict", "run", "photos")
    assert result.status == 2
    assert result.err.splitlines()[0] == f"foveal: {what}"
    assert len(result.err.splitlines()) == 2
    assert not Path("pwned").exists()


DAMAGED = [
    (
        "recipe.json",
        "[]",
        "predict run photos",
        "run/recipe.json cannot be read: the recipe is a JSON list, not an object",
    ),
    ("data.json", "{}", "predict run photos", "run/data.json is damaged"),
    ("data.json", "{}", "train run", "run/data.json is damaged"),
    ("data.json", "{", "report run", "run/data.json is missing or damaged"),
]


@pytest.mark.parametrize("case", DAMAGED)
def test_files_of_a_run_that_are_damaged(case: tuple[str, str, str, str], refused: Refused, copy: Path) -> None:
    file, text, words, what = case
    (copy / "run" / file).write_text(text)
    refused(words, what, "restore it from a copy")


def test_figures_that_are_damaged(refused: Refused, copy: Path) -> None:
    (copy / "run" / "evaluation.json").write_text("{}")
    message = "run/evaluation.json or predictions.npz beside it is damaged or missing"
    refused("report run", message, "measure again: foveal evaluate run")


def test_a_flipped_bit_in_the_only_checkpoint(refused: Refused, copy: Path) -> None:
    file = copy / "run" / "best" / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    refused(
        "predict run photos",
        "run/best/weights.safetensors is damaged: its SHA-256 differs from manifest.json; run/best.before is missing",
        "restore it from a copy, or train again with another out=",
    )


def test_resuming_with_other_data(foveal: Callable[..., Any], refused: Refused, copy: Path) -> None:
    """Other images are refused; the same ones at another place are taken, and found there afterwards."""
    assert foveal(*TRAIN.split(), "time_budget=0.000001").status == 0
    position = Path("new/last/position.json").read_bytes()
    Image.new("L", (32, 32)).save("photos/cat/new.png")
    refused(
        "train new",
        "the data at photos is not what this run began with: counts were {'train': 18, 'val': 3, 'test': 3}, "
        "now {'train': 19, 'val': 3, 'test': 3}",
        "restore the data, or start a new run with another out=",
    )
    Path("photos/cat/new.png").unlink()
    Path("photos").rename("pictures")
    refused(
        "train new",
        "photos: there is no such file or folder",
        "check the path; 'digits' is the set that needs no files",
    )
    assert Path("new/last/position.json").read_bytes() == position
    assert foveal("train", "new", "data=pictures", "time_budget=0").status == 0
    assert json.loads(Path("new/recipe.json").read_text())["data"] == "pictures"
    assert foveal("evaluate", "new").status == 0


FILES = ("last/weights.safetensors", "best/weights.safetensors", "metrics.csv", "steps.csv")
FULL = [*(("fsync", call) for call in (1, 4, 6, 12, 17, 21, 29, 38)), *(("write", call) for call in (1, 4, 7, 9, 11))]


@pytest.fixture(scope="module")
def uninterrupted(_place: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What TRAIN leaves when nothing disturbs it."""
    shutil.copytree(_place / "photos", (folder := tmp_path_factory.mktemp("whole")) / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        experiment.train("lenet5", data="photos", length=3, batch_size=4, device="cpu", out="new")
    return [(folder / "new" / file).read_bytes() for file in FILES]


@pytest.mark.parametrize("fault", FULL)
def test_a_full_disk(
    fault: tuple[str, int],
    foveal: Callable[..., Any],
    copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: list[bytes],
) -> None:
    """Wherever the disk becomes full, the message says it, the last good checkpoint stays, and the run ends as if
    nothing had happened once there is room again."""
    function, call = fault
    calls = 0
    genuine = getattr(os, function)

    def full(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return genuine(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, function, full)
        result = foveal(*TRAIN.split())
    what, mend = result.err.splitlines()
    assert result.status == 2
    assert what.startswith("foveal: new/")
    assert what.endswith(" cannot be written: No space left on device")
    assert mend == (
        "free some space or choose another out=; the last good checkpoint stays, `foveal train RUN` goes on from it"
    )
    if Path("new/last").exists() or Path("new/previous").exists():
        assert foveal("predict", "new", "photos", "--checkpoint", "last").status == 0
    assert foveal(*TRAIN.split()).status == 0
    assert [Path("new", file).read_bytes() for file in FILES] == uninterrupted
