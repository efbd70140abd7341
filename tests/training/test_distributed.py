"""Two processes = one process, to rounding: order, batch normalisation, dropout, records."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_networks import recipe, small
from torch import nn

from foveal.errors import FovealError
from foveal.layers.synchronised import SynchronisedBatchNorm, SynchronisedDropout, synchronise
from foveal.training import checkpoint
from foveal.training.console import Console
from foveal.training.train import train

HERE = Path(__file__).parent

SCRIPT = """
import json, sys, torch
from rich.console import Console as Rich
from small_networks import recipe
from foveal.errors import FovealError
from foveal.training.console import Console
from foveal.training.distributed import rank
from foveal.training.train import train
torch.set_num_threads(1)
settings = json.loads(sys.argv[2])
try:
    bar = Console(silent=rank() != 0, rich=Rich(force_terminal=True, highlight=False, width=120, soft_wrap=True))
    train(recipe(**settings), out=sys.argv[1], console=bar)
except FovealError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""

SEEDS = """
import sys, torch
from small_networks import recipe
from foveal.experiment import repeat
torch.set_num_threads(1)
found = repeat(recipe(length=1), (1, 2))
if found.runs[0].is_main_process:
    print(found.text())
else:
    assert len(found.runs) == 2 and not found.errors
"""


def torchrun(*arguments: str | Path, processes: int = 2, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script with torchrun on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    command += [str(argument) for argument in arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd
    ) as process:
        try:
            out, err = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:  # processes that wait for each other
            process.terminate()
            out, err = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def train_by_two(out: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Train `small_networks.recipe` with some settings in two processes."""
    script = out.parent / "train.py"
    script.write_text(SCRIPT)
    return torchrun(script, out, json.dumps(settings))


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_two_processes_are_one(tmp_path: Path) -> None:
    """Also where one of them has a terminal with a bar, which must ask the other for nothing."""
    settings = {"length": 2, "lr": 0.05, "mean_image": True}
    done = train_by_two(tmp_path / "two", **settings)
    assert done.returncode == 0, done.stderr
    one = train(recipe(**settings), out=tmp_path / "one", console=Console(silent=True))
    mine, theirs = checkpoint.read(one.path / "last"), checkpoint.read(tmp_path / "two" / "last")
    assert mine.weights.keys() == theirs.weights.keys()
    for name, value in mine.weights.items():
        torch.testing.assert_close(theirs.weights[name], value, rtol=2e-3, atol=2e-4, msg=lambda m, n=name: f"{n}: {m}")
    for file in ("metrics.csv", "steps.csv"):
        left, right = rows(one.path / file), rows(tmp_path / "two" / file)
        assert [row["step"] for row in left] == [row["step"] for row in right]
        key = "train_loss" if file == "metrics.csv" else "loss"
        assert [float(r[key]) for r in right] == pytest.approx([float(r[key]) for r in left], rel=1e-4)
    assert done.stdout.count("update 17/34") == 1  # one process speaks


def test_a_batch_that_cannot_be_shared_ends_all(tmp_path: Path) -> None:
    done = train_by_two(tmp_path / "run", batch_size=63)
    assert done.returncode != 0
    assert "batch of 63 images cannot be cut into equal parts for 2 processes" in done.stderr
    assert not (tmp_path / "run").exists()


def test_two_processes_train_several_seeds(tmp_path: Path) -> None:
    (tmp_path / "seeds.py").write_text(SEEDS)
    done = torchrun("seeds.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "over 2 seeds" in done.stdout
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["small_digits-1", "small_digits-2"]


def test_layers_see_the_whole_batch(tmp_path: Path) -> None:
    done = torchrun(HERE / "synchronised_layers.py")
    assert done.returncode == 0, done.stderr


def test_what_is_converted_and_what_is_refused() -> None:
    model = synchronise(small())
    assert isinstance(model[1], SynchronisedBatchNorm) and isinstance(model[4], SynchronisedDropout)  # type: ignore[index]
    with pytest.raises(FovealError, match="1: RReLU draws other random numbers in each process"):
        synchronise(nn.Sequential(nn.Linear(2, 2), nn.RReLU()))
