"""predict(): files, folders, patterns, unreadable pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from foveal.errors import FovealError
from foveal.evaluation import evaluate
from foveal.prediction import find_pictures, predict
from foveal.training.run import Run

Paint = Callable[..., None]


@pytest.fixture
def pictures(paint: Paint, tmp_path: Path) -> Path:
    for i, name in enumerate(("blue", "green", "red & co")):
        paint(tmp_path / "new" / "deep" / name / f"{i}.png", name, seed=9000 + i, size=(90, 50))
    paint(tmp_path / "new" / "top.JPG", "blue", seed=1)
    (tmp_path / "new" / "notes.txt").write_text("no picture")
    paint(tmp_path / "new" / ".hidden.png", "blue", seed=2)
    return tmp_path / "new"


def test_files_folders_and_patterns(run: Run, pictures: Path) -> None:
    folder = predict(run, pictures, top=2)
    assert [Path(p.file).name for p in folder] == ["0.png", "1.png", "2.png", "top.JPG"]
    assert all(len(p.classes) == 2 and p.classes[0][1] >= p.classes[1][1] for p in folder)
    deep = predict(run, str(pictures / "**" / "*.png"), top=2)
    assert [p.file for p in deep] == [p.file for p in folder[:3]]
    for alone, together in zip(deep, folder[:3], strict=True):
        assert dict(alone.classes) == pytest.approx(dict(together.classes), abs=1e-5)
    assert find_pictures([pictures / "top.JPG", pictures]) == [p.file for p in (folder[3], *folder[:3])], (
        "each file once"
    )
    assert predict(str(run.path), pictures / "*"), "a pattern may be given with the run's path"
    full = predict(run, pictures, batch_size=3)
    assert [len(p.classes) for p in full] == [3] * 4
    assert sum(p for _, p in full[0].classes) == pytest.approx(1, abs=1e-5)


def test_predictions_are_those_of_the_evaluation(run: Run) -> None:
    found = evaluate(run)
    folder = predict(run, Path(run.recipe.data) / "test", top=1, batch_size=5)
    names = {Path(p.file).parent.name + Path(p.file).name: p.classes[0] for p in folder}
    assert len(names) == found.images
    expected = [found.classes[i] for i in found.predicted.tolist()]
    assert [name for name, _ in (p.classes[0] for p in folder)] == expected


def test_unreadable_pictures_are_listed_with_their_reason(run: Run, paint: Paint, pictures: Path) -> None:
    (pictures / "broken.png").write_bytes(b"")
    paint(pictures / "good.png", "blue", seed=5)
    found = {Path(p.file).name: p for p in predict(run, pictures, batch_size=2)}
    assert found["broken.png"].error == "the file is empty"
    assert found["broken.png"].as_json() == {"file": str(pictures / "broken.png"), "error": "the file is empty"}
    assert found["broken.png"].text().endswith("broken.png: not read: the file is empty")
    assert found["good.png"].error is None
    with pytest.raises(FovealError, match=r"broken\.png"):
        predict(run, pictures, strict=True)
    only = predict(run, pictures / "notes.txt")
    assert only[0].error is not None


def test_what_leads_to_nothing(run: Run, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for files, message in (
        (tmp_path / "missing.png", "no such file or folder"),
        (str(pictures / "*.tiff"), "matches no file"),
        (tmp_path / "empty", "holds no picture"),
        ([], "no picture was given"),
    ):
        with pytest.raises(FovealError, match=message):
            predict(run, files)
    with pytest.raises(FovealError, match="top=0"):
        predict(run, pictures, top=0)


def test_json_and_text(run: Run, pictures: Path) -> None:
    prediction = predict(run, pictures / "top.JPG", top=1)[0]
    content = json.loads(json.dumps(prediction.as_json()))
    assert content["classes"][0]["name"] == prediction.classes[0][0]
    assert prediction.text().endswith(" %")


def test_a_file_whose_name_is_a_pattern_is_itself(paint: Paint, pictures: Path) -> None:
    paint(pictures / "cat[1].png", "blue", seed=5)
    assert find_pictures(pictures / "cat[1].png") == [str(pictures / "cat[1].png")]
