"""foveal dense: a map of a picture from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from PIL import Image

from foveal.cli.progress import counting


class Result(Protocol):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


def page(file: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)).save(file)
    return file


def test_dense_writes_numbers_and_an_overlay(foveal: Callable[..., Result], place: Path, tmp_path: Path) -> None:
    result = foveal("dense", "run", page(tmp_path / "page.png"), "--stride", 4, "--out", tmp_path / "map.npy", "--json")
    assert result.status == 0, result.err
    said = json.loads(result.out)
    assert said["size"] == [10, 13] and abs(sum(said["shares"].values()) - 1) < 1e-6
    assert np.load(said["file"]).shape == (3, 10, 13)
    result = foveal("dense", "run", tmp_path / "page.png", "--stride", 8, "--out", tmp_path / "map.png")
    assert result.status == 0 and (tmp_path / "map.png").is_file() and "%" in result.out


def test_dense_says_what_is_wrong(foveal: Callable[..., Result], place: Path, tmp_path: Path) -> None:
    result = foveal("dense", "run", tmp_path / "none.png")
    assert result.status == 2 and "none.png" in result.err
    result = foveal("dense", "run", page(tmp_path / "page.png"), "--borders", "mirror")
    assert result.status == 2 and "unknown borders 'mirror'" in result.err


def test_progress_is_a_few_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with counting("tiles") as progress:
        for done in range(1, 101):
            progress(done, 100)
        progress(1, 1)
    assert capsys.readouterr().err.splitlines() == [f"{n}0 of 100 tiles" for n in range(1, 11)]
