"""The mean image: what it is, that training, resuming and using a run all subtract it, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import recipe

from foveal.data.open import open_data
from foveal.data.pipeline import normalise
from foveal.errors import FovealError
from foveal.training import mean_image
from foveal.training.console import Console
from foveal.training.run import Run
from foveal.training.train import resume, train


def short(out: Path, **settings: Any) -> Run:
    return train(recipe(length=1, mean_image=True, **settings), out=out, console=Console(silent=True))


def test_it_is_the_mean_over_the_training_set() -> None:
    images = open_data("digits", "train")
    expected = images.images.double().mean(0) / 255  # type: ignore[attr-defined]
    found = mean_image.compute(images, recipe())
    assert found.shape == (1, 8, 8) and torch.allclose(found.double(), expected, atol=1e-7)
    backwards = images.select(range(len(images) - 1, -1, -1))
    assert torch.equal(mean_image.compute(backwards, recipe()), found)


def test_augmentation_does_not_enter_it() -> None:
    images = open_data("digits", "train").select(range(100))
    plain = mean_image.compute(images, recipe(prepare=("pad(2)",), augment=()))
    cropped = mean_image.compute(images, recipe(prepare=("pad(2)",), augment=("random_crop(8)", "flip")))
    assert torch.equal(plain, cropped)  # the centre, whatever the crops


def test_normalise_subtracts_it_pixel_by_pixel() -> None:
    images = torch.randint(0, 256, (5, 3, 6, 7), dtype=torch.uint8)
    mean = torch.rand(3, 6, 7)
    expected = (images.double() / 255 - mean.double()) / torch.tensor([0.1, 0.2, 0.5]).double().view(1, 3, 1, 1)
    assert torch.allclose(normalise(images, mean, (0.1, 0.2, 0.5)).double(), expected, atol=1e-5)
    flat = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1).expand(3, 6, 7)
    assert torch.allclose(normalise(images, flat, (1.0,)), normalise(images, (0.1, 0.2, 0.3), (1.0,)), atol=1e-6)
    with pytest.raises(FovealError, match="a mean image of 3x6x7 cannot be subtracted from images of 3x9x9"):
        normalise(torch.zeros(1, 3, 9, 9, dtype=torch.uint8), mean, (1.0,))


def test_a_run_keeps_it_and_every_use_subtracts_it(tmp_path: Path) -> None:
    run = short(tmp_path / "run")
    stored = mean_image.load(run.path)
    images = open_data("digits", "test").images[:20]  # type: ignore[attr-defined]
    predictor = run.predictor()
    assert predictor.placement.mean_image is not None and torch.equal(predictor.placement.mean_image, stored)
    model = run.model()
    with torch.no_grad():
        expected = model(normalise(images, stored, run.recipe.std)).softmax(1)
    assert torch.allclose(predictor(images), expected, atol=1e-5)
    assert not torch.allclose(train(recipe(length=1), out=tmp_path / "colour").predictor()(images), expected, atol=1e-3)
    with pytest.raises(FovealError, match="cannot be subtracted"):
        predictor(torch.zeros(1, 1, 12, 12, dtype=torch.uint8))


def test_a_resumed_run_is_the_whole_one(tmp_path: Path) -> None:
    whole = short(tmp_path / "whole")
    part = short(tmp_path / "part", time_budget=1e-9)
    assert not part.finished
    part = resume(part, time_budget=0.0, console=Console(silent=True))
    for name, value in whole.model("last").state_dict().items():
        assert torch.equal(value, part.model("last").state_dict()[name]), name


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\x93NUMPY", "pickle", np.zeros((8, 8), np.float32), np.full((1, 8, 8), np.nan, np.float32)],
)
def test_a_damaged_one_is_refused(content: Any, tmp_path: Path) -> None:
    file = tmp_path / mean_image.FILE
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, np.ndarray):
        np.save(file, content)
    elif content:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FovealError, match=r"mean_image\.npy is missing or damaged"):
        mean_image.load(tmp_path)
