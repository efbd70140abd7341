"""DeepFace against its paper: sizes, parameters, where they are, and its initialisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foveal import catalog
from foveal.graph.count import count
from foveal.graph.shapes import shapes
from foveal.layers.locally_connected import LocallyConnected2d
from foveal.models import create
from foveal.models.verify import deepface as file

FACTS = file.FACTS["deepface"]


@pytest.fixture
def model() -> nn.Module:
    with torch.device("meta"):
        return create("deepface")


def test_it_is_in_the_catalogue() -> None:
    assert catalog.facts("deepface") is FACTS


def test_maps_have_the_sizes_of_figure_2(model: nn.Module) -> None:
    sizes = {layer.path: layer.output for layer in shapes(model, FACTS.input)}
    published = FACTS.published["maps"]
    assert tuple(sizes[name][1] for name in ("C1", "M2", "C3", "L4", "L5", "L6")) == published
    assert [sizes[name][0] for name in ("C1", "M2", "C3", "L4", "L5", "L6", "F7", "F8")] == [
        32, 32, 16, 16, 16, 16, 4096, 4030,
    ]  # fmt: skip


def test_counts(model: nn.Module) -> None:
    counted = count(model, FACTS.input)
    assert (counted.parameters, counted.macs) == (FACTS.parameters, FACTS.macs)
    published = FACTS.published["parameters"]
    assert isinstance(published, int)
    assert counted.parameters == pytest.approx(published, rel=0.01)  # «more than 120 million» is 0.9 % too many


def test_nearly_all_parameters_are_local_or_fully_connected(model: nn.Module) -> None:
    local = sum(
        p.numel() for m in model.modules() if isinstance(m, LocallyConnected2d | nn.Linear) for p in m.parameters()
    )
    assert FACTS.parameters is not None
    share = FACTS.published["share_of_local_and_fully_connected"]
    assert isinstance(share, float)
    assert share < local / FACTS.parameters
    assert FACTS.parameters - local == 32 * (3 * 121 + 1) + 16 * (32 * 81 + 1)  # C1 and C3


def test_dropout_stands_behind_the_first_fully_connected_layer_alone(model: nn.Module) -> None:
    assert [name for name, m in model.named_modules() if isinstance(m, nn.Dropout)] == ["drop7"]


def test_initialisation() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        model = create("deepface", num_classes=2)
    assert isinstance(model, nn.Sequential)
    part = nn.Sequential(model.get_submodule("C3"), model.get_submodule("L6")).to_empty(device="cpu")
    file._initialise(part)
    for layer in part:
        assert isinstance(layer, nn.Conv2d | LocallyConnected2d)
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert layer.bias is not None
        assert bool((layer.bias == 0.5).all())
