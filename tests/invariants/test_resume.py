"""Resumed = uninterrupted, bit by bit: killed at random moments, with any number of workers, from memory or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foveal.training import checkpoint

HERE = Path(__file__).parent
NETWORKS = HERE.parent / "training"
RECORDS = ("metrics.csv", "steps.csv", "log.txt")


def run(out: Path, *, kills: int = 0, seed: int = 0, workers: int = 0, cache: bool = True) -> Path:
    """Train with `kills` kills; the folder of the run."""
    command = [sys.executable, str(HERE / "resumed_run.py"), str(out), str(kills), str(seed), str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(NETWORKS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "cache" if cache else "stream"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    reached = [int(line) for line in done.stdout.split()]  # the checkpoint that each kill left
    assert len(reached) >= 0.7 * kills, "the run ended before it could be killed as often"
    assert not kills or max(reached) > 0, "no kill came after a checkpoint: it proves nothing"
    return out


def assert_equal(one: Path, other: Path) -> None:
    """Every weight, average, optimiser state, position and record is the same to the last bit."""
    for name in RECORDS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    for name in ("last", "best"):
        mine, theirs = checkpoint.read(one / name), checkpoint.read(other / name)
        assert mine.position == theirs.position, name
        assert mine.average is not None and theirs.average is not None
        for left, right in ((mine.weights, theirs.weights), (mine.average, theirs.average)):
            assert left.keys() == right.keys()
            assert all(torch.equal(left[key], right[key]) for key in left), name
        states = mine.optimizer["optimizer"]["state"], theirs.optimizer["optimizer"]["state"]
        assert states[0].keys() == states[1].keys() and states[0]
        for key, state in states[0].items():
            assert torch.equal(state["momentum_buffer"], states[1][key]["momentum_buffer"])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that the others must equal."""
    return run(tmp_path_factory.mktemp("whole") / "run")


def test_the_run_is_worth_comparing(uninterrupted: Path) -> None:
    lines = (uninterrupted / "metrics.csv").read_text().splitlines()
    assert len(lines) == 13  # header and twelve evaluations
    rates = {line.split(",")[2] for line in lines[1:]}
    assert len(rates) > 1  # the plateau has lowered the rate, so its memory is tested too
    assert len((uninterrupted / "steps.csv").read_text().splitlines()) > 10


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_workers_and_kills_do_not_change_a_bit(uninterrupted: Path, tmp_path: Path, workers: int) -> None:
    out = run(tmp_path / "run", workers=workers, cache=False, kills=3, seed=workers)
    assert_equal(out, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_twenty_kills(uninterrupted: Path, tmp_path: Path, workers: int) -> None:
    out = run(tmp_path / "run", kills=28, seed=workers, workers=workers, cache=workers == 0)
    assert_equal(out, uninterrupted)
