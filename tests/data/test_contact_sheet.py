"""The contact sheet shows what it should, where it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.data.contact_sheet import _CELL, _ROW, contact_sheet
from foveal.data.dataset import ArraySet, FileSet
from foveal.errors import FovealError

_RED, _GREEN = (255, 0, 0), (0, 160, 0)


def coloured(counts: tuple[int, int], split: str = "train", side: int = 16) -> ArraySet:
    """Class "red" and class "green", each of its colour."""
    labels = torch.tensor([0] * counts[0] + [1] * counts[1], dtype=torch.int64)
    images = torch.tensor([_RED, _GREEN], dtype=torch.uint8)[labels][:, :, None, None].expand(-1, -1, side, side)
    return ArraySet(images, labels, ("red", "green"), split)


def has(sheet: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.asarray(sheet) == colour).all(2)


def test_each_class_has_its_row_of_samples() -> None:
    sheet = contact_sheet({"train": coloured((20, 3)), "test": coloured((2, 1), "test")}, samples=5)
    enlarged = (_CELL // 16 * 16) ** 2
    red, green = has(sheet, _RED), has(sheet, _GREEN)
    assert red.sum() == (5 + 2) * enlarged
    assert green.sum() == (3 + 1) * enlarged
    assert np.flatnonzero(green.any(1))[0] - np.flatnonzero(red.any(1))[0] == _ROW


def test_images_keep_their_proportions_and_fit(tmp_path: Path) -> None:
    wide, tall = np.zeros((20, 600, 3), np.uint8), np.zeros((300, 10, 3), np.uint8)
    wide[:], tall[:] = _RED, _GREEN
    for name, array in (("wide", wide), ("tall", tall)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    files = FileSet([tmp_path / "wide.png", tmp_path / "tall.png"], torch.tensor([0, 1]), ("wide", "tall"), "train")
    sheet = contact_sheet({"train": files})
    for colour, expected in ((_RED, (2, _CELL)), (_GREEN, (_CELL, 2))):
        found = has(sheet, colour)
        assert (found.any(1).sum(), found.any(0).sum()) == expected


def test_a_damaged_file_shows_as_a_cross_and_is_not_fatal(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    Image.new("RGB", (30, 30), _RED).save(tmp_path / "good.png")
    files = FileSet([tmp_path / "bad.png", tmp_path / "good.png"], torch.tensor([0, 1]), ("a", "b"), "train")
    sheet = contact_sheet({"train": files})
    assert has(sheet, _RED).any()
    assert has(sheet, (190, 60, 60)).sum() > 50


def test_same_seed_same_sheet_and_the_file_is_it(tmp_path: Path) -> None:
    images = ArraySet(
        torch.randint(0, 256, (60, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)),
        torch.arange(60) % 3,
        ("a", "b", "c"),
        "train",
    )
    first = contact_sheet({"train": images}, tmp_path / "deep" / "sheet.png", seed=1)
    assert np.array_equal(first, contact_sheet({"train": images}, seed=1))
    assert not np.array_equal(first, contact_sheet({"train": images}, seed=2))
    with Image.open(tmp_path / "deep" / "sheet.png") as written:
        assert written.format == "PNG"
        assert np.array_equal(written, first)


def test_many_classes_are_cut_and_long_names_too() -> None:
    names = [f"a class with quite a long name indeed, number {i}" for i in range(100)]
    many = ArraySet(torch.zeros(100, 1, 8, 8, dtype=torch.uint8), torch.arange(100), names, "train")
    few, all_ = contact_sheet({"train": many}, classes=10), contact_sheet({"train": many}, classes=100)
    assert all_.height - few.height == 90 * _ROW - 30  # ten rows and a foot that says what is left out
    assert few.width < 900


def test_mistakes_are_said(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="needs images"):
        contact_sheet({"train": coloured((0, 0))})
    with pytest.raises(FovealError, match="samples=0"):
        contact_sheet({"train": coloured((1, 1))}, samples=0)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FovealError, match="cannot be written"):
        contact_sheet({"train": coloured((1, 1))}, tmp_path / "file" / "sheet.png")
