"""foveal arithmetic: size questions from the command line."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def test_text_json_and_drawings(foveal: Callable[..., Any], tmp_path: Path) -> None:
    result = foveal("arithmetic", "conv", "--input", 7, "--kernel", 3, "--stride", 2)
    assert result.status == 0 and result.out.startswith("(W - F + 2P)/S + 1 = (7 - 3 + 2·0)/2 + 1 = 3\n")
    file = tmp_path / "sizes.png"
    words = ("--input", "32", "--channels", 3, "--kernel", 5, "--padding", 2, "--filters", 10, "--out", file, "--json")
    said = json.loads(foveal("arithmetic", "conv", *words).out)
    assert said["output"] == [10, 32, 32] and said["parameters"] == 760 and said["macs"] == 768_000
    assert Image.open(said["file"]).width > 800
    result = foveal(
        "arithmetic", "transposed", "--input", "2x3", "--kernel", 3, "--stride", 2, "--out", tmp_path / "sizes.svg"
    )
    assert "1x2x3 → 1x5x7" in result.out and (tmp_path / "sizes.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "1x100 → 1x50" in foveal("arithmetic", "pool", "--input", 100, "--dims", 1, "--kernel", 2).out


def test_the_examples_of_its_help_work(
    foveal: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^ *foveal (arithmetic .*)$", foveal("arithmetic", "--help").out, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        assert foveal(*shlex.split(line)).status == 0, line
    assert (tmp_path / "conv.svg").is_file()


def test_what_is_wrong_is_said(foveal: Callable[..., Any], tmp_path: Path) -> None:
    for words, what in (
        ("conv --input 5 --kernel 7", "a window over 7 positions does not fit into 5"),
        ("conv --input 5x --kernel 3", "--input 5x is no size"),
        ("conf --input 5 --kernel 3", "unknown kind of layer 'conf'"),
        (f"conv --input 5 --kernel 3 --out {tmp_path}/a.gif", "a drawing is written as .svg or .png"),
    ):
        result = foveal("arithmetic", *words.split())
        assert result.status == 2 and what in result.err and result.err.count("\n") == 2 and not result.out
