"""The published tables hold the published figures, corrected where a lecture slipped; runs stand beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foveal import catalog, results
from foveal.errors import FovealError

TABLES = {f"T{number}" for number in range(1, 14)}
NOT_YET = {"fabric", "fcn32s", "fcn16s", "fcn8s", "rcnn", "faster_rcnn"}  # networks that the catalogue may still lack


def row(table: str, name: str, **settings: Any) -> dict[str, Any]:
    """The one row of a table with this name and these settings."""
    (found,) = [
        dict(r)
        for r in results.load(table).rows
        if r["name"] == name and all(r.get(k) == v for k, v in settings.items())
    ]
    return found


def test_every_table_of_the_lectures_is_there_and_well_formed() -> None:
    tables = [results.load(name) for name in results.names()]
    assert {table.id for table in tables} == TABLES
    for table in tables:
        assert table.title and table.source and table.data and table.rows, table.table
        for line in table.rows:
            assert line["name"] and set(line) <= {"name", "model", "note", "unverified", *table.columns}, line
            assert any(line.get(key) is not None for key in table.columns) or line.get("note"), line
            for key, value in line.items():
                if key in ("top1", "top5", "test5", "pixel", "mean", "iu", "fwiu", "map") and value is not None:
                    assert 0 < value < 100
            top1, top5 = line.get("top1"), line.get("top5")
            assert top1 is None or top5 is None or top5 < top1, line


def test_networks_are_named_as_in_the_catalogue() -> None:
    named = {r["model"] for name in results.names() for r in results.load(name).rows if "model" in r}
    assert named - NOT_YET <= set(catalog.names("model"))


@pytest.mark.parametrize(
    ("table", "name", "settings", "figures"),
    [
        ("vgg_single_scale", "A-LRN", {}, {"top1": 29.7, "top5": 10.5}),
        ("vgg_single_scale", "D", {"train": "256-512"}, {"test": "384", "top1": 25.6, "top5": 8.1}),
        ("vgg_single_scale", "E", {"train": "384"}, {"top1": 26.9, "top5": 8.7}),
        ("vgg_multi_scale", "C", {"train": "256-512"}, {"top1": 26.3, "top5": 8.2}),
        ("vgg_multi_scale", "E", {"train": "256-512"}, {"top1": 24.8, "top5": 7.5, "test": "256, 384, 512"}),
        ("ilsvrc_comparison", "OverFeat", {"nets": 7}, {"top1": 34.0, "top5": 13.2, "test5": 13.6}),
        ("ilsvrc_comparison", "MSRA", {"nets": 1}, {"top1": 27.9, "top5": 9.1, "test5": 9.1}),
        ("leaderboard_2012", "Tokyo (ISI)", {}, {"test5": 26.172}),
        ("clarifai", "(a) and (b)", {}, {"nets": 6, "top1": 36.0, "top5": 14.7, "test5": 14.8}),
        ("chatfield", "CNN-S", {}, {"top5": 13.1, "model": "cnn_s"}),
        ("chatfield_components", "FC7 of 128", {}, {"change": -2}),
        ("deep_image", "Deep Image", {}, {"top1": 24.88, "top5": 7.42}),
        ("nin", "NIN", {}, {"top1": 39.2}),
        ("resnet_ten_crop", "ResNet-34 C", {}, {"top1": 24.19, "top5": 7.40}),
        ("resnet_ten_crop", "ResNet-152", {}, {"top1": 21.43, "top5": 5.71}),
        ("resnet_ensembles", "ResNet, ILSVRC 2015", {}, {"test5": 3.57}),
        ("fcn", "FCN-8s", {}, {"pixel": 90.3, "mean": 75.9, "iu": 62.7, "fwiu": 83.2}),
        ("detection", "R-CNN", {}, {"map": 53.7}),
        ("fabrics", "fabric, weak connections pruned", {}, {"connections": "a third", "top1": 8.1}),
    ],
)
def test_figures_as_published(table: str, name: str, settings: dict[str, Any], figures: dict[str, Any]) -> None:
    assert row(table, name, **settings).items() >= figures.items()


def test_slips_of_the_lectures_are_corrected() -> None:
    assert row("leaderboard_2012", "Toronto (SuperVision)")["test5"] == 15.315  # not 15.4
    assert row("ilsvrc_comparison", "Krizhevsky et al.", nets=5)["test5"] == 16.4
    assert row("chatfield", "AlexNet, one network")["top5"] == 18.2  # not 17
    assert row("ilsvrc_comparison", "VGG, multi-crop and dense", nets=2)["top5"] == 6.8  # not 6.7
    assert row("ilsvrc_comparison", "GoogLeNet", nets=7)["top5"] == 6.7
    assert row("overfeat", "OverFeat fast, fine stride")["top5"] == 16.97  # not "OverFeat-5"
    assert row("overfeat", "OverFeat accurate")["top5"] == 14.18
    unverified = {r["top5"] for r in results.load("overfeat").rows if r.get("unverified")}
    assert unverified == {14.76, 13.52, 11.97}
    assert "25.5" in results.load("deep_image").notes[0] and row("deep_image", "VGG")["top1"] == 25.9
    assert "2015" in results.load("fcn").notes[0] and "NIPS" in results.load("detection").notes[0]


def test_tables_and_the_catalogue_agree() -> None:
    """Where a network's file states the error that a table prints for it, the two are one figure."""
    printed: dict[str, set[float]] = {}
    for name in results.names():
        for r in results.load(name).rows:
            if "model" in r and "top1" in r:
                printed.setdefault(r["model"], set()).add(r["top1"])
    stated = {name: catalog.facts(name) for name in ("vgg11", "vgg13", "alexnet", "resnet50", "resnet152", "plain34")}
    for name, facts in stated.items():
        if facts and facts.top1_error is not None:
            assert facts.top1_error in printed[name], name


def test_find_by_table_by_beginning_and_by_network() -> None:
    assert [t.table for t in results.find("resnet_ten_crop")] == ["resnet_ten_crop"]
    vgg = results.find("vgg")
    assert {"vgg_single_scale", "vgg_multi_scale", "ilsvrc_comparison", "resnet_ten_crop"} == {t.table for t in vgg}
    whole = {t.table: len(t.rows) for t in vgg}
    assert whole["vgg_single_scale"] == 12 and whole["vgg_multi_scale"] == 10 and whole["resnet_ten_crop"] == 1
    assert all(r["model"] == "resnet34" for t in results.find("resnet34") for r in t.rows)
    with pytest.raises(FovealError, match="did you mean fabric"):
        results.find("fabrik")
    with pytest.raises(FovealError, match="unknown result table 'vgg'"):
        results.load("vgg")


def run(folder: Path, name: str, model: str, **metrics: float) -> Path:
    path = folder / name
    path.mkdir(parents=True)
    (path / "recipe.json").write_text("{}")
    figures = {"model": model, "data": "./photos", "split": "test", "images": 1200, "metrics": metrics}
    (path / "evaluation.json").write_text(json.dumps(figures))
    return path


def test_runs_stand_beside_their_networks(tmp_path: Path) -> None:
    run(tmp_path, "a-1", "vgg16", top1_error=12.3456, top5_error=1.0)
    run(tmp_path, "b-1", "vgg16", top1_error=11.0)
    run(tmp_path, "c-1", "resnet18", top1_error=5.0)
    (tmp_path / "unfinished").mkdir()
    own = results.measured(tmp_path)
    assert [m.model for m in own] == ["vgg16", "vgg16", "resnet18"] and own[1].top5 is None
    pairs = results.beside(results.load("resnet_ten_crop"), own)
    assert [m.top1 for r, m in pairs if r["name"] == "VGG-16" and m] == [12.3456, 11.0]
    assert sum(m is None for _, m in pairs) == 9
    plain = results.as_json(results.load("resnet_ten_crop"), own)
    assert [m["top1"] for m in json.loads(json.dumps(plain))["rows"][0]["measured"]] == [12.3456, 11.0]
    assert results.measured(tmp_path / "nowhere") == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metrics": 3}', "\x00"])
def test_a_damaged_evaluation_is_named(text: str, tmp_path: Path) -> None:
    (run(tmp_path, "a-1", "vgg16") / "evaluation.json").write_text(text)
    with pytest.raises(FovealError, match=r"evaluation\.json is damaged"):
        results.measured(tmp_path)
