"""LeNet-5 in the paper's numbers: layers, connections, codes, initialisation, equation 9."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from foveal import catalog
from foveal.layers.rbf import RBF
from foveal.models.classify.lenet5 import LeNet5, lenet5


@pytest.fixture
def model() -> LeNet5:
    torch.manual_seed(0)
    made = lenet5()
    assert isinstance(made, LeNet5)
    return made


def centres(model: nn.Module) -> Tensor:
    output = model.get_submodule("output")
    assert isinstance(output, RBF)
    return output.centres


def test_parameters_of_each_layer(model: LeNet5) -> None:
    facts = catalog.facts("lenet5")
    assert facts is not None
    for layer in ("C1", "S2", "C3", "S4", "C5", "F6"):
        assert sum(p.numel() for p in model.get_submodule(layer).parameters()) == facts.published[layer]
    assert centres(model).numel() == facts.published["RBF"] == 840
    assert sum(p.numel() for p in lenet5(output="linear").get_submodule("output").parameters()) == 850


def test_connections_are_the_abstracts_340_908(model: LeNet5) -> None:
    """Connections: for each unit its inputs and its bias (RBF units have none)."""
    inputs = {"C1": 25, "S2": 4, "C5": 400, "S4": 4, "F6": 120}
    total = 84 * 10

    def count(name: str) -> None:
        def hook(module: nn.Module, args: object, output: Tensor) -> None:
            nonlocal total
            if name == "C3":
                total += sum(25 * len(row) + 1 for row in module.table) * 100  # type: ignore[union-attr]
            else:
                total += output.numel() * (inputs[name] + 1)

        model.get_submodule(name).register_forward_hook(hook)

    for name in (*inputs, "C3"):
        count(name)
    model(torch.zeros(1, 1, 32, 32))
    assert total == 340_908


def test_scores_are_minus_squared_distances_to_the_codes(model: LeNet5) -> None:
    images = torch.randn(3, 1, 32, 32)
    states = model[:-1](images).detach()
    expected = [
        [-sum((s - c) ** 2 for s, c in zip(row, code, strict=True)) for code in centres(model)] for row in states
    ]
    torch.testing.assert_close(model(images), torch.tensor(expected), rtol=1e-5, atol=1e-4)


def test_codes_are_distinct_bitmaps_or_seeded_codes(model: LeNet5) -> None:
    assert bool((centres(model).abs() == 1).all())
    assert len(centres(model).unique(dim=0)) == 10
    zero = centres(model)[0].view(12, 7)
    assert torch.equal(zero, zero.flip(1)), "the 0 is symmetric when read as 12 rows of 7"
    many = centres(lenet5(300))
    assert many.shape == (300, 84)
    assert len(many.unique(dim=0)) == 300
    assert bool((many.abs() == 1).all())
    torch.manual_seed(123)
    assert torch.equal(centres(lenet5(300)), many), "the codes depend on codes_seed alone"
    assert not torch.equal(centres(lenet5(300, codes_seed=1)), many)


def test_codes_are_saved_but_not_trained(model: LeNet5) -> None:
    assert "output.centres" in model.state_dict()
    assert "output.centres" not in dict(model.named_parameters())


@pytest.mark.parametrize("margin", [0.5, 10.0, 200.0])
def test_losses_are_equation_9(margin: float) -> None:
    torch.manual_seed(0)
    model = lenet5(margin=margin)
    assert isinstance(model, LeNet5)
    images, targets = torch.randn(5, 1, 32, 32), torch.tensor([3, 1, 4, 1, 5])
    y = (-model(images)).double().tolist()
    expected = sum(
        row[t] + math.log(math.exp(-margin) + sum(math.exp(-d) for d in row)) for row, t in zip(y, targets, strict=True)
    ) / len(y)
    losses = model.losses(images, targets)
    assert sum(losses.values()).item() == pytest.approx(expected, rel=1e-4)  # type: ignore[union-attr]


def test_initialisation_is_uniform_in_2_4_over_fan_in(model: LeNet5) -> None:
    bounds = {"C1": 2.4 / 25, "S2": 0.6, "S4": 0.6, "C5": 2.4 / 400, "F6": 0.02}
    for name, bound in bounds.items():
        values = torch.cat([p.flatten() for p in model.get_submodule(name).parameters()])
        assert values.abs().max().item() <= bound
        assert values.square().mean().sqrt().item() == pytest.approx(bound / 3**0.5, rel=0.3)
    kernels = model.get_parameter("C3.weight")
    for first, last, maps in ((0, 18, 3), (18, 54, 4), (54, 60, 6)):
        bound = 2.4 / (25 * maps)
        assert 0.95 * bound < kernels[first:last].abs().max().item() <= bound


def test_it_learns_real_digits() -> None:
    """Four passes over 1,400 scanned digits: most of the others are recognised."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None].repeat_interleave(4, 2).repeat_interleave(4, 3)
    images = images / 16 * 1.275 - 0.1  # the paper's grey values
    labels = torch.from_numpy(digits.target)
    model = lenet5()
    assert isinstance(model, LeNet5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
    for part in torch.arange(1400).repeat(4).split(32):
        loss = sum(model.losses(images[part], labels[part]).values())
        assert isinstance(loss, Tensor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = (model(images[1400:]).argmax(1) == labels[1400:]).float().mean()
    assert accuracy > 0.85
