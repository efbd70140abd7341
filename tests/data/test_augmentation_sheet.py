"""The sheet shows exactly what the pipeline makes, and says what it cannot show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.data import augmentation_sheet as sheets
from foveal.data.augmentation_sheet import augmentation_sheet
from foveal.data.dataset import ArraySet, FileSet
from foveal.data.pipeline import Pipeline
from foveal.errors import FovealError


def pictures(count: int = 12, side: int = 32) -> ArraySet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return ArraySet(images, torch.arange(count) % 3, ("a", "b", "c"), "train")


def cell(sheet: Image.Image, column: int, y: int) -> np.ndarray:
    x = sheets._left(column)
    return np.asarray(sheet)[y : y + sheets._CELL, x : x + sheets._CELL]


def enlarged(image: torch.Tensor) -> np.ndarray:
    factor = sheets._CELL // image.shape[2]
    return image.permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1)


def test_every_cell_is_what_training_and_test_see() -> None:
    images, pipeline = pictures(), Pipeline((), ("pad_crop(4)", "flip", "colour_cast"), (3, 32, 32), seed=5)
    sheet = augmentation_sheet(images, pipeline, samples=3, epochs=4, seed=1)
    chosen = sheets._chosen(images, 3, 1)
    assert sorted(int(images.labels[i]) for i in chosen) == [0, 1, 2]
    first = sheets._MARGIN + sheets._TITLE + 4 * sheets._LINE_HEIGHT + 2 * sheets._GAP + sheets._HEAD
    for row, i in enumerate(chosen):
        y = first + sheets._STEP * row
        assert np.array_equal(cell(sheet, 0, y), enlarged(images.images[i]))
        assert np.array_equal(cell(sheet, 1, y), enlarged(images.images[i]))
        for epoch in range(4):
            seen = pipeline.augment(images.images[i : i + 1], torch.tensor([i]), epoch)[0]
            assert np.array_equal(cell(sheet, 2 + epoch, y), enlarged(seen))
    second = first + 3 * sheets._STEP + sheets._BETWEEN + sheets._HEAD
    last = second + 2 * (sheets._STEP + sheets._CAPTION)
    for epoch in range(4):  # after its last step the sample is what the row above shows
        assert np.array_equal(cell(sheet, 2 + epoch, last), cell(sheet, 2 + epoch, first))
    assert not np.array_equal(cell(sheet, 2, second), cell(sheet, 2, last))


def test_stages_end_where_augment_does() -> None:
    images = pictures().images
    pipeline = Pipeline((), ("scale_jitter(33, 40)", "random_crop(32)", "v2.RandomVerticalFlip()"), (3, 32, 32))
    stages = list(pipeline.stages(list(images), torch.arange(12), 2))
    assert len(stages) == 3
    assert torch.equal(torch.as_tensor(stages[-1]), pipeline.augment(images, torch.arange(12), 2))
    assert {min(image.shape[1:]) for image in stages[0]} > {33, 40}


def test_no_random_steps_no_second_part() -> None:
    images = pictures()
    with_steps = augmentation_sheet(images, Pipeline((), ("flip",), (3, 32, 32)), samples=2)
    without = augmentation_sheet(images, Pipeline((), (), (3, 32, 32)), samples=2)
    assert without.height < with_steps.height and without.width == with_steps.width


def test_same_seed_same_sheet_and_the_file_is_it(tmp_path: Path) -> None:
    images, pipeline = pictures(), Pipeline((), ("flip",), (3, 32, 32))
    first = augmentation_sheet(images, pipeline, tmp_path / "deep" / "sheet.png", samples=2, epochs=2)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep" / "sheet.png")), np.asarray(first))
    assert first.tobytes() == augmentation_sheet(images, pipeline, samples=2, epochs=2).tobytes()
    assert first.tobytes() != augmentation_sheet(images, pipeline, samples=2, epochs=2, seed=9).tobytes()


def test_unreadable_images_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "good.png")
    files = FileSet([tmp_path / "bad.png", tmp_path / "good.png"], torch.tensor([0, 1]), ("a", "b"), "train")
    pipeline = Pipeline((), ("random_crop(24)",), (3, 24, 24))
    assert sheets._chosen(files, 5, 0) == [1]
    augmentation_sheet(files, pipeline)
    with pytest.raises(FovealError, match="no image that can be read"):
        augmentation_sheet(files.select([0]), pipeline)
    with pytest.raises(FovealError, match="samples=0"):
        augmentation_sheet(files, pipeline, samples=0)
    with pytest.raises(FovealError, match="smaller than the network's 50x50"):
        augmentation_sheet(files, Pipeline((), (), (3, 50, 50)))
