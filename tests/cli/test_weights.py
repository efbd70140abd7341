"""--weights and --partial wherever a network is used, and options that would go unheard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILE = "run/best/weights.safetensors"


def test_a_file_takes_the_checkpoints_place(foveal: Callable[..., Any], place: Path) -> None:
    assert (place / FILE).is_file()
    usual, given = foveal("predict", "run", "photos"), foveal("predict", "run", "photos", "--weights", FILE)
    assert given.status == 0
    assert given.out == usual.out
    assert f"({FILE})" in foveal("evaluate", "run", "--weights", FILE).out


def test_weights_of_a_network_are_loaded_and_the_table_printed(foveal: Callable[..., Any], copy: Path) -> None:
    found = foveal("show", "lenet5", "num_classes=3", "--weights", "run")
    assert found.status == 0
    assert "tensors" in found.err
    assert foveal("show", "lenet5", "--weights", "run").status == 2
    drawn = foveal("explain", "filters", "lenet5", "--weights", "run", "--partial", "--out", "drawn.png")
    assert drawn.status == 0
    assert foveal("explain", "filters", "run", "--out", "same.png").status == 0
    assert (copy / "drawn.png").read_bytes() == (copy / "same.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "what", "mend"),
    [
        (
            "show run output=linear",
            "run is a run, whose network is as it was trained: no output=linear",
            "leave output=linear away, or name a network instead of the run",
        ),
        (
            "show lenet5 --partial",
            "--partial is about weights, and none are named",
            "add --weights FILE, or leave it away",
        ),
        (
            "train lenet5 data=photos --partial",
            "partial is about weights, and none are named",
            "add weights=FILE, or leave it away",
        ),
        (
            "train resnet18 data=photos weights=imagenet partial=true mean=0.5 std=0.5",
            "the ImageNet weights of resnet18 want images normalised otherwise than this recipe does",
            "add mean=0.485,0.456,0.406 std=0.229,0.224,0.225",
        ),
        (
            f"predict run photos --checkpoint last --weights {FILE}",
            f"--checkpoint last and --weights {FILE} both name weights",
            "leave one away",
        ),
        (
            "show --augment lenet5 data=photos --json",
            "--json is for the table, and --augment draws images",
            "leave --json away",
        ),
    ],
)
def test_what_contradicts_itself(refused: Callable[..., Any], place: Path, words: str, what: str, mend: str) -> None:
    refused(words, what, mend)
