"""`foveal results` prints published figures, and those of runs beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def evaluated(folder: Path) -> Path:
    (folder / "mine-1").mkdir(parents=True)
    (folder / "mine-1" / "recipe.json").write_text("{}")
    figures = {
        "model": "vgg16",
        "data": "./photos",
        "split": "test",
        "images": 1200,
        "metrics": {"top1_error": 12.3456},
    }
    (folder / "mine-1" / "evaluation.json").write_text(json.dumps(figures))
    return folder


def test_the_list_and_a_table(foveal: Callable[..., Any]) -> None:
    listed = foveal("results")
    assert listed.status == 0 and "resnet_ten_crop" in listed.out
    tables = json.loads(foveal("results", "--json").out)
    assert {"table": "nin", "id": "T8"}.items() <= next(t for t in tables if t["table"] == "nin").items()
    shown = foveal("results", "overfeat")
    assert "16.97" in shown.out and "unverified" in shown.out and "source: P. Sermanet" in shown.out
    assert "measured" not in shown.out


def test_runs_beside(foveal: Callable[..., Any], tmp_path: Path) -> None:
    runs = evaluated(tmp_path / "runs")
    shown = foveal("results", "vgg", "--runs", runs)
    assert shown.status == 0 and "12.35" in shown.out and "mine-1: 1,200 images of ./photos, test" in shown.out
    rows = json.loads(foveal("results", "vgg_single_scale", "--runs", runs, "--json").out)[0]["rows"]
    assert [bool(row["measured"]) for row in rows] == [row["model"] == "vgg16" for row in rows]


def test_what_is_wrong_is_said(foveal: Callable[..., Any]) -> None:
    shown = foveal("results", "resnet_tencrop")
    assert shown.status == 2 and "did you mean resnet_ten_crop" in shown.err
