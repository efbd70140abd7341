"""Short loss traces on real images: two runs in one process agree to the bit, and with the stored trace closely.

When the stored numbers no longer hold, training has changed: run this file as a script to store the new, and say why.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from foveal.training.console import Console
from foveal.training.recipe import Recipe
from foveal.training.train import train

FILE = Path(__file__).with_name("traces.json")
CASES = ("lenet5", "resnet20")


def recipe(name: str) -> Recipe:
    """Ten updates on the embedded digits, in float32, with everything that the full recipes have."""
    return Recipe(
        name=f"{name}_trace",
        model=name,
        data="digits",
        input=(1, 32, 32) if name == "lenet5" else (3, 32, 32),
        prepare=("resize_exact(32, 32)",),
        augment=("affine(degrees=8, shift=0.07, scale=0.1, shear=5)",),
        unit="iterations",
        length=10,
        evaluate_every=10,
        log_every=1,
        batch_size=32,
        lr=0.001,
        weight_decay=5e-4,
        schedule="cosine",
        seed=1,
        device="cpu",
        precision="float32",
    )


def trace(name: str, folder: Path) -> list[float]:
    """The loss at each update."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = train(recipe(name), out=folder, console=Console(silent=True))
    finally:
        torch.set_num_threads(threads)
    return [float(row["loss"] or 0) for row in run.steps()]


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """One of the networks."""
    yield request.param


def test_the_trace_is_the_stored_one(name: str, tmp_path: Path) -> None:
    first, second = trace(name, tmp_path / "1"), trace(name, tmp_path / "2")
    assert first == second and len(first) == 10
    stored = json.loads(FILE.read_text())[name]
    assert first == pytest.approx(stored, rel=1e-2)  # other CPUs round otherwise, and ten updates magnify it
    assert first[0] == pytest.approx(stored[0], rel=1e-4)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    FILE.write_text(json.dumps({case: trace(case, root / case) for case in CASES}, indent=1) + "\n")
