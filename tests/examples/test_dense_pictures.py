"""The examples of dense prediction run, and find what is there."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from foveal.errors import FovealError

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_page_of_digits_is_read(tmp_path: Path) -> None:
    right = example("digit_page").main(out=str(tmp_path / "page.png"), length=2)
    assert right > 0.7
    assert Image.open(tmp_path / "page.png").size[0] == 480


def test_street_scenes_are_labelled(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    street, data = example("street_patches"), str(real_data("camvid"))
    accuracy = street.main(data, steps=12, scenes=2, out=str(tmp_path / "street.png"))
    assert accuracy > 0.2  # of eleven classes
    picture = Image.open(tmp_path / "street.png").convert("RGB")
    assert {street.COLOURS[name] for name in ("pole", "bicyclist")} <= {
        colour for _, colour in picture.getcolors(1 << 24)
    }
    again = street.main(data, scenes=2, out=str(tmp_path / "again.png"), weights=str(tmp_path / "street.safetensors"))
    assert again == accuracy


def test_a_folder_without_scenes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=r"has no classes\.txt"):
        example("street_patches").main(str(tmp_path))
