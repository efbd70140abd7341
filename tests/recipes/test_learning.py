"""Every classifier of the catalogue learns: its training loss on twenty real digits falls as far as `house` says.

The house recipe without augmentation, with AdamW, on the smallest images that the network takes with its layers intact.
"""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
import torch

from foveal import catalog
from foveal.data.formats import digits
from foveal.recipes import resolve
from foveal.training.console import Console
from foveal.training.train import train

UPDATES = 40
MORE_UPDATES = 100  # for small initial weights without batch norm, and for objectives of their own
PATIENT = ("alexnet", "alexnet_owt", "cnn_f", "cnn_m", "cnn_s", "zfnet", "nin", "nin_cifar", "googlenet", "lenet5")
PATIENT += (
    "vgg16",
    "vgg16_c",
    "vgg19",
    "overfeat_fast",
    "overfeat_accurate",
    "plain44",
    "deep_image",
    "preact_resnet164",
    "preact_resnet1001",
)
SMALLEST = {"alexnet": 67, "zfnet": 64, "cnn_f": 64, "cnn_m": 64, "cnn_s": 64, "nin": 64, "googlenet": 64}
SMALLEST |= {"overfeat_fast": 96, "overfeat_accurate": 96, "deepface": 152, "lenet5": 32, "mlp": 28, "perceptron": 20}
SMALLEST |= {"msdnet": 32, "alexnet_owt": 64}
OPTIONS: dict[str, dict[str, object]] = {
    "fabric": {"channels": 32},  # of 128
    "vgg11": {"init": "he"},  # as the deeper ones, which do not stir from the paper's N(0, 0.01²)
    "vgg11_lrn": {"init": "he"},
}
RATES = {"nin": 5e-4, "alexnet": 5e-4, "alexnet_owt": 5e-4}  # at 0.001 the ReLU on NIN's class maps dies
DEVIATION = dict.fromkeys(
    ("alexnet", "alexnet_owt"), (1 / 255,)
)  # the papers have pixels of 0 to 255, beside which biases of 1 are small
FOLDERS = ("foveal.models.classify.", "foveal.models.verify.")
CLASSIFIERS = [name for name, entry in catalog.entries("model").items() if entry.module.startswith(FOLDERS)]


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of each digit."""
    images = digits.open(Path("digits"), "train")
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
    updates = MORE_UPDATES if name in PATIENT else UPDATES
    recipe = resolve(
        name,
        data=str(twenty),
        input=input,
        options=OPTIONS.get(name, {}) | ({"input": input} if takes_input else {}),
        prepare=(f"resize_exact({side}, {side})",),
        augment=(),
        test=(),
        holdout=0,
        unit="iterations",
        length=updates,
        evaluate_every=updates,
        log_every=1,
        batch_size=20,
        optimizer="adamw",
        lr=RATES.get(name, 1e-3),
        label_smoothing=0,
        nesterov=False,
    )
    if name in DEVIATION:
        recipe = recipe.with_settings(std=DEVIATION[name])
    run = train(recipe, out=tmp_path / "run", console=Console(silent=True))
    losses = [float(row["loss"] or 0) for row in run.steps()]
    assert len(losses) == updates
    assert losses[-1] < enough(name, losses), f"{losses[0]:.3f} → {losses[-1]:.3f}"


def enough(name: str, losses: list[float]) -> float:
    """A nat less than a guess among ten classes; with an objective of its own, half of what the network began with."""
    if name in ("lenet5", "perceptron"):
        return max(losses[:2]) / 2  # a perceptron begins with f = 0, hence with loss 0
    if name in ("plain56", "plain110"):
        return losses[0] - 0.05  # so many layers without shortcuts hardly learn: the degradation of He et al. 2016
    if name == "preact_resnet1001":
        return log(10) - 0.7  # a thousand layers are slow to start
    exits = 11 if name == "msdnet" else 1
    return exits * (log(10) - 1)
