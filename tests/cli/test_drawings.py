"""foveal show: the graph and the receptive fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def test_graph(foveal: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "vgg.svg"
    result = foveal("show", "vgg16", "--graph", file, "--input", "3x224x224")
    assert result.status == 0 and str(file) in result.out
    assert ">conv5_3<" in file.read_text(encoding="utf-8")


def test_fields_of_a_network(foveal: Callable[..., Any]) -> None:
    result = foveal("show", "vgg16", "--receptive-field", "--json", "--layer", "conv5_3", "--layer", "pool5")
    said = {row["name"]: row for row in json.loads(result.out)["layers"]}
    assert list(said) == ["conv5_3", "pool5"] and said["conv5_3"]["size"] == [196, 196]
    assert said["pool5"]["stride"] == [32, 32]
    result = foveal("show", "resnet18", "--receptive-field")
    assert next(line for line in result.out.splitlines() if line.startswith("conv5_2.add ")).split()[2:4] == [
        "435",
        "32",
    ]


def test_fields_of_a_run_on_a_picture(foveal: Callable[..., Any], place: Path, tmp_path: Path) -> None:
    picture, file = place / "photos" / "cat" / "0.png", tmp_path / "fields.png"
    result = foveal(
        "show", "run", "--receptive-field", "--image", picture, "--out", file, "--layer", "C1", "--layer", "C3"
    )
    assert result.status == 0, result.err
    assert "of the gradient of C3 at 5x5 lies in" in result.out and Image.open(file).width > 600


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("show lenet5 --layer C1", "--layer C1 is for --receptive-field"),
        ("show lenet5 --out x.png", "--out x.png is for --augment or --receptive-field"),
        ("show lenet5 --receptive-field --image x.png", "--image x.png is to be drawn on"),
        ("show lenet5 --receptive-field --layer C9", "unknown layer 'C9'"),
        ("show lenet5 --graph x.gif", "x.gif: a drawing is written as .svg or .png"),
        ("show lenet5 --graph x.svg --json", "--json is for the table or the fields"),
        ("show lenet5 wide=2 --graph x.svg", "unknown option of lenet5 'wide'"),
        ("show --augment lenet5_digits --graph x.svg", "--graph is for the table"),
    ],
)
def test_what_is_wrong_is_said(words: str, what: str, foveal: Callable[..., Any], place: Path) -> None:
    result = foveal(*words.split())
    assert result.status == 2 and what in result.err and not result.out
