"""Studies: their runs, their tables, going on, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

import foveal
from foveal import catalog
from foveal.data.formats import masks
from foveal.errors import FovealError
from foveal.recipes import resolve
from foveal.studies._components import FACTORS
from foveal.studies._outcome import Outcome, Spread
from foveal.studies.chatfield import _variants

TINY = "3-1-1Conv4 (ReLU) → 2-2MaxPool → FC8 (ReLU) → FC10"
SMALL: dict[str, Any] = {"options": {"text": TINY}, "batch_size": 512, "length": 1}
OWN: dict[str, dict[str, Any]] = {
    "relu_tanh": {"rates": (0.01,), "window": 2, "target": 9.0},
    "dropout": {},
    "batch_norm": {"rates": (0.01,)},
    "initialisation": {"scales": (1.0,)},
    "identity_construction": {"added": 1},
    "polynomial": {},
    "transfer": {"layers": (1,), "kinds": ("AnB+", "RnB")},
    "few_shot": {"shots": (2,), "draws": 1},
    "chatfield": {"factors": ("stride", "fc")},
    "skip_connections": {},
}
SCENES: dict[str, Any] = {
    "input": (3, 64, 64),
    "prepare": ("resize_exact(64, 64)",),
    "augment": (),
    "batch_size": 3,
    "length": 1,
    "options": {
        "encoder": "chain(text='[3-1-1Conv4 (BN, ReLU) → 2-2MaxPool]x5 → FC4 (ReLU) → FC3', input=(3, 128, 128))",
        "border": 33,
    },
}


def done(name: str, folder: Path, **settings: Any) -> Outcome:
    given = {} if name == "polynomial" else {**SMALL, **settings}
    if name == "skip_connections":
        masks.example(folder.parent / "scenes")
        given = {**SCENES, "data": str(folder.parent / "scenes"), **settings}
    return foveal.study(name, out=folder, seeds=1, **OWN[name], **given)


def test_every_study_is_tested() -> None:
    assert set(OWN) == set(catalog.names("study"))


SLOW = ("relu_tanh", "batch_norm", "initialisation", "skip_connections")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in OWN])
def test_a_study_writes_its_table_and_chart(name: str, tmp_path: Path) -> None:
    found = done(name, tmp_path / "study")
    assert found.claim.endswith(".") and found.finding.endswith(".")
    written = json.loads((tmp_path / "study" / "results.json").read_text(encoding="utf-8"))
    assert written == found.as_json()
    assert len(written["rows"]) >= 2
    with (tmp_path / "study" / "table.csv").open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(written["rows"])
    assert (tmp_path / "study" / "table.md").read_text(encoding="utf-8").count("\n| ") == len(written["rows"]) + 2
    chart = ElementTree.parse(tmp_path / "study" / "chart.svg").getroot()
    assert chart.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in ElementTree.tostring(chart, encoding="unicode")
    assert (tmp_path / "study" / "chart.svg").stat().st_size < 150_000


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    first = done("dropout", folder)
    runs = sorted(file.parent for file in folder.glob("*/recipe.json"))
    assert [run.name for run in runs] == ["dropout_0-seed0", "dropout_0.5-seed0"]
    shutil.rmtree(runs[1])
    times = {file: file.stat().st_mtime_ns for file in runs[0].rglob("*")}
    again = done("dropout", folder)
    assert {file: file.stat().st_mtime_ns for file in runs[0].rglob("*")} == times
    assert again.as_json() == first.as_json()
    more = foveal.study("dropout", out=folder, seeds=2, **SMALL)
    values = more.as_json()["rows"][0]["tested"]["values"]
    assert values[0] == first.as_json()["rows"][0]["tested"]["values"][0] and len(values) == 2


def test_finer_networks_begin_with_the_coarser(tmp_path: Path) -> None:
    found = done("skip_connections", tmp_path / "study", length=2)
    assert [row["network"] for row in found.rows] == ["FCN-32s", "FCN-16s", "FCN-8s", "FCN-32s, trained on for as long"]
    recipes = {path.parent.name: json.loads(path.read_text("utf-8")) for path in tmp_path.glob("study/*/recipe.json")}
    begun = {name: Path(recipe["weights"]).name for name, recipe in recipes.items() if recipe["weights"]}
    assert begun == {
        "fcn16s-seed0": "fcn32s-seed0",
        "fcn8s-seed0": "fcn16s-seed0",
        "fcn32s_as_long-seed0": "fcn32s-seed0",
    }
    assert [recipes[name]["length"] for name in ("fcn32s-seed0", "fcn8s-seed0", "fcn32s_as_long-seed0")] == [2, 1, 2]
    with Image.open(tmp_path / "study" / "pictures.png") as picture:
        assert picture.size == (1200, 18 + 2 * 180)


def test_studies_of_one_task_refuse_recipes_of_another(tmp_path: Path) -> None:
    masks.example(tmp_path / "scenes")
    data = str(tmp_path / "scenes")
    with pytest.raises(FovealError, match="recipe to segment, and study dropout is about recipes to classify"):
        foveal.study("dropout", "unet_camvid_fast", out=tmp_path / "study", data=data)
    with pytest.raises(FovealError, match="trains unet") as caught:
        foveal.study("skip_connections", "unet_camvid_fast", out=tmp_path / "study", data=data)
    assert "fcn32s" in caught.value.mend
    with pytest.raises(FovealError, match="share=0"):
        foveal.study("skip_connections", out=tmp_path / "other", data=data, share=0.0)


def test_averaging_needs_test_images_that_no_seed_moves(tmp_path: Path) -> None:
    foveal.convert("digits", tmp_path / "digits", "idx")
    settings: dict[str, Any] = {**SMALL, "input": (1, 16, 16), "data": str(tmp_path / "digits")}
    found = foveal.study("chatfield", out=tmp_path / "a", seeds=1, factors="averaging", average=2, **settings)
    assert [row["variant"] for row in found.rows] == ["", "mean of 2"]
    with pytest.raises(FovealError, match="each seed holds out others"):
        foveal.study("chatfield", out=tmp_path / "b", seeds=1, factors="averaging", **SMALL)


def test_factors_that_do_not_apply_are_left_out_with_a_note_and_refused_by_name(tmp_path: Path) -> None:
    given = {"length": 1, "batch_size": 512, "model": "mlp", "options": {"input": [1, 16, 16]}}
    base = resolve("mlp", input=(1, 16, 16), options={"input": [1, 16, 16]})
    _, variants, notes = _variants(base, list(FACTORS), everything=True)
    assert [variant.factor for variant in variants] == ["fc", "fc", "fc", *["augmentation"] * 3]
    assert [note.partition(",")[0] for note in notes] == [
        f"Left out: {name}" for name in ("kernel_size", "kernel_number", "stride", "colour")
    ]
    with pytest.raises(FovealError, match="factor stride does not apply to chatfield: the network has no convolution"):
        foveal.study("chatfield", out=tmp_path / "b", factors="stride", **given)
    assert not list((tmp_path / "b").glob("*/recipe.json"))


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("relutanh", {}, "did you mean relu_tanh"),
        ("chatfield", {"factors": "strides"}, "unknown factor of chatfield 'strides'\ndid you mean stride"),
        ("chatfield", {"average": 1}, "nothing to average"),
        ("dropout", {"factors": "stride"}, "unknown setting 'factors'"),
        ("dropout", {"rates": "much"}, "rates=much is not a number"),
        ("dropout", {"seed": 3}, "a study counts its seeds"),
        ("dropout", {"seeds": 0}, "needs at least one"),
        ("dropout", {"time_budget": 1.0}, "compares whole runs"),
        ("polynomial", {"data": "digits"}, "trains no network: no data"),
        ("polynomial", {"points": "few"}, "points=few is not a whole number"),
        ("polynomial", {"points": 1}, "nothing to fit"),
        ("identity_construction", {"added": 0}, "has more layers"),
    ],
)
def test_bad_input(name: str, settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=words):
        foveal.study(name, out=tmp_path / "study", **settings)
    assert not list((tmp_path / "study").glob("*/recipe.json"))


def test_a_folder_belongs_to_one_study(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    done("polynomial", folder)
    with pytest.raises(FovealError, match="holds the study polynomial, not dropout"):
        done("dropout", folder)
    done("dropout", tmp_path / "other")
    with pytest.raises(FovealError, match=r"another base: lr=0.02 there, 0.5 here\nchoose another out="):
        done("dropout", tmp_path / "other", lr=0.5)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("important")
    with pytest.raises(FovealError, match="is not empty and not a study"):
        done("polynomial", tmp_path / "full")
    (folder / "study.json").write_text("{")
    with pytest.raises(FovealError, match="is damaged"):
        done("polynomial", folder)


def test_several_seeds_are_a_mean_and_a_deviation() -> None:
    assert str(Spread((1.0, 2.0, 3.0))) == "2.00 ± 1.00"
    assert str(Spread((1.5,))) == "1.50" and Spread((1.5,)).deviation is None


@pytest.mark.slow
def test_both_activations_reach_the_target_and_the_construction_keeps_the_error(tmp_path: Path) -> None:
    relu = foveal.study("relu_tanh", out=tmp_path / "relu", seeds=1, rates=(0.01, 0.03))
    reached = {row["activation"] for row in relu.rows if isinstance(row["updates"], Spread)}
    assert reached == {"ReLU", "tanh"} and "times as many" in relu.finding
    built = foveal.study("identity_construction", out=tmp_path / "built", seeds=1, length=8)
    trained = [row["trained"].mean for row in built.rows if isinstance(row["trained"], Spread)]
    assert trained[2] == pytest.approx(trained[0], abs=0.2)
