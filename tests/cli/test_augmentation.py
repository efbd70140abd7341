"""`foveal show --augment` draws a recipe's augmented samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def test_a_recipe_by_name(foveal: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = foveal("show", "--augment", "lenet5_digits")
    assert shown.status == 0 and "lenet5_digits_augmented.png" in shown.out
    with Image.open("lenet5_digits_augmented.png") as sheet:
        assert sheet.format == "PNG" and sheet.width > 1000


def test_a_network_on_pictures_with_settings(
    foveal: Callable[..., Any], pictures: Callable[..., Path], tmp_path: Path
) -> None:
    data, out = pictures(tmp_path / "pictures"), tmp_path / "sheet.png"
    words = (f"data={data}", "input=1,32,32", "prepare=", "augment=rotation(10),vignette", "mean=0.5", "std=0.5")
    shown = foveal("show", "--augment", "resnet20", *words, "--out", out)
    assert shown.status == 0, shown.err
    assert shown.out.startswith("2 random steps on ") and out.is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--augment", "lenet5_digit"), "did you mean lenet5_digits"),
        (("--augment", "lenet5_digits", "augment=rotatoin(4)"), "did you mean rotation"),
        (("--augment", "lenet5_digits", "data=./nowhere"), "nowhere"),
        (("vgg16", "--out", "x.png"), "is for --augment"),
    ],
)
def test_what_is_wrong_is_said(foveal: Callable[..., Any], words: tuple[str, ...], message: str) -> None:
    shown = foveal("show", *words)
    assert shown.status == 2 and message in shown.err
