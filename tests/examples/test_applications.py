"""The lectures' applications: each learns within seconds what it is to find."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_circles_are_measured() -> None:
    assert runpy.run_path(str(EXAMPLES / "circles.py"))["main"](steps=150) < 3.5  # the mean circle: 5.6


def test_joints_are_found() -> None:
    assert runpy.run_path(str(EXAMPLES / "keypoints.py"))["main"](steps=120) > 0.5


def test_spoofs_are_told_from_live_faces() -> None:
    assert runpy.run_path(str(EXAMPLES / "live_or_spoof.py"))["main"](length=3) > 0.8
