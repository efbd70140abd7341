"""`foveal explain` on runs and networks: pictures in, a drawing and arrays out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def test_pictures_and_numbers_are_written(foveal: Callable[..., Any], copy: Path) -> None:
    found = foveal("explain", "saliency", "run", "photos/cat/0.png", "photos/dog/1.png", "--out", "seen")
    assert found.status == 0
    assert found.out.startswith("saliency: seen/saliency.png")
    assert np.load(copy / "seen" / "saliency.saliency.npy").shape == (2, 32, 32)
    with Image.open(copy / "seen" / "saliency.png") as picture:
        assert picture.width > picture.height // 2


def test_one_sheet_an_image_where_a_method_takes_one(foveal: Callable[..., Any], copy: Path) -> None:
    words = ("photos/cat/0.png", "photos/cat/1.png", "--layer", "C1", "--out", "seen.png")
    found = foveal("explain", "activations", "run", *words)
    assert found.status == 0, found.err
    assert len(found.out.splitlines()) == 2
    assert (copy / "seen-0.png").is_file()
    assert (copy / "seen-1.maps.npy").is_file()


def test_classes_go_by_name_and_the_runs_own_data_are_found(foveal: Callable[..., Any], copy: Path) -> None:
    picture = "photos/owl/2.png"
    named = foveal("explain", "occlusion", "run", picture, "window=8", "stride=8", "--target", "owl", "--out", "a.png")
    assert named.status == 0, named.err
    assert "owl: p = " in named.out
    assert np.load(copy / "a.probability.npy").shape == (4, 4)
    near = foveal("explain", "neighbours", "run", picture, "count=2", "--out", "near.png")
    assert near.status == 0, near.err
    assert "2 nearest of " in near.out
    assert foveal("explain", "maximise", "run", "--target", "1", "steps=4", "--out", "dream.gif").status == 0
    assert (copy / "dream.image.npy").is_file()


def test_a_network_of_the_catalogue(foveal: Callable[..., Any], copy: Path) -> None:
    found = foveal("explain", "gridding", "lenet5", "--out", "grid.png")
    assert found.status == 0, found.err
    assert "sees" in found.out


def test_a_method_alone_is_described(foveal: Callable[..., Any], place: Path) -> None:
    found = foveal("explain", "deconvnet")
    assert found.status == 0
    assert "overlap:" in found.out


@pytest.mark.parametrize(
    ("words", "what", "mend"),
    [
        ("explain saliency run", "saliency explains an image, and none was given", "give one, as the network takes it"),
        (
            "explain saliency run gone.png",
            "gone.png: there is no such file",
            "save or download it again, or take it out of the set",
        ),
        ("explain saliency run photos/cat/0.png --target cta", "unknown class 'cta'", "did you mean cat?"),
        (
            "explain saliency run photos/cat/0.png --data photos",
            "saliency looks at no set of images",
            "leave the data away",
        ),
        (
            "explain deconvnet run photos/cat/0.png --layer C9",
            "unknown layer 'C9'",
            "known: C1, C3, C5, F6, S2, S4, flatten, output, tanh1, tanh2, tanh3, tanh4, tanh5, tanh6",
        ),
    ],
)
def test_mistakes(refused: Callable[..., Any], place: Path, words: str, what: str, mend: str) -> None:
    refused(words, what, mend)
