"""key=value words."""

from __future__ import annotations

import pytest

from foveal.cli.settings import parse_options, parse_settings, parse_shape
from foveal.cli.tables import table
from foveal.errors import FovealError


def test_settings_stay_text_lists_are_split_and_dots_nest() -> None:
    words = [
        "lr=0.1",
        "data=001",
        "augment=affine(degrees=5, shift=0.1),flip",
        "options.towers=1",
        "options.sizes=12, 24.5,-1e-3",
        "options.text=5Conv6, 3",
        "mean=[0.5,0.5,0.5]",
    ]
    assert parse_settings(words) == {
        "lr": "0.1",
        "data": "001",
        "augment": ["affine(degrees=5, shift=0.1)", "flip"],
        "options": {"towers": 1, "sizes": [12, 24.5, -0.001], "text": "5Conv6, 3"},
        "mean": [0.5, 0.5, 0.5],
    }


def test_options_are_json_or_text() -> None:
    assert parse_options(["shortcut=A", "towers=1", "zero_init_residual=true"]) == {
        "shortcut": "A",
        "towers": 1,
        "zero_init_residual": True,
    }


@pytest.mark.parametrize("word", ["lr", "=3"])
def test_a_word_that_is_no_setting(word: str) -> None:
    with pytest.raises(FovealError, match="key=value"):
        parse_settings([word])
    with pytest.raises(FovealError, match="key=value"):
        parse_options([word])


@pytest.mark.parametrize("text", ["3x", "ax2x2", "0x5x5", ""])
def test_a_shape_that_is_none(text: str) -> None:
    with pytest.raises(FovealError, match="3x224x224"):
        parse_shape(text)


def test_shapes() -> None:
    assert parse_shape("3x227x227") == (3, 227, 227)


def test_numbers_stand_to_the_right() -> None:
    assert table(("name", "n"), [("a", 1), ("bcd", 1000)]).splitlines() == [
        "name      n",
        "────  ─────",
        "a         1",
        "bcd   1,000",
    ]
