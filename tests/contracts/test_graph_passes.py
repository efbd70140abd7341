"""Heads, taps and cuts hold on every classifier of the catalogue; on the meta device, where no number is computed."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from torch import nn

from foveal import catalog
from foveal.graph import cut, remove_head, replace_head, shapes, taps
from foveal.graph.shapes import LayerShape
from foveal.models import create

CLASSIFIERS = [
    pytest.param(name, marks=[pytest.mark.slow] if re.search(r"\d{3}", name) else [])  # a shallower one stands for them
    for name, entry in catalog.entries("model").items()
    if entry.module.startswith(("foveal.models.classify", "foveal.models.verify"))
]


@cache
def subject(name: str) -> tuple[nn.Module, tuple[int, ...], list[LayerShape]]:
    """The network, what it looks at, and its layers. Never changed: every pass works on a copy."""
    facts = catalog.facts(name)
    with torch.device("meta"):
        model = create(name).eval()
    input = facts.input if facts else (1, 20, 20)
    return model, input, shapes(model, input)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_heads(name: str) -> None:
    model, input, _ = subject(name)
    images, keys = torch.empty(2, *input, device="meta"), model.state_dict().keys()
    other = replace_head(model, 7)
    assert other(images).shape == (2, 7)
    assert type(other) is type(model) and other.state_dict().keys() == keys
    features = remove_head(model)
    kept = features.state_dict().keys()
    assert features(images).dim() == 2 and kept < keys
    assert len({key.rpartition(".")[0] for key in keys - kept}) == 1
    assert {name for name, p in other.named_parameters() if p.shape != model.get_parameter(name).shape} <= {
        key for key in keys if key not in kept or key.startswith(("aux", "exit"))
    }


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_taps(name: str) -> None:
    model, input, layers = subject(name)
    join = next((i for i, layer in enumerate(layers) if layer.module is None), len(layers) // 3)
    chosen = [layers[i] for i in dict.fromkeys((0, join, len(layers) // 2, len(layers) - 1))]
    values = taps(model, [layer.path for layer in chosen])(torch.empty(2, *input, device="meta"))
    assert {path: tuple(value.shape) for path, value in values.items()} == {x.path: (2, *x.output) for x in chosen}
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_cuts(name: str) -> None:
    model, input, layers = subject(name)
    place = len(layers) - 2
    features, head = cut(model, end=layers[place].path), cut(model, start=layers[place + 1].path)
    middle = features(torch.empty(2, *input, device="meta"))
    assert tuple(middle.shape[1:]) == layers[place].output
    assert tuple(head(middle).shape[1:]) == layers[-1].output
    found, keys = features.state_dict().keys() | head.state_dict().keys(), model.state_dict().keys()
    assert found <= keys
    assert all(key.startswith(("aux", "exit", "layer", "transition")) for key in keys - found)
