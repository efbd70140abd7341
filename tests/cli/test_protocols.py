"""Protocols and ensembles on the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Result

Foveal = Callable[..., Result]


def test_several_protocols_are_one_table(copy: Path, foveal: Foveal) -> None:
    result = foveal("evaluate", "run", "--protocol", "center_crop", "--protocol", "ten_crop(flip=False)")
    assert result.status == 0, result.err
    header = next(line for line in result.out.splitlines() if line.startswith("protocol"))
    assert header.split("  ")[0] == "protocol" and "top-1 error" in header and "95 % interval" in header
    lines = result.out.splitlines()[result.out.splitlines().index(header) + 1 :]
    assert lines[0].startswith("center_crop ") and lines[1].startswith("ten_crop(flip=False) ")


def test_several_runs_are_averaged(copy: Path, foveal: Foveal) -> None:
    shutil.copytree("run", "again=2")  # a name that looks like a setting
    result = foveal("evaluate", "run", "again=2", "data=photos", "--split", "train", "--json")
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert found["run"] == "run, again=2"
    assert [row["protocol"] for row in found["protocols"]] == [
        "center_crop", "run by center_crop", "again=2 by center_crop",
    ]  # fmt: skip
    assert found["protocols"][0]["metrics"]["top1_error"] == found["protocols"][1]["metrics"]["top1_error"]


def test_a_run_that_is_not_there(place: Path, refused: Callable[..., Result]) -> None:
    refused(
        "evaluate run nowhere",
        "nowhere does not exist",
        "give the folder that `foveal train` printed, e.g. runs/lenet5_digits",
    )
