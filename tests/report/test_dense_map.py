"""A run's map over a picture: the classifier's own answers, as numbers and as a drawing; and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.errors import FovealError
from foveal.report.dense_map import DenseMap, dense_map
from foveal.training.run import Run


def test_the_middle_is_what_predict_says(run: Run, tmp_path: Path) -> None:
    _, height, width = run.recipe.input
    pixels = np.random.default_rng(0).integers(0, 256, (height + 6, width + 9, 3), dtype=np.uint8)
    file = tmp_path / "street.png"
    Image.fromarray(pixels).save(file)
    found = dense_map(run, file, stride=3)
    assert found.probabilities.shape == (len(run.classes), -(-(height + 6) // 3), -(-(width + 9) // 3))
    row, column = height // 2 // 3 + 1, width // 2 // 3 + 1
    top, left = row * 3 - height // 2, column * 3 - width // 2
    patch = torch.from_numpy(pixels[top : top + height, left : left + width]).movedim(-1, 0)
    expected = run.predictor()(patch[None])[0]
    assert torch.allclose(found.probabilities[:, row, column], expected, atol=2e-2)  # bfloat16 where it pays


def test_overlay_and_numbers(tmp_path: Path) -> None:
    probabilities = torch.zeros(3, 4, 5)
    probabilities[0, :, :2] = 1.0
    probabilities[2, :, 2:] = 1.0
    found = DenseMap(probabilities, ("sky", "road", "tree"), torch.full((3, 8, 10), 100, dtype=torch.uint8), 2)
    assert found.shares() == [("tree", 0.6), ("sky", 0.4), ("road", 0.0)]
    picture = np.asarray(Image.open(found.save(tmp_path / "map.png")))
    assert picture.shape[1] >= 10 and picture.shape[0] > 8
    assert len(np.unique(picture[:8, :4].reshape(-1, 3), axis=0)) == 1  # one colour, of the sky
    assert (picture[0, 0] != picture[0, 9]).any()
    assert np.array_equal(np.load(found.save(tmp_path / "map.npy")), probabilities.numpy())
    with pytest.raises(FovealError, match=r"written as \.png or \.npy"):
        found.save(tmp_path / "map.jpg")


def test_background_has_no_colour() -> None:
    probabilities = torch.zeros(2, 4, 4)
    probabilities[0, :, :2] = probabilities[1, :, 2:] = 1.0
    image = torch.full((1, 4, 4), 100, dtype=torch.uint8)
    picture = np.asarray(DenseMap(probabilities, ("digit", "background"), image, 1).overlay())[:4, :4]
    assert (picture[:, 2:] == 100).all() and (picture[:, :2] != 100).any()
