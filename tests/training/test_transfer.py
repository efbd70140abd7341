"""Starting from another network's weights: what is taken, what stays, what learns how fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from foveal.data.dataset import only
from foveal.data.open import open_data
from foveal.errors import FovealError
from foveal.models import create
from foveal.training import transfer
from foveal.training.console import Console
from foveal.training.optim import make_optimizer
from foveal.training.recipe import Recipe
from foveal.training.run import Run
from foveal.training.train import train
from foveal.weights import load_weights
from foveal.weights.files import Checkpoint

TEXT = "3-1-1Conv4 (BN, ReLU) → 2-2MaxPool → 3-1-1Conv8 (BN, ReLU) → 2-2MaxPool → FC12 (ReLU) → FC10"


def recipe(**settings: Any) -> Recipe:
    least = Recipe(
        name="small",
        model="chain",
        options={"text": TEXT, "input": [1, 8, 8]},
        data="digits",
        input=(1, 8, 8),
        length=2,
        batch_size=256,
        lr=0.05,
        evaluate_every=1,
    )
    return least.with_settings(**settings)


def model(text: str = TEXT, classes: int = 10) -> nn.Module:
    return create("chain", num_classes=classes, text=text, input=(1, 8, 8))


def run_of(folder: Path, **settings: Any) -> Run:
    return train(recipe(**settings), out=folder, console=Console(silent=True))


def test_other_pixels_than_those_of_the_weights_are_told(tmp_path: Path) -> None:
    other = run_of(tmp_path / "a", length=1, mean=(0.25,), std=(0.5,), whiten=False)
    alike = recipe(weights=str(other.path), mean=(0.25,), std=(0.5,))
    assert transfer.plan(alike, model(), 100, 10).said == ""
    assert transfer.plan(recipe(weights=str(other.path), mean=(0.25,), whiten=True), model(), 100, 10).said == (
        f"warning: {other.path} saw its images with whiten=false: add this, unless they are to differ"
    )
    log = (run_of(tmp_path / "b", length=1, weights=str(other.path), freeze="conv1").path / "log.txt").read_text()
    assert f"warning: {other.path} saw its images with mean=0.25: add this" in log


def test_what_stays_and_what_learns(tmp_path: Path) -> None:
    other = run_of(tmp_path / "a", classes=("0", "1", "2", "3"), length=1)
    assert other.classes == ("0", "1", "2", "3")
    settings = {"weights": str(other.path), "freeze": "bn2", "weights_to": "bn2"}
    run = run_of(tmp_path / "b", classes=("5", "6", "7"), **settings)
    before, after = other.model().state_dict(), run.model().state_dict()
    same = {name for name, value in before.items() if after[name].shape == value.shape and after[name].equal(value)}
    assert same == {name for name in before if name.split(".")[0] in ("conv1", "bn1", "conv2", "bn2")}
    log = (run.path / "log.txt").read_text()
    assert "frozen up to bn2: 2 of 4 layers with weights; their statistics stay too" in log
    assert "of these up to bn2 only" in log
    assert run.data["counts"]["train"] < 500


def test_rates_by_depth() -> None:
    plan = transfer.plan(recipe(head_lr=10, layer_decay=0.5, freeze="conv1"), model(), 1000, 10)
    assert plan.frozen == ("conv1",)
    assert plan.factors["fc4.weight"] == plan.factors["fc4.bias"] == 10
    assert plan.factors["fc3.weight"] == 0.5 and plan.factors["bn2.bias"] == plan.factors["conv2.weight"] == 0.25
    assert plan.factors["bn1.weight"] == 0.125 and "conv1.weight" not in plan.factors
    network = model()
    optimizer = make_optimizer(network, recipe(), dict.fromkeys(dict(network.named_parameters()), 1.0) | plan.factors)
    found = {id(p): group["factor"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: found[id(p)] for name, p in network.named_parameters() if name in plan.factors} == plan.factors


@pytest.mark.parametrize(
    ("transfer_", "each", "frozen", "trunk", "said"),
    [
        ("small", 5000, 5, None, "little data would be overfitted"),
        ("auto", 99, 5, None, "for there are 99 training images a class (100 and 1000 are the bounds)"),
        ("auto", 100, 4, 0.1, "the first half has general features"),
        ("large", 9, 0, 0.1, "enough data for all layers to learn"),
    ],
)
def test_presets(transfer_: str, each: int, frozen: int, trunk: float | None, said: str) -> None:
    plan = transfer.plan(recipe(transfer=transfer_, weights="run"), model(), 10 * each, 10)
    assert len(plan.frozen) == frozen
    assert plan.factors.get("fc3.weight") == trunk and plan.factors["fc4.weight"] == 1
    assert said in plan.said


def test_blocks_and_steps() -> None:
    assert transfer.steps(model()) == ["pool1", "flatten", "relu3"]
    assert transfer.up_to(["a", "b.c", "b.d", "e"], "b") == ["a", "b.c", "b.d"]


def test_a_head_for_other_classes() -> None:
    four = Checkpoint("four", model(classes=4).state_dict(), ordered=True)
    network = model()
    found = load_weights(network, four, classes=10)
    assert {pair.model for pair in found.mismatched} == {"fc4.weight", "fc4.bias"}
    with pytest.raises(FovealError, match="of another shape"):
        load_weights(network, four)
    wider = Checkpoint("wider", model(TEXT.replace("FC12", "FC14"), classes=4).state_dict(), ordered=True)
    with pytest.raises(FovealError, match="of another shape"):
        load_weights(network, wider, classes=10)


def test_some_classes() -> None:
    digits = open_data("digits", "test", task="classify")
    some = only(digits, ("7", "2"))
    assert some.classes == ("7", "2") and set(some.labels.tolist()) == {0, 1}
    assert len(some) == int(((digits.labels == 7) | (digits.labels == 2)).sum())
    with pytest.raises(FovealError, match="eight"):
        only(digits, ("7", "eight"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"transfer": "small"}, "transfer=small needs weights"),
        ({"weights_to": "conv1"}, "weights_to=conv1 needs weights"),
        ({"transfer": "small", "weights": "x", "freeze": "conv1"}, "transfer=small decides about freeze"),
        ({"classes": ("1",)}, "classes=1 of a recipe to classify"),
        ({"layer_decay": 2}, "layer_decay=2 is not a number above 0 and of at most 1"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(FovealError) as caught:
        recipe(**settings)
    assert said in str(caught.value)


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(FovealError, match="did you mean conv"):
        transfer.plan(recipe(freeze="convv2"), model(), 100, 10)
