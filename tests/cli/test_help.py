"""Help: instant, and its examples work as typed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

VERBS = (
    "train",
    "models",
    "show",
    "build",
    "check",
    "data",
    "recipes",
    "evaluate",
    "predict",
    "export",
    "explain",
    "report",
    "results",
    "study",
)


def examples(help_text: str, verb: str) -> list[str]:
    head = re.split(r"^(?:Arguments|Options):", help_text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^ *(foveal {verb}\b.*)$", head, re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_help_opens_with_two_examples(verb: str, foveal: Callable[..., Any]) -> None:
    shown = foveal(verb, "--help")
    assert shown.status == 0
    assert len(examples(shown.out, verb)) == 2


def test_help_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; sys.argv = ['foveal', '--help']\n"
        "from foveal.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'sklearn', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_the_examples_work_as_typed(
    foveal: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every example of every verb, in a folder that has what a user's would; training is shortened by --quick."""
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path)
    for verb in VERBS:
        for line in examples(foveal(verb, "--help").out, verb):
            words = shlex.split(line)[1:]
            result = foveal(*words, *(["--quick"] if verb in ("train", "study") else []))
            broken_rules = verb == "check" and "googlenet" in line  # the example of a network that fails
            assert result.status == (2 if broken_rules else 0), f"{line}\n{result.out}\n{result.err}"
            assert result.out.strip(), line


def photographs(folder: Path) -> None:
    """Two classes of small photographs in ./photos, some more in ./holidays, and photo.jpg."""
    generator = np.random.default_rng(0)
    for name, colour in (("cats", (200, 120, 40)), ("dogs", (40, 90, 200))):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(16):
            save(folder / "photos" / name / f"{i}.jpg", colour, generator)
    (folder / "holidays").mkdir()
    save(folder / "holidays" / "beach.jpg", (220, 200, 120), generator)
    save(folder / "photo.jpg", (200, 120, 40), generator)


def save(file: Path, colour: tuple[int, int, int], generator: np.random.Generator) -> None:
    pixels = np.clip(np.array(colour) + generator.normal(0, 30, (96, 128, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file)


def test_output_is_utf8_whatever_the_system_writes() -> None:
    """As on Windows into a file, where the encoding is of another age."""
    command = [sys.executable, "-m", "foveal", "Ω"]
    done = subprocess.run(command, check=False, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2
    assert "Ω" in done.stderr.decode("utf-8")
