"""A run that learned boxes, from its images to its report, its predictions and the commands."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from foveal.cli import main
from foveal.data.formats import voc as voc_format
from foveal.errors import FovealError
from foveal.evaluation import evaluate
from foveal.evaluation.boxes import BoxEvaluation, load_box_evaluation
from foveal.exporting import export
from foveal.prediction import find_pictures, predict
from foveal.report import write_report
from foveal.training.recipe import Recipe
from foveal.training.run import Run
from foveal.training.train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on tiles of two photographs; do not write into it: take `run`."""
    root = tmp_path_factory.mktemp("boxes")
    voc_format.example(root / "tiles")
    recipe = Recipe(
        name="tiles",
        task="detect",
        model="ssd_resnet",
        options={"width": 4, "maps": 8, "sides": (24, 40, 64, 90, 120)},
        data=str(root / "tiles"),
        input=(3, 64, 128),
        prepare=("resize_exact(64, 128)",),
        augment=("v2.RandomIoUCrop(min_scale=0.5)", "resize_exact(64, 128)", "flip"),
        unit="iterations",
        length=12,
        batch_size=4,
        optimizer="adamw",
        lr=0.01,
        evaluate_every=6,
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


def test_an_evaluation_comes_back_from_its_files(run: Run) -> None:
    measured, loaded = evaluate(run), load_box_evaluation(run.path)
    assert isinstance(measured, BoxEvaluation) and loaded is not None
    assert loaded.as_json() == measured.as_json() and loaded.text() == measured.text()
    for one, other in zip(measured.found + measured.truth, loaded.found + loaded.truth, strict=True):
        for part, same in zip(one, other, strict=True):
            assert part is same is None or torch.equal(part, same)
    assert {"ap50", "ap", "ap75"} == set(measured.metrics)
    assert "AP50" in measured.text() and "missed" in measured.text()


def test_onnxruntime_finds_the_same(run: Run, tmp_path: Path) -> None:
    found = export(run, tmp_path / "ssd.onnx", batch=2)
    assert found.outputs == ("boxes", "scores", "labels") and "detections are the same" in found.text()
    assert found.same > 0.95 * found.detections > 0 and found.difference < 1e-4  # untrained: many scores tie


def test_boxes_are_in_the_images_own_pixels(run: Run) -> None:
    measured = evaluate(run)
    assert isinstance(measured, BoxEvaluation)
    largest = torch.cat([found.boxes for found in measured.found]).amax(0)
    assert largest[2] > 100 and largest[3] > 70  # beyond what the network sees


def test_the_report_has_every_part(run: Run) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    for anchor in ("course", "data", "curves", "classes", "mistakes", "architecture", "record"):
        assert f'id="{anchor}"' in page and f'href="#{anchor}"' in page
    found = load_box_evaluation(run.path)
    assert found is not None
    assert f"{found.metrics['ap50']:.2f} %" in page and "backbone" in page
    assert page.count("<img") > 8  # samples, and what was found


def test_the_report_does_without_images(run: Run) -> None:
    settings = json.loads((run.path / "recipe.json").read_text(encoding="utf-8"))
    (run.path / "recipe.json").write_text(json.dumps(settings | {"data": "gone"}), encoding="utf-8")
    page = write_report(Run(run.path)).read_text(encoding="utf-8")
    assert "Without pictures of the data" in page and page.count("<img") == 1


def test_predictions_lie_within_the_picture(run: Run, tmp_path: Path) -> None:
    pictures = find_pictures(Path(run.recipe.data) / "JPEGImages")
    for found in predict(run, pictures[:3], score=0.0):
        width, height = found.size
        assert Image.open(found.file).size == (width, height)
        limits = torch.tensor([width, height, width, height])
        assert len(found.boxes) and (found.boxes >= 0).all() and (found.boxes <= limits).all()
        assert (found.scores.diff() <= 0).all()
        with Image.open(found.save_drawing(tmp_path / "drawn.png")) as drawn:
            assert drawn.size == (width, height)
    assert predict(run, pictures[0], score=1.0)[0].text().endswith(": nothing")
    with pytest.raises(FovealError, match=r"written as \.png"):
        found.save_drawing(tmp_path / "drawn.jpg")
    with pytest.raises(FovealError, match="score=2"):
        predict(run, pictures[0], score=2)


def test_unreadable_pictures_have_their_reason(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"")
    (found,) = predict(run, tmp_path / "broken.png")
    assert found.error == "the file is empty" and "not read" in found.text()
    with pytest.raises(FovealError, match="was not read"):
        found.drawn()


def test_the_command(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["foveal", *words])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    folder = str(Path(run.recipe.data) / "JPEGImages")
    assert status("predict", str(run.path), folder, "--draw", str(tmp_path), "--score", "0.1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told) == len(list(tmp_path.glob("*.png"))) == 14
    assert all(0.1 <= box["score"] <= 1 and len(box["box"]) == 4 for one in told for box in one["boxes"])
    assert status("predict", str(run.path), folder, "--overlay", "o.png") == 2
    assert "--overlay is about masks" in capsys.readouterr().err
    assert status("evaluate", str(run.path), "--protocol", "localisation") == 0
    assert "localisation error" in capsys.readouterr().out


def test_predictions_that_are_gone(run: Run) -> None:
    (run.path / "predictions.npz").write_bytes(b"no archive")
    with pytest.raises(FovealError, match="measure again"):
        load_box_evaluation(run.path)
