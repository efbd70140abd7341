"""evaluate(): figures, other data, other classes, unreadable files, what is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from foveal.data.open import open_data
from foveal.errors import FovealError
from foveal.evaluation import evaluate, load_evaluation
from foveal.evaluation.splits import held_out, open_split
from foveal.training.run import Run

Photos = Callable[..., Path]


def test_figures_agree_with_the_predictor_asked_directly(run: Run) -> None:
    found = evaluate(run)
    predictor = run.predictor()
    images = open_data(run.recipe.data, "test")
    views = torch.stack([predictor.prepare(images[i][0]) for i in range(len(images))])
    torch.testing.assert_close(found.probabilities, predictor(views).float())
    assert torch.equal(found.labels, images.labels)
    wrong = (found.probabilities.argmax(1) != images.labels).double().mean()
    assert found.top1_error == pytest.approx(100 * float(wrong))
    assert found.metrics.keys() == {"top1_error", "cross_entropy"}, "three classes have no top-5 error"
    low, high = found.interval
    assert low <= found.top1_error <= high
    assert int(found.confusion.sum()) == found.images == 24


def test_the_held_out_result_is_written_and_read_back(run: Run) -> None:
    assert load_evaluation(run) is None
    found = evaluate(run)
    again = load_evaluation(run)
    assert again == found
    assert torch.equal(again.probabilities, found.probabilities)
    saved = json.loads((run.path / "evaluation.json").read_text(encoding="utf-8"))
    assert saved == json.loads(json.dumps(found.as_json()))
    assert [row["name"] for row in saved["classes"]] == ["blue", "green", "red & co"]
    with np.load(run.path / "predictions.npz") as arrays:
        assert arrays["names"][0].endswith("0.png")


def test_other_splits_and_other_data_leave_the_record_alone(run: Run, photos: Photos, tmp_path: Path) -> None:
    assert held_out(run) == "test"
    assert evaluate(run, split="train").images == 18, "a quarter of 24 training images was held out"
    assert evaluate(run, split="val").images == 6
    kept, held = open_split(run, "train"), open_split(run, "val")
    assert not {kept.name(i) for i in range(18)} & {held.name(i) for i in range(6)}
    evaluate(run, photos(tmp_path / "others"))
    assert load_evaluation(run) is None


def test_some_of_the_classes_in_their_own_order_are_renumbered(run: Run, photos: Photos, tmp_path: Path) -> None:
    found = evaluate(run, photos(tmp_path / "others", ("green", "red & co")))
    assert sorted(set(found.labels.tolist())) == [1, 2], "the run's numbers, not those of the folder"
    assert found.absent == ("blue",)
    assert "no images of class 'blue'" in found.text()
    assert found.as_json()["classes"][0]["recall"] is None


def test_unknown_classes_are_named(run: Run, photos: Photos, tmp_path: Path) -> None:
    others = photos(tmp_path / "others", ("green", "grey", "red & co", "violet"))
    with pytest.raises(FovealError, match=r"has classes 'grey', 'violet'.*lacks class 'blue'"):
        evaluate(run, others)


def test_a_split_that_is_not_there(run: Run, photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=r"has no val split\nit has train, test: choose split=test"):
        evaluate(run, photos(tmp_path / "others"), split="val")
    with pytest.raises(FovealError, match="did you mean center_crop"):
        evaluate(run, protocols=("centre_crop",))


def test_unreadable_pictures_are_listed(run: Run, photos: Photos, tmp_path: Path) -> None:
    others = photos(tmp_path / "others")
    (others / "test" / "blue" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    found = evaluate(run, others)
    assert found.images == 24
    assert [Path(file).name for file, _ in found.skipped] == ["broken.png"]
    assert "unreadable and skipped: 1, " in found.text()
    strict = Run(run.path)
    strict.recipe = run.recipe.with_settings(strict=True)
    with pytest.raises(FovealError, match=r"broken\.png"):
        evaluate(strict, others)


def test_further_protocols_keep_their_names(run: Run) -> None:
    found = evaluate(run, protocols=("center_crop", "foveal.protocols.center_crop:center_crop"))
    assert found.metrics["foveal.protocols.center_crop:center_crop/top1_error"] == found.metrics["top1_error"]


def test_the_text_has_all_figures(run: Run) -> None:
    text = evaluate(run).text()
    for part in ("mlp (best)", "test split: 24 images, 3 classes", "top-1 error", "95 % interval", "cross entropy"):
        assert part in text
    assert "red & co" in text
    assert all(len(line) <= 120 for line in text.splitlines()[1:])


def test_own_data_that_are_not_as_in_training_are_refused(run: Run, paint: Callable[..., None], tmp_path: Path) -> None:
    moved = shutil.copytree(run.recipe.data, tmp_path / "moved")
    run.recipe = run.recipe.with_settings(data=str(moved))
    evaluate(run)
    paint(moved / "train" / "blue" / "new.png", "blue", seed=1)
    with pytest.raises(FovealError, match=r"not those that .* was trained on: 18 train, 6 val, 24 test images then"):
        evaluate(run)


def test_own_data_are_known_however_they_are_spelt(run: Run) -> None:
    evaluate(run, f"{run.recipe.data}/../photos/")
    found = load_evaluation(run)
    assert found is not None and found.data == run.recipe.data


def test_only_the_best_is_kept_as_the_runs_figure(run: Run) -> None:
    evaluate(run, checkpoint="last")
    evaluate(run, checkpoint=str(run.path / "best" / "weights.safetensors"))
    assert load_evaluation(run) is None


def test_a_part_of_data_without_splits_is_said_to_be_one(run: Run, photos: Photos, tmp_path: Path) -> None:
    others = photos(tmp_path / "others")
    assert "splits of its own" not in evaluate(run, others).text()
    found = evaluate(run, others / "train")
    assert found.images < 24
    assert "train has no splits of its own: measured was the part that would be its test split" in found.text()
    assert found.as_json()["note"] == found.note
