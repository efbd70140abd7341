"""Windows that a detector looks at: searched for, given, or remembered."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from foveal.boxes.overlap import iou
from foveal.errors import FovealError
from foveal.proposals.search import Remembered, Search

MEAN, DEVIATION = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1), torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


def scene(scale: int = 1) -> Tensor:
    """A red rectangle on blue, uint8 [3, 60 * scale, 80 * scale]."""
    image = torch.zeros(3, 60 * scale, 80 * scale, dtype=torch.uint8)
    image[2] = 200
    image[:, 10 * scale : 40 * scale, 20 * scale : 60 * scale] = torch.tensor((220, 30, 20), dtype=torch.uint8)[
        :, None, None
    ]
    return image


OBJECT = torch.tensor((20.0, 10.0, 60.0, 40.0))


def test_large_images_are_searched_small_and_windows_are_in_their_pixels() -> None:
    for scale, side in ((1, 500), (4, 80)):
        found = Search("single", side=side, least_side=5 * scale)(scene(scale))
        assert float(iou(OBJECT * scale, found).max()) > 0.85  # of the small image a pixel more or less
        assert (found >= 0).all() and (found <= torch.tensor((80, 60) * 2) * scale).all()


def test_no_more_windows_than_wanted() -> None:
    assert len(Search("single", windows=1)(scene())) == 1


def test_normalised_images_are_searched_as_what_they_were() -> None:
    search = Search("single", least_side=5)
    images = ((scene().float() / 255 - MEAN) / DEVIATION)[None]
    assert torch.equal(search.of(images, None)[0], search(scene()))


def test_given_windows_are_cut_to_the_image() -> None:
    search = Search(windows=2)
    given = [torch.tensor([[-5.0, 5.0, 20.0, 30.0], [90.0, 5.0, 99.0, 30.0], [0.0, 0.0, 9.0, 9.0]]), torch.zeros(0, 4)]
    first, second = search.of(torch.zeros(2, 3, 60, 80), given)
    assert first.tolist() == [[0, 5, 20, 30]]  # the second lies outside, the third is one too many
    assert second.tolist() == [[0, 0, 80, 60]]


def test_nothing_is_searched_on_the_meta_device() -> None:
    windows = Search(windows=7).of(torch.empty(2, 3, 60, 80, device="meta"), None)
    assert [tuple(own.shape) for own in windows] == [(7, 4), (7, 4)]


def test_bad_windows_are_refused() -> None:
    search, images = Search(), torch.zeros(2, 3, 8, 8)
    with pytest.raises(FovealError, match="windows of 1 images are given for 2"):
        search.of(images, [torch.zeros(1, 4)])
    with pytest.raises(FovealError, match=r"shape \[4\]"):
        search.of(images, [torch.zeros(4)] * 2)
    with pytest.raises(FovealError, match="did you mean quality"):
        Search("qualty")  # type: ignore[arg-type]
    with pytest.raises(FovealError, match="windows=0"):
        Search(windows=0)


class Counting(Search):
    """A search that counts."""

    asked: ClassVar[list[int]] = []

    def __call__(self, image: Tensor) -> Tensor:
        self.asked.append(1)
        return super().__call__(image)


def test_an_image_is_searched_once(tmp_path: Path) -> None:
    search = Counting("single", least_side=5)
    first = Remembered(search, tmp_path / "windows")(scene())
    again = Remembered(search, tmp_path / "windows")(scene())
    assert torch.equal(first, again) and len(search.asked) == 1
    Remembered(search, tmp_path / "windows")(scene() + 1)  # other pixels
    Remembered(Counting("single", least_side=6), tmp_path / "windows")(scene())  # another search
    assert len(search.asked) == 3
    files = list((tmp_path / "windows").iterdir())
    assert len(files) == 3 and all(np.load(file, allow_pickle=False).shape[1] == 4 for file in files)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    remembered = Remembered(Search("single", least_side=5), tmp_path)
    remembered(scene())
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"\x93NUMPY")
    with pytest.raises(FovealError, match="is damaged"):
        remembered(scene())
    (tmp_path / "place").write_text("")
    with pytest.raises(FovealError, match="cannot be written"):
        Remembered(Search("single", least_side=5), tmp_path / "place")(scene())
