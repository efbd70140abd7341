"""A run that learned tags, from its images to its report, its predictions and the commands."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from foveal.cli import main
from foveal.data.formats import voc as voc_format
from foveal.errors import FovealError
from foveal.evaluation import evaluate
from foveal.evaluation.tags import TagEvaluation, load_tag_evaluation
from foveal.exporting import export
from foveal.prediction import find_pictures, predict
from foveal.report import write_report
from foveal.training.recipe import Recipe
from foveal.training.run import Run
from foveal.training.train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on tiles of two photographs; do not write into it: take `run`."""
    root = tmp_path_factory.mktemp("tags")
    voc_format.example(root / "tiles")
    recipe = Recipe(
        name="tiles",
        task="tag",
        loss="hinge",
        model="chain",
        options={"text": "3-2-1Conv8 (BN, ReLU) → 3-2-1Conv16 (BN, ReLU) → GlobalAvgPool → FC10", "input": [3, 32, 64]},
        data=str(root / "tiles"),
        input=(3, 32, 64),
        prepare=("resize_exact(32, 64)",),
        augment=("flip",),
        length=15,
        batch_size=4,
        optimizer="adamw",
        lr=0.01,
        evaluate_every=5,
        log_every=1,
        workers=0,
        precision="float32",
    )
    path = train(recipe, out=root / "run").path
    evaluate(path)
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run(shutil.copytree(trained, tmp_path / "run"))


def test_it_learns_what_is_on_the_tiles(trained: Path) -> None:
    rows = Run(trained).metrics()
    assert float(rows[-1]["train_loss"] or 0) < 0.5 * float(rows[0]["train_loss"] or 0)
    assert evaluate(trained).metrics["mean_ap"] > 90


def test_an_evaluation_comes_back_from_its_files(run: Run) -> None:
    found, saved = evaluate(run), load_tag_evaluation(run.path)
    assert isinstance(found, TagEvaluation) and saved is not None
    assert found == saved and torch.equal(found.scores, saved.scores) and found.as_json() == saved.as_json()
    assert [row["images"] for row in found.class_table] == (found.labels == 1).sum(0).tolist()
    assert "mean ap" in found.text() and "flower" in found.text()


def test_ten_crops_are_averaged(run: Run) -> None:
    found = evaluate(run, protocols=("presence", "presence(crops=10, method='area')"))
    assert found.metrics.keys() == {"mean_ap", "presence(crops=10, method='area')/mean_ap"}
    for options, message in (("crops=3", "neither 1 nor 10"), ("method='voc'", "unknown method")):
        with pytest.raises(FovealError, match=message):
            evaluate(run, protocols=(f"presence({options})",))


def test_pictures_are_told_by_what_is_on_them(run: Run) -> None:
    pictures = find_pictures(run.recipe.data)
    found = predict(run, pictures)
    assert [tag[2] for one in found for tag in one.tags] == [tag[1] > 0 for one in found for tag in one.tags]
    told = found[0].as_json()["tags"]
    assert {tag["name"] for tag in told} == set(run.classes) and told[0]["score"] >= told[1]["score"]
    assert any("flower" in one.text().split(";")[0] for one in found)
    recipe = run.path / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"hinge"', '"ranking"'))
    ranked = predict(Run(run.path), pictures[:1])[0]
    assert [tag[2] for tag in ranked.tags] == [None] * len(run.classes) and "by score" in ranked.text()


def test_onnxruntime_gives_the_same_scores(run: Run, tmp_path: Path) -> None:
    found = export(run, tmp_path / "run.onnx")
    assert (found.task, found.outputs) == ("tag", ("scores",)) and found.difference < 1e-4


def test_the_report_has_its_classes(run: Run) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert all(text in page for text in ("mean average precision", "training images", "The hinge loss", "Ranking"))
    shutil.rmtree(run.path / "last")
    (run.path / "predictions.npz").write_bytes(b"")
    with pytest.raises(FovealError, match="damaged or missing"):
        load_tag_evaluation(run.path)


def test_the_commands(run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["foveal", *words])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        return status, *capsys.readouterr()

    status, out, _ = call("evaluate", str(run.path), "--json")
    assert status == 0 and json.loads(out)["metrics"].keys() == {"mean_ap"}
    picture = find_pictures(run.recipe.data)[0]
    status, out, _ = call("predict", str(run.path), picture, "--json")
    assert status == 0 and len(json.loads(out)[0]["tags"]) == 3
    assert call("predict", str(run.path), picture, "--overlay", "x.png")[0] == 2
    status, _, error = call("evaluate", str(run.path), "--protocol", "center_crop")
    assert status == 2 and "presence" in error
    status, _, error = call("train", "resnet18", "task=tag", "data=digits")
    assert status == 2 and "classes of images, and tags are wanted" in error
