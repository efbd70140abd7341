"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """`real_data("mnist")`: the folder of a public set below $FOVEAL_DATA; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        root = os.environ.get("FOVEAL_DATA")
        if not root:
            pytest.skip(f"needs {name}: set FOVEAL_DATA to a folder that holds it")
        folder = Path(root) / name
        if not folder.exists():
            pytest.skip(f"needs {folder}, which does not exist")
        return folder

    return find
