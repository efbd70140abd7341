"""Runs that learned masks and keypoints, from a COCO file to evaluation, report, predictions and the commands."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foveal.cli import main
from foveal.data.formats import coco as coco_format
from foveal.data.outlines import runs
from foveal.errors import FovealError
from foveal.evaluation import evaluate
from foveal.evaluation.boxes import BoxEvaluation, load_box_evaluation
from foveal.prediction import predict
from foveal.report import write_report
from foveal.training.recipe import Recipe
from foveal.training.run import Run
from foveal.training.train import resume, train

KINDS = {"mask_rcnn": "mask", "keypoint_rcnn": "keypoint"}
NAMES = ["top", "left_side", "right_side", "bottom"]


def annotated(root: Path) -> Path:
    """Tiles of two photographs: of every object an ellipse in its box, and the middles of the box's sides."""
    coco_format.example(root)
    for split in ("train", "test"):
        file = root / f"annotations/instances_{split}.json"
        data = json.loads(file.read_text())
        for row in data["annotations"]:
            left, top, width, height = row["bbox"]
            x, y = left + width / 2, top + height / 2
            turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            ring = np.stack((x + np.cos(turns) * width / 2, y + np.sin(turns) * height / 2), 1)
            row["segmentation"], row["area"] = [ring.ravel().tolist()], np.pi / 4 * width * height
            row["keypoints"] = [x, top, 2, left, y, 2, left + width - 1, y, 1, x, top + height - 1, 2]
        for category in data["categories"]:
            category |= {"keypoints": NAMES, "skeleton": [[1, 2], [1, 3], [2, 4], [3, 4]]}
        file.write_text(json.dumps(data))
    return root


def recipe_of(model: str, data: Path) -> Recipe:
    light: dict[str, Any] = {
        "encoder": "resnet18", "width": 8, "maps": 16, "hidden": 32, "proposals": 40, "sizes": (8, 16, 32, 48, 80),
        "score": 0.0, "most": 10,
    }  # fmt: skip
    if model == "keypoint_rcnn":
        light |= {"keypoints": 4, "heat_maps": 16}
    return Recipe(
        name="tiles",
        task="detect",
        model=model,
        options=light,
        data=str(data),
        input=(3, 64, 96),
        prepare=("letterbox(64, 96)",),
        augment=("v2.RandomIoUCrop(min_scale=0.5)", "resize_exact(64, 96)", "flip"),
        unit="iterations",
        length=4,
        batch_size=4,
        optimizer="adamw",
        lr=0.002,
        evaluate_every=2,
        log_every=1,
        workers=0,
        precision="float32",
    )


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run; do not write into it: take `run`."""
    root = tmp_path_factory.mktemp(request.param)
    path = train(recipe_of(request.param, annotated(root / "tiles")), out=root / "run").path
    evaluate(path)
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run(shutil.copytree(trained, tmp_path / "run"))


def test_an_evaluation_has_ap_of_shapes_and_comes_back(run: Run) -> None:
    kind = KINDS[run.recipe.model]
    measured, loaded = evaluate(run), load_box_evaluation(run.path)
    assert isinstance(measured, BoxEvaluation) and loaded is not None
    assert loaded.as_json() == measured.as_json() and loaded.text() == measured.text()
    assert {f"{kind}_ap", f"{kind}_ap50", f"{kind}_ap75"} <= set(measured.metrics)
    told = measured.as_json()
    assert len(told[f"{kind}_coco"]) == (12 if kind == "mask" else 10) and len(told["coco"]) == 12
    assert f"{kind} AP" in measured.text() and f"{kind}_ap" in told["classes"][0]
    for one, other, there in zip(measured.found, loaded.found, measured.truth, strict=True):
        assert len(one.boxes) > 0
        if kind == "keypoint":
            assert torch.equal(one.keypoints, other.keypoints) and one.masks is None  # type: ignore[arg-type]
        else:
            assert [mask.as_json() for mask in one.masks or ()] == [mask.as_json() for mask in other.masks or ()]
            assert one.masks and there.masks and one.masks[0].mask().shape == there.masks[0].mask().shape
    assert f"val_{kind}_ap" in run.metrics()[-1] or f"test_{kind}_ap" in run.metrics()[-1]
    assert f"{kind}s" in run.steps()[-1]  # the branch's loss


def test_the_report_shows_them(run: Run) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    kind = KINDS[run.recipe.model]
    assert f"{kind} ap50" in page and f"{kind} AP" in page and page.count("<img") > 8


def test_predictions(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Path(run.recipe.data) / "images/test/test_roof_10.png"
    (found,) = predict(run, picture, score=0.0)
    assert found.drawn().size == found.size
    words = ["foveal", "predict", str(run.path), str(picture), "--score", "0", "--json", "--draw", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        main()
    (told,) = json.loads(capsys.readouterr().out)
    assert (tmp_path / "test_roof_10.png").is_file() and told["boxes"]
    width, height = found.size
    for n, box in enumerate(told["boxes"]):
        if run.recipe.model == "mask_rcnn":
            again = runs(box["mask"], height, width).mask()
            assert torch.equal(again, found.masks[n].mask())
        else:
            assert [point["name"] for point in box["keypoints"]] == NAMES
            assert all(
                0 <= p["x"] <= width and 0 <= p["y"] <= height and 0 <= p["score"] <= 1 for p in box["keypoints"]
            )


def test_a_run_knows_its_pose_and_goes_on(run: Run) -> None:
    assert run.pose is not None and list(run.pose.names) == NAMES
    assert resume(run).step == 4


REFUSED: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "no outline": (
        lambda file: _change(file, lambda d: d["annotations"][3].pop("segmentation")),
        "mask_rcnn",
        r"object 4 has a box and no outline",
    ),
    "no keypoints": (
        lambda file: [_change(file, lambda d: [r.pop("keypoints") for r in d["annotations"] + d["categories"]])],
        "keypoint_rcnn",
        "its objects have no keypoints, and KeypointRCNN learns from them",
    ),
    "none given": (
        lambda file: _change(file, lambda d: [row.update(keypoints=[0] * 12) for row in d["annotations"]]),
        "keypoint_rcnn",
        "none of the 8 train images has an object with a keypoint",
    ),
}


def _change(file: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(file.read_text())
    edit(data)
    file.write_text(json.dumps(data))


@pytest.mark.parametrize("name", REFUSED)
def test_data_without_the_targets_are_refused_before_training(name: str, tmp_path: Path) -> None:
    spoil, model, message = REFUSED[name]
    data = annotated(tmp_path / "tiles")
    for split in ("train", "test"):
        spoil(data / f"annotations/instances_{split}.json")
    with pytest.raises(FovealError, match=message):
        train(recipe_of(model, data), out=tmp_path / "run")
    assert not (tmp_path / "run/recipe.json").exists()


def test_other_counts_of_keypoints_are_refused_with_the_setting(tmp_path: Path) -> None:
    wanted = recipe_of("keypoint_rcnn", annotated(tmp_path / "tiles"))
    with pytest.raises(FovealError, match=r"4 keypoints .*, the network 17") as caught:
        train(wanted.with_settings(options={"keypoints": 17}), out=tmp_path / "run")
    assert caught.value.mend == "set options.keypoints=4"
