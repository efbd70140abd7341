"""Every example runs as it stands, prints what it found, and finds most of it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
LEAST = {"sequence_1d": 0.85, "volume_3d": 0.7}  # share of digits that must be found and named


@pytest.mark.parametrize("name", LEAST)
def test_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    share = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()
    assert share >= LEAST[name]
    assert f"({share:.1%})" in (printed := capsys.readouterr().out) or "solids found and named" in printed
