"""A run that learned masks, from its images to its report, its predictions and the commands."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from foveal.cli import main
from foveal.data.formats import masks as masks_format
from foveal.errors import FovealError
from foveal.evaluation import evaluate
from foveal.evaluation.masks import MaskEvaluation, load_mask_evaluation
from foveal.exporting import export
from foveal.models import create
from foveal.prediction import find_pictures, predict, predictions
from foveal.report import write_report
from foveal.report.mask_pictures import errors
from foveal.training.recipe import Recipe
from foveal.training.run import Run
from foveal.training.segmenter import Segmenter
from foveal.training.train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on bright squares on dark ground; do not write into it: take `run`."""
    root = tmp_path_factory.mktemp("masks")
    masks_format.example(root / "squares")
    recipe = Recipe(
        name="squares",
        task="segment",
        model="unet",
        options={"width": 2, "batch_norm": True},
        data=str(root / "squares"),
        input=(3, 24, 32),
        unit="iterations",
        length=6,
        batch_size=3,
        optimizer="adamw",
        lr=0.01,
        evaluate_every=3,
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
    measured, loaded = evaluate(run), load_mask_evaluation(run.path)
    assert isinstance(measured, MaskEvaluation) and loaded is not None
    assert loaded.as_json() == measured.as_json()
    assert torch.equal(loaded.confusion, measured.confusion)
    assert int(measured.confusion.sum()) == 3 * 24 * 32
    assert measured.text() == loaded.text()


def test_boundaries_where_they_are_asked_for(run: Run) -> None:
    measured = evaluate(run, protocols=["whole_image(boundary=0.0075)"])
    loaded = load_mask_evaluation(run.path)
    assert isinstance(measured, MaskEvaluation) and loaded is not None
    assert 0 <= measured.metrics["boundary_f1"] <= 100
    assert loaded.class_table == measured.class_table and "boundary_f1" in loaded.class_table[0]
    assert "boundary F1" in loaded.text() and "boundary f1" in write_report(run).read_text(encoding="utf-8")


def test_the_report_has_every_part(run: Run) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    found = load_mask_evaluation(run.path)
    assert found is not None
    for anchor in ("course", "data", "classes", "confusion", "images", "architecture", "record"):
        assert f'id="{anchor}"' in page and f'href="#{anchor}"' in page
    assert f"{found.metrics['mean_iu']:.2f} %" in page
    assert page.count("<img") == 3 + 3 * 4 + 1  # samples, three test images in four views, the filters
    assert "mean iu" in page and "ground" in page


def test_the_report_does_without_images(run: Run) -> None:
    settings = json.loads((run.path / "recipe.json").read_text(encoding="utf-8"))
    (run.path / "recipe.json").write_text(json.dumps(settings | {"data": "gone"}), encoding="utf-8")
    page = write_report(Run(run.path)).read_text(encoding="utf-8")
    assert "Without pictures of the data" in page and page.count("<img") == 1


def test_onnxruntime_gives_the_same_probabilities(run: Run, tmp_path: Path) -> None:
    found = export(run, tmp_path / "unet.onnx", size=(32, 48))
    assert found.outputs == ("probabilities",) and found.input == (1, 3, 32, 48)
    assert found.checked > 0 and found.difference < 1e-4


def test_predictions_have_the_pictures_size(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 75, 3), dtype=np.uint8)).save(picture)
    (found,) = predict(run, picture)
    assert found.labels.shape == (61, 75) and found.labels.dtype == torch.uint8
    assert sum(share for _, share in found.shares()) == pytest.approx(1)
    with Image.open(found.save_mask(tmp_path / "mask.png")) as mask:
        assert mask.mode == "P" and np.array_equal(np.asarray(mask), found.labels.numpy())
    with Image.open(found.save_overlay(tmp_path / "overlay.png")) as overlay:
        assert overlay.size[0] >= 75 and overlay.size[1] > 61
    with pytest.raises(FovealError, match=r"written as \.png"):
        found.save_mask(tmp_path / "mask.jpg")


def test_tiles_give_what_the_whole_image_does(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (500, 80, 3), dtype=np.uint8)).save(picture)
    done: list[tuple[int, int]] = []
    whole, cut = (
        next(predictions(run, picture, tile=tile, progress=lambda *at: done.append(at))) for tile in (600, 464)
    )
    assert (whole.tiles, whole.seams) == (1, "none")
    assert (cut.tiles, cut.seams) == (2, "exact") and done == [(1, 2), (2, 2)]
    assert (whole.labels != cut.labels).float().mean() < 1e-3  # rounding may turn a tie
    (blended,) = predict(run, picture, tile=64)
    assert blended.seams == "blended" and "blended" in blended.text()
    assert blended.labels.shape == (500, 80)


def test_networks_that_do_not_pad_take_images_whole(run: Run) -> None:
    padded = run.segmenter()
    model = create("unet", 2, borders="valid", width=2).eval()
    wide = padded.recipe.with_settings(input=(3, 204, 204))
    segmenter = Segmenter(model, wide, padded.classes, padded.placement, padded.pipeline)
    assert segmenter.tiles(300, 1000).count == 1
    assert next(segmenter.strips(torch.zeros(3, 300, 220, dtype=torch.uint8))).shape == (2, 116, 36)
    segmenter.tile = 256
    assert segmenter.tiles(200, 256).count == 1
    with pytest.raises(FovealError, match="do not pad") as caught:
        segmenter.tiles(300, 256)
    assert "borders=mirror" in caught.value.mend


def test_unreadable_pictures_have_their_reason(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"")
    (found,) = predict(run, tmp_path / "broken.png")
    assert found.error == "the file is empty" and "not read" in found.text() and found.shares() == []
    with pytest.raises(FovealError, match="was not read"):
        found.mask()
    with pytest.raises(FovealError, match="the file is empty"):
        predict(run, tmp_path / "broken.png", strict=True)


def test_the_command(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["foveal", "predict", str(run.path), *words])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    pictures = find_pictures([Path(run.recipe.data) / "test" / "images"])
    assert status(pictures[0], "--overlay", str(tmp_path / "o.png")) == 0
    assert "ground" in capsys.readouterr().out and (tmp_path / "o.png").exists()
    assert status(*pictures, "--out", str(tmp_path / "masks"), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in told] == pictures and {one["width"] for one in told} == {32}
    names = sorted(file.name for file in (tmp_path / "masks").iterdir())
    assert names == [f"{i}{end}" for i in range(3) for end in (".overlay.png", ".png")]
    assert status(*pictures, "--overlay", str(tmp_path / "o.png")) == 2
    assert "use --out FOLDER" in capsys.readouterr().err


def test_errors_are_orange_and_ignored_pixels_black() -> None:
    image = torch.full((3, 1, 3), 100, dtype=torch.uint8)
    drawn = errors(image, torch.tensor([[0, 1, 255]]).byte(), torch.tensor([[0, 0, 0]]).byte())
    expected = Tensor([[197, 207, 0], [197, 90, 0], [197, 27, 0]]).byte()
    assert torch.equal(drawn[:, 0], expected)
