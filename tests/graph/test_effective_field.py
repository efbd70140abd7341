"""The effective field: the gradient itself, its smallest square, what it leaves as it was, and what it refuses."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph.effective_field import EffectiveField, effective_field
from foveal.graph.receptive_field import Field, Reach
from foveal.models import create


def test_of_one_convolution_it_is_the_filter() -> None:
    conv = nn.Conv2d(2, 1, 3, stride=2)
    found = effective_field(conv, (2, 9, 9), position=(1, 2))
    expected = torch.zeros(9, 9)
    expected[2:5, 4:7] = conv.weight[0].abs().sum(0).detach()
    assert torch.allclose(found.mass, expected / expected.sum(), atol=1e-6)
    assert found.square(1.0) == (3, (2, 4)) and found.position == (1, 2) and found.layer == "conv2d"


def test_images_channels_and_modes() -> None:
    """Each image asks another channel; in evaluation mode; nothing is left behind."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randn(2, 1, 5, 5)
    found = effective_field(model, (1, 5, 5), "0", images=images, position=(0, 0))
    expected = model[0].weight.detach().abs().sum((0, 1))
    assert torch.allclose(found.mass[:3, :3], expected / expected.sum(), atol=1e-6)
    effective_field(model, (1, 5, 5))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_it_lies_inside_the_field_and_is_smaller() -> None:
    torch.manual_seed(0)
    model = create("lenet5")
    found = effective_field(model, (1, 32, 32), "C3")
    (top, bottom), (left, right) = found.field.interval(found.position)
    inside = found.mass[top : bottom + 1, left : right + 1].sum()
    assert abs(float(inside) - 1) < 1e-6
    assert found.square(0.5)[0] < found.square(0.95)[0] <= 14
    assert torch.equal(found.mass, effective_field(model, (1, 32, 32), "C3").mass)
    assert effective_field(model, (1, 32, 32)).layer == "tanh4"  # the last map


@pytest.mark.parametrize("shape", [(12,), (6, 8), (4, 5, 6)])
def test_the_square_is_the_smallest(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(len(shape))
    mass = torch.rand(shape, generator=generator) ** 6
    mass = mass / mass.sum()
    found = EffectiveField("", (), mass, Field((Reach((0,), (0,), 1),) * len(shape)))
    for share in (0.3, 0.7, 0.95, 1.0):
        side, start = found.square(share)
        assert held(mass, side, start) >= share - 1e-6
        smaller = side - 1
        starts = itertools.product(*(range(max(1, n - smaller + 1)) for n in shape))
        assert not smaller or max(held(mass, smaller, place) for place in starts) < share


def held(mass: Tensor, side: int, start: tuple[int, ...]) -> float:
    return float(mass[tuple(slice(i, i + side) for i in start)].sum())


def test_sequences_and_volumes() -> None:
    assert effective_field(nn.Conv1d(2, 3, 5), (2, 20)).square(1.0)[0] == 5
    assert effective_field(nn.Conv3d(1, 2, 3), (1, 6, 7, 8)).square(1.0)[0] == 3


def test_what_cannot_be_is_said() -> None:
    model = create("lenet5")
    for options, what in (
        ({"layer": "C4"}, "unknown layer 'C4'"),
        ({"layer": "F6"}, "layer 'F6' is no map but 84"),
        ({"position": (9, 0)}, r"position \(9, 0\) in a map of 5x5"),
        ({"images": torch.zeros(1, 1, 28, 28)}, "images of shape 1x1x28x28"),
    ):
        with pytest.raises(FovealError, match=what):
            effective_field(model, (1, 32, 32), **options)  # type: ignore[arg-type]
    dead = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    nn.init.constant_(dead[0].bias, -100.0)
    with pytest.raises(FovealError, match="no unit of layer '1' at 1x1 has a gradient"):
        effective_field(dead, (1, 5, 5))
    with pytest.raises(FovealError, match="no layer of the network is a map"):
        effective_field(nn.Linear(4, 2), (4,))
    with pytest.raises(FovealError, match="a share of 2"):
        effective_field(nn.Conv2d(1, 1, 3), (1, 5, 5)).square(2)
