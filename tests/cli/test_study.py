"""`foveal study` lists, runs and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_the_list(foveal: Callable[..., Any]) -> None:
    shown = foveal("study")
    assert shown.status == 0 and "relu_tanh" in shown.out
    assert {"chatfield", "polynomial"} <= {row["name"] for row in json.loads(foveal("study", "--json").out)}


def test_a_table_and_json(foveal: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = foveal("study", "polynomial", "degrees=2,9", "--seeds", 2)
    assert shown.status == 0, shown.err
    assert "published: " in shown.out and "chart: studies/polynomial/chart.svg" in shown.out
    rows = json.loads(foveal("study", "polynomial", "degrees=2,9", "--seeds", 2, "--json").out)["rows"]
    assert [row["coefficients"] for row in rows] == [3, 10, 10]


def test_only_the_table_goes_to_standard_output(foveal: Callable[..., Any], tmp_path: Path) -> None:
    words = ("dropout", "lenet5_fashion", "data=digits", "rates=0", "options.output=linear")
    refused = foveal("study", *words, "--quick", "--seeds", 1, "--out", tmp_path / "a")
    assert refused.status == 2 and "lenet5 cannot be rewritten" in refused.err
    words = (
        "dropout",
        "chain",
        "data=digits",
        "input=3,16,16",
        "rates=0",
        "batch_size=512",
        "augment=",
        "prepare=resize(16)",
    )
    shown = foveal("study", *words, "--quick", "--seeds", 1, "--out", tmp_path / "b", "--json")
    assert shown.status == 0, shown.err
    assert json.loads(shown.out)["study"] == "dropout" and "dropout_0-seed0" in shown.err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("chatfeld",), "unknown study 'chatfeld'\ndid you mean chatfield?"),
        (("chatfield", "factors=hue"), "unknown factor of chatfield 'hue'"),
        (("chatfield", "seeds=3"), "seeds=3: seeds is no setting\nwrite --seeds"),
        (("dropout", "resnet81"), "unknown recipe or network 'resnet81'"),
        (("dropout", "resnet18", "data=digits"), "resnet18 cannot be rewritten"),
    ],
)
def test_what_is_wrong_is_said(foveal: Callable[..., Any], words: tuple[str, ...], what: str, tmp_path: Path) -> None:
    shown = foveal("study", *words, "--out", tmp_path / "study")
    assert shown.status == 2 and what in shown.err
