"""What a person sees of the reading of images: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console as Rich

from foveal.recipes import resolve
from foveal.training.console import Console
from foveal.training.inputs import open_inputs


def test_reading_images_has_a_bar_on_a_terminal_alone(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(generator.integers(0, 256, (32, 32), dtype=np.uint8)).save(tmp_path / name / f"{i}.png")
    shown: dict[bool, str] = {}
    for terminal in (True, False):
        stream = io.StringIO()
        console = Console(rich=Rich(file=stream, force_terminal=terminal, width=80))
        with console.counting("images") as progress:
            assert (progress is not None) == terminal
            open_inputs(resolve("lenet5", data=str(tmp_path)), progress=progress)
        shown[terminal] = stream.getvalue()
    assert "images" in shown[True]
    assert "2/2" in shown[True]  # the last split: one test image of each class
    assert shown[False] == ""
