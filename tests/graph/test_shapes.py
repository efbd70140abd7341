"""Shapes: equal to those of the run network, for every kind of layer, and clear where an input does not fit."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph.shapes import LayerShape, shapes
from foveal.graph.windows import window


@st.composite
def windowed(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    dims = draw(st.integers(1, 3))
    k, s, d = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    p, ceil = draw(st.integers(0, k // 2)), draw(st.booleans())
    extra = draw(st.integers(0, max(s, d) - 1))
    size = (4, *(draw(st.integers(9, 14)) for _ in range(dims)))
    make = {
        "conv": lambda: getattr(nn, f"Conv{dims}d")(4, 6, k, s, p, d, groups=2),
        "up": lambda: getattr(nn, f"ConvTranspose{dims}d")(4, 6, k, s, p, extra, 2, True, d),
        "max": lambda: getattr(nn, f"MaxPool{dims}d")(k, s, p, d, ceil_mode=ceil),
        "avg": lambda: getattr(nn, f"AvgPool{dims}d")(k, s, p, ceil_mode=ceil),
    }
    return make[draw(st.sampled_from(sorted(make)))](), size


@settings(max_examples=300, deadline=None)
@given(windowed())
def test_windows_and_shapes_are_those_of_torch(case: tuple[nn.Module, tuple[int, ...]]) -> None:
    layer, size = case
    try:
        real = tuple(layer(torch.zeros(1, *size)).shape[1:])
    except RuntimeError:
        with pytest.raises(FovealError, match="layer '0'"):
            shapes(nn.Sequential(layer), size)
        return
    assert shapes(nn.Sequential(layer), size)[0].output == real
    seen = window(layer)
    assert seen is not None
    assert seen.output(size[1:]) == real[1:]


def test_a_branching_network_in_order() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 5, 1)
            self.scale = nn.Parameter(torch.ones(1, 9, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((self.a(x), self.b(x)), dim=1) + self.scale

    found = shapes(Block(), (3, 6, 5))
    assert [(x.path, x.kind, x.sources, x.inputs, x.output) for x in found] == [
        ("a", "Conv2d", ("input",), ((3, 6, 5),), (4, 6, 5)),
        ("b", "Conv2d", ("input",), ((3, 6, 5),), (5, 6, 5)),
        ("cat", "cat", ("a", "b"), ((4, 6, 5), (5, 6, 5)), (9, 6, 5)),
        ("add", "add", ("cat",), ((9, 6, 5),), (9, 6, 5)),
    ]
    assert isinstance(found[0], LayerShape)


def test_the_model_is_left_as_it_is() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).double().train()
    calls: list[str] = []
    model[0].register_forward_hook(lambda *_: calls.append("hook"))
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert shapes(model, (3, 9, 9))[-1].output == (4, 7, 7)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert model.training
    assert model[1].training
    assert not calls


def test_weights_made_by_a_parametrisation() -> None:
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    assert shapes(nn.Sequential(conv), (3, 9, 9))[0].output == (4, 7, 7)


@pytest.mark.parametrize(
    ("model", "input", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3)), (1, 9, 9), "layer '0' (Conv2d) takes 3 channels and is given 1x9x9"),
        (nn.Sequential(nn.Conv2d(3, 4, 11)), (3, 9, 9), "layer '0' (Conv2d) looks through 11x11 and is given 3x9x9"),
        (nn.Sequential(nn.MaxPool2d(9)), (3, 8, 9), "layer '0' (MaxPool2d) looks through 9x9 and is given 3x8x9"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(27, 2)),
            (3, 4, 4),
            "layer '1' (Linear) takes 27 features and is given 48",
        ),
        (nn.Sequential(nn.BatchNorm2d(5)), (3, 4, 4), "layer '0' (BatchNorm2d) takes 5 channels and is given 3x4x4"),
        (nn.Sequential(nn.Unflatten(1, (2, 2))), (3, 4, 4), "layer '0' (Unflatten) cannot take 3x4x4"),
    ],
)
def test_an_input_that_does_not_fit(model: nn.Module, input: tuple[int, ...], message: str) -> None:
    with pytest.raises(FovealError) as caught:
        shapes(model, input)
    assert caught.value.what.startswith(message)
    assert "x".join(map(str, input)) in caught.value.mend


def test_a_join_that_does_not_fit() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) + x

    with pytest.raises(FovealError, match=r"the join '0\.add' cannot take 3x7x7 and 3x9x9"):
        shapes(nn.Sequential(Sum()), (3, 9, 9))


@pytest.mark.parametrize("input", [(), (3, 0, 4), (1, 2, 3, 4, 5), (3, 4.0, 4)])
def test_what_is_no_image(input: tuple[int, ...]) -> None:
    with pytest.raises(FovealError, match="no image"):
        shapes(nn.ReLU(), input)
