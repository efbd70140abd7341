"""Running the command line inside the test's own process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from foveal.cli import main


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def foveal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """`foveal("show", "vgg16")` as a shell would run it."""

    def run(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["foveal", *map(str, words)])
        capfd.readouterr()
        try:
            main()
            status = 0
        except SystemExit as leave:
            status = int(leave.code or 0)
        out, err = capfd.readouterr()
        return Result(status, out, err)

    return run
