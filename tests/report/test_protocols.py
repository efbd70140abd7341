"""Several protocols and several runs in one evaluation: figures, table, JSON, what is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from foveal.data.dataset import ArraySet
from foveal.data.open import open_data
from foveal.errors import FovealError
from foveal.evaluation import evaluate, load_evaluation
from foveal.evaluation.ensemble import ensemble
from foveal.evaluation.text import text
from foveal.metrics.bootstrap import bootstrap_interval
from foveal.metrics.classification import top_k_error, top_k_wrong
from foveal.protocols.ten_crop import ten_crop
from foveal.training.run import Run
from foveal.training.train import train

TEN, DENSE = "ten_crop(scale=20)", "dense(scales=(16, 20), flip=False)"


def test_one_table_of_several_protocols(run: Run) -> None:
    found = evaluate(run, protocols=("center_crop", TEN, DENSE, "multi_crop(grid=2)"))
    assert [part.protocol for part in found.measured] == ["center_crop", TEN, DENSE, "multi_crop(grid=2)"]
    images = open_data(run.recipe.data, "test")
    direct = dict(ten_crop(run.predictor(), images, scale=20))
    assert found.metrics[f"{TEN}/top1_error"] == found.measured[1].metrics["top1_error"] == direct["top1_error"]
    assert found.measured[1].intervals["top1_error"] == bootstrap_interval(
        top_k_wrong(direct["probabilities"], images.labels)
    )
    lines = found.text().splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("protocol"))
    assert lines[header].split("  ")[0] == "protocol" and "95 % interval" in lines[header]
    assert "multiply-adds" not in lines[header] and "top-5" not in lines[header], "no column without a figure"
    for line, part in zip(lines[header + 1 :], found.measured, strict=False):
        assert line.startswith(part.protocol)
        assert f"{part.metrics['top1_error']:.2f} %" in line
    assert "by center_crop: calibration error" in found.text()


def test_all_protocols_are_kept_with_the_run(run: Run) -> None:
    found = evaluate(run, protocols=("center_crop", TEN))
    again = load_evaluation(run)
    assert again is not None and again.measured == found.measured
    saved = json.loads((run.path / "evaluation.json").read_text(encoding="utf-8"))
    assert [row["protocol"] for row in saved["protocols"]] == ["center_crop", TEN]
    assert saved["protocols"][1]["intervals"]["top1_error"] == list(found.measured[1].intervals["top1_error"])


def test_parts_of_a_protocol_have_their_lines(run: Run) -> None:
    found = evaluate(run)
    metrics = {**found.metrics, "exit 1/macs": 1e6, "exit 1/top1_error": 50.0}
    shown = text(replace(found, metrics=metrics, measured=(replace(found.measured[0], metrics=metrics),)))
    assert any(line.split() == ["exit", "1", "50.00", "%", "1,000,000"] for line in shown.splitlines())


def test_what_cannot_be_asked(run: Run) -> None:
    with pytest.raises(FovealError, match="asked for twice"):
        evaluate(run, protocols=("ten_crop", "ten_crop"))
    with pytest.raises(FovealError, match="unknown option of dense 'scale'"):
        evaluate(run, protocols=("dense(scale=3)",))
    with pytest.raises(FovealError, match="one exit"):
        evaluate(run, protocols=("anytime",))


@pytest.fixture
def other(run: Run, tmp_path: Path) -> Run:
    """The run again, with other weights and its classes in another order."""
    path = Path(shutil.copytree(run.path, tmp_path / "other"))
    data = json.loads((path / "data.json").read_text(encoding="utf-8"))
    data["classes"] = data["classes"][::-1]
    (path / "data.json").write_text(json.dumps(data), encoding="utf-8")
    return Run(path)


def test_an_ensemble_is_the_mean_of_its_runs(run: Run, other: Run) -> None:
    found = ensemble([run, str(other.path)], protocols=("center_crop", TEN))
    one = evaluate(run).probabilities
    two = evaluate(other, run.recipe.data).probabilities[:, [2, 1, 0]]
    assert not torch.allclose(one, two)
    torch.testing.assert_close(found.probabilities, (one + two) / 2)
    assert found.top1_error == top_k_error((one + two) / 2, found.labels)
    assert found.classes == run.classes
    assert [part.protocol for part in found.measured] == [
        "center_crop", TEN,
        f"{run.path} by center_crop", f"{run.path} by {TEN}",
        f"{other.path} by center_crop", f"{other.path} by {TEN}",
    ]  # fmt: skip
    assert found.measured[2].metrics["top1_error"] == evaluate(run).top1_error
    assert found.metrics.keys() == {"top1_error", "cross_entropy", f"{TEN}/top1_error", f"{TEN}/cross_entropy"}
    assert "mean of mlp, mlp (best)" in found.text()


def test_an_ensemble_writes_nothing(run: Run, other: Run) -> None:
    ensemble([run, other])
    assert load_evaluation(run) is None and load_evaluation(other) is None


def test_runs_that_cannot_be_averaged(run: Run, other: Run) -> None:
    with pytest.raises(FovealError, match="one run is no ensemble"):
        ensemble([run])
    data = json.loads((other.path / "data.json").read_text(encoding="utf-8"))
    data["classes"][0] = "violet"
    (other.path / "data.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(FovealError, match="tells other classes"):
        ensemble([run, other])


def test_large_images_are_seen_whole_where_scales_are_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []
    images = type(open_data(run.recipe.data, "test"))
    load: Callable[..., object] = images.load

    def spy(self: ArraySet, i: int, min_side: int | None = None) -> object:
        asked.append(min_side)
        return load(self, i, min_side)

    monkeypatch.setattr(images, "load", spy)
    evaluate(run, protocols=("center_crop",))
    assert set(asked) == {16}
    asked.clear()
    evaluate(run, protocols=(TEN,))
    assert set(asked) == {None}


def test_runs_of_another_cut_are_not_measured_on_what_they_may_have_seen(run: Run, tmp_path: Path) -> None:
    uncut = str(Path(run.recipe.data) / "train")
    changes = ({"data": uncut, "seed": 0}, {"data": uncut, "seed": 1}, {"data": uncut, "lr": 0.02}, {"seed": 1})
    one, two, like_one, held = (
        train(run.recipe.with_settings(**{"holdout": 0.0, "length": 1, **change}), out=tmp_path / f"run{i}")
        for i, change in enumerate(changes)
    )
    for data in (None, uncut):
        with pytest.raises(FovealError, match=r"run1 may have been trained on the test images of .*run0"):
            ensemble([one, two], data)
        assert ensemble([one, like_one], data).images == 3
    with pytest.raises(FovealError, match="may have been trained on"):
        ensemble([run, one])
    assert ensemble([one, two], run.recipe.data).images == 24
    assert ensemble([run, held]).images == 24, "seeds and holdouts differ, the test split is the data's own"
