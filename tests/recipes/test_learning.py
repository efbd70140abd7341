"""Every classifier of the catalogue learns: its training loss on twenty real digits falls as far as `house` says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foveal import catalog
from foveal.data.formats import digits
from foveal.data.open import open_data
from foveal.recipes import resolve
from foveal.training.console import Console
from foveal.training.train import train

UPDATES = 40
SMALLEST = {"alexnet": 67, "zfnet": 64, "cnn_f": 64, "cnn_m": 64, "cnn_s": 64, "nin": 64, "googlenet": 64}
SMALLEST |= {"overfeat_fast": 96, "overfeat_accurate": 96, "deepface": 152, "lenet5": 32, "mlp": 28, "perceptron": 20}
SMALLEST |= {"msdnet": 32}
CLASSIFIERS = [
    name
    for name, entry in catalog.entries("model").items()
    if ".classify." in entry.module or ".verify." in entry.module
]


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of each digit."""
    images = open_data("digits", "train")
    chosen = torch.cat([torch.nonzero(images.labels == digit)[:2, 0] for digit in range(10)])
    folder = tmp_path_factory.mktemp("twenty")
    digits.write({"train": images.select(chosen)}, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_training_loss_falls(name: str, twenty: Path, tmp_path: Path) -> None:
    facts = catalog.facts(name)
    assert facts is not None
    side = SMALLEST.get(name, 16 if facts.input[1] == 32 else 32)
    input = (facts.input[0], side, side)
    takes_input = "input" in catalog.options(catalog.get("model", name))
    recipe = resolve(
        name,
        data=str(twenty),
        input=input,
        options={"input": input} if takes_input else {},
        prepare=(f"resize_exact({side}, {side})",),
        augment=(),
        test=(),
        holdout=0,
        unit="iterations",
        length=UPDATES,
        evaluate_every=UPDATES,
        log_every=1,
        batch_size=20,
        optimizer="adamw",
        lr=1e-3,
        label_smoothing=0,
        nesterov=False,
    )
    run = train(recipe, out=tmp_path / "run", console=Console(silent=True))
    losses = [float(row["loss"] or 0) for row in run.steps()]
    assert len(losses) == UPDATES
    assert losses[-1] < losses[0] / 2, f"{losses[0]:.3f} → {losses[-1]:.3f}"
