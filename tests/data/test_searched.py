"""Windows of a whole set, found by several processes: those that training and test will ask for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from torch import Tensor

from foveal.data.formats import voc
from foveal.data.joint import JointSamples
from foveal.data.open import open_data
from foveal.data.pipeline import Pipeline
from foveal.data.searched import search_ahead
from foveal.errors import FovealError
from foveal.proposals.search import Remembered, Search


def test_images_are_searched_as_training_and_test_show_them(tmp_path: Path) -> None:
    voc.example(tmp_path / "tiles")
    images = open_data(tmp_path / "tiles", "train", task="detect")
    many = images.select([i % len(images) for i in range(8)])
    pipeline = Pipeline(("resize_exact(40, 60)",), ("flip",), (3, 32, 48), 0, ("resize_exact(32, 48)",))
    search = Remembered(Search("single", windows=9, least_side=4), tmp_path / "windows")
    told: list[tuple[int, int]] = []
    for train in (True, False):
        search_ahead(many, pipeline, search, train=train, workers=2, progress=lambda *both: told.append(both))
    assert told == [(n, 8) for n in range(1, 9)] * 2
    there = set((tmp_path / "windows").iterdir())
    assert len(there) == 2 * len(images)
    for i in range(len(images)):
        JointSamples(images, pipeline, True, search).prepared(i)
        search(pipeline.prepare(images.load(i)))
    assert set((tmp_path / "windows").iterdir()) == there


def test_few_images_and_no_processes_are_left_for_later(tmp_path: Path) -> None:
    voc.example(tmp_path / "tiles")
    images = open_data(tmp_path / "tiles", "train", task="detect")
    search = Remembered(Search("single"), tmp_path / "windows")
    search_ahead(images.select([0] * 7), Pipeline((), (), (3, 32, 48), 0), search, train=True, workers=2)
    search_ahead(images.select([0] * 9), Pipeline((), (), (3, 32, 48), 0), search, train=True, workers=0)
    assert not (tmp_path / "windows").exists()


def test_an_image_that_is_gone_is_named(tmp_path: Path) -> None:
    voc.example(tmp_path / "tiles")
    images = open_data(tmp_path / "tiles", "train", task="detect").select([0] * 8)
    Path(images.name(0)).unlink()
    search = Remembered(Search("single"), tmp_path / "windows")
    with pytest.raises(FovealError, match=Path(images.name(0)).name):
        search_ahead(images, Pipeline((), (), (3, 32, 48), 0), search, train=False, workers=1)


class Ended(Remembered):
    """A search whose process is killed, as the system does when memory is short."""

    def __call__(self, image: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return image


def test_a_process_that_is_ended_is_said(tmp_path: Path) -> None:
    voc.example(tmp_path / "tiles")
    images = open_data(tmp_path / "tiles", "train", task="detect").select([0] * 8)
    search = Ended(Search("single"), tmp_path / "windows")
    with pytest.raises(FovealError, match="ended from outside"):
        search_ahead(images, Pipeline((), (), (3, 32, 48), 0), search, train=False, workers=1)
