"""Contrast normalisation, poolings over filters, DropConnect and weight normalisation: formulas, loops, gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck

from foveal.graph.count import count
from foveal.graph.receptive_field import receptive_field
from foveal.graph.shapes import shapes
from foveal.graph.windows import POINTWISE, window
from foveal.layers.contrast import LocalContrastNorm
from foveal.layers.drop_connect import DropConnect
from foveal.layers.pooling import CrossChannelPool, MinPool2d
from foveal.layers.weight_norm import normalise_weights
from foveal.notation import parse


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def contrast_by_loops(x: Tensor, size: int, floor: float | None) -> Tensor:
    """Jarrett et al. (2009), section 3.1, position by position; weights outside the image are left out."""
    half, (maps, height, width) = size // 2, x.shape
    near = range(-half, half + 1)
    gauss = [[math.exp(-(p**2 + q**2) / (2 * (size / 4) ** 2)) for q in near] for p in near]

    def mean(values: Tensor, j: int, k: int) -> Tensor:
        total, weights = torch.zeros((), dtype=x.dtype), 0.0
        for p in near:
            for q in near:
                if 0 <= j + p < height and 0 <= k + q < width:
                    weights += gauss[p + half][q + half]
                    total = total + gauss[p + half][q + half] * values[:, j + p, k + q].sum() / maps
        return total / weights

    places = [(j, k) for j in range(height) for k in range(width)]
    left = x - torch.stack([mean(x, j, k) for j, k in places]).view(height, width)
    sigma = torch.stack([mean(left.square(), j, k).sqrt() for j, k in places]).view(height, width)
    return left / sigma.clamp_min(float(sigma.mean()) if floor is None else floor)


@pytest.mark.parametrize("floor", [None, 0.1])
def test_contrast_norm_equals_loops(floor: float | None) -> None:
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    found = LocalContrastNorm(5, floor=floor).double()(x)
    expected = torch.stack([contrast_by_loops(image, 5, floor) for image in x])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)  # the window is stored in float32


def test_contrast_norm_forgets_brightness_and_contrast() -> None:
    x = torch.randn(1, 2, 9, 9, dtype=torch.float64)
    norm = LocalContrastNorm(3).double()
    torch.testing.assert_close(norm(5 * x + 7), norm(x))
    assert LocalContrastNorm(3)(torch.ones(1, 2, 5, 5)).abs().max() == 0  # a flat image
    mean_only = LocalContrastNorm(3, divisive=False).double()
    torch.testing.assert_close(mean_only(5 * x + 7), 5 * mean_only(x))


def test_contrast_norm_is_seen_by_the_passes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), LocalContrastNorm(5))
    assert shapes(model, (3, 16, 16))[-1].output == (4, 16, 16)
    assert receptive_field(model, (3, 16, 16))["1"].size == (11, 11)
    for options in ({"size": 4}, {"subtractive": False, "divisive": False}):
        with pytest.raises(ValueError, match=r"odd number|nothing to do"):
            LocalContrastNorm(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "expected"), [("max", [3.0, 4.0]), ("min", [1.0, -2.0]), ("mean", [2.0, 1.0])])
def test_cross_channel_pool(kind: str, expected: list[float]) -> None:
    x = torch.tensor([1.0, 3.0, -2.0, 4.0, 9.0]).view(1, 5, 1, 1)
    assert CrossChannelPool(2, kind=kind)(x).flatten().tolist() == expected  # type: ignore[arg-type]


def test_cross_channel_pool_of_turned_filters_does_not_see_the_turn() -> None:
    """L13: four quarter turns of one filter; the largest of their responses turns with the image."""
    kernel = torch.randn(1, 3, 3)
    conv = nn.Conv2d(1, 4, 3, bias=False)
    conv.weight = nn.Parameter(torch.stack([kernel.rot90(turn, (1, 2)) for turn in range(4)]))
    pool, x = CrossChannelPool(4), torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(pool(conv(x.rot90(1, (2, 3)))), pool(conv(x)).rot90(1, (2, 3)))


def test_cross_channel_pool_overlaps_and_is_pointwise() -> None:
    pool = CrossChannelPool(3, 1)
    assert pool(torch.rand(2, 8, 4, 4)).shape == (2, 6, 4, 4)
    assert window(pool) == POINTWISE
    assert shapes(nn.Sequential(pool), (8, 4, 4))[0].output == (6, 4, 4)
    with pytest.raises(ValueError, match="max, min or mean"):
        CrossChannelPool(2, kind="median")  # type: ignore[arg-type]


def test_min_pool() -> None:
    x = torch.randn(1, 2, 7, 7)
    torch.testing.assert_close(MinPool2d(3, 2)(x), -F.max_pool2d(-x, 3, 2))
    assert MinPool2d(2)(torch.tensor([[[[4.0, 2.0], [3.0, 5.0]]]])).item() == 2
    assert window(MinPool2d(3, 2)) == window(nn.MaxPool2d(3, 2))


def test_drop_connect_is_the_plain_layer_in_evaluation() -> None:
    layer, x = DropConnect(5, 3, 0.3).eval(), torch.randn(4, 5)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    assert count(nn.Sequential(layer), (5,)).macs == 15
    with pytest.raises(ValueError, match=r"p=1"):
        DropConnect(5, 3, 1.0)


def test_drop_connect_masks_connections_of_each_example() -> None:
    layer = DropConnect(6, 4, 0.5, bias=False)
    nn.init.ones_(layer.weight)
    sums = layer(torch.ones(200, 6))  # twice the number of connections that stay
    assert set(sums.flatten().tolist()) <= {2.0 * k for k in range(7)}
    assert len({tuple(row) for row in sums.tolist()}) > 100


def test_drop_connect_moments() -> None:
    layer, x = DropConnect(7, 3, 0.4), torch.randn(1, 7)
    with torch.no_grad():
        samples = layer(x.expand(20_000, -1))
        mean, variance = layer.moments(x)
    torch.testing.assert_close(samples.mean(0), mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(samples.var(0), variance[0], atol=0, rtol=0.08)


def test_weight_norm_keeps_the_function_and_is_counted() -> None:
    model = parse("3-1-1Conv4 (ReLU) → 2-2MaxPool → FC5", input=(3, 8, 8))
    x = torch.randn(6, 3, 8, 8)
    before, plain = model(x), count(model, (3, 8, 8))
    assert normalise_weights(model) is model
    torch.testing.assert_close(model(x), before)
    after = count(model, (3, 8, 8))
    assert (after.macs, after.parameters) == (plain.macs, plain.parameters + 4 + 5)
    assert len(normalise_weights(model).state_dict()) == 6  # not twice


def test_weight_norm_starts_from_data() -> None:
    model = parse("3-1Conv4 (ReLU) → FC5", input=(3, 8, 8)).train()
    x = 3 + 2 * torch.randn(64, 3, 8, 8)
    normalise_weights(model, x)
    assert model.training
    responses = model[0](x)
    for values in (responses.transpose(0, 1).flatten(1), model(x).T):
        torch.testing.assert_close(values.mean(1), torch.zeros(len(values)), atol=1e-4, rtol=0)
        torch.testing.assert_close(values.std(1, correction=0), torch.ones(len(values)), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "layer",
    [
        LocalContrastNorm(3), LocalContrastNorm(3, subtractive=False, floor=0.2), CrossChannelPool(2),
        CrossChannelPool(2, 1, "mean"), CrossChannelPool(3, kind="min"), MinPool2d(2), nn.PReLU(4),
    ],
    ids=str,
)  # fmt: skip
def test_gradients(layer: nn.Module) -> None:
    x = torch.randn(2, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    parameters = dict(layer.double().named_parameters())

    def run(x: Tensor, *values: Tensor) -> Tensor:
        output = torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))
        assert isinstance(output, Tensor)
        return output

    assert gradcheck(run, (x, *parameters.values()))


def test_gradients_of_drop_connect_and_weight_norm() -> None:
    layer = DropConnect(4, 3).double()

    def dropped(x: Tensor) -> Tensor:
        torch.manual_seed(1)  # the same masks at each call
        output = layer(x)
        assert isinstance(output, Tensor)
        return output

    assert gradcheck(dropped, (torch.randn(3, 4, dtype=torch.float64, requires_grad=True),))
    normed = normalise_weights(nn.Linear(4, 3).double())
    assert gradcheck(normed, (torch.randn(3, 4, dtype=torch.float64, requires_grad=True),))
    normed(torch.randn(3, 4, dtype=torch.float64)).square().sum().backward()
    assert all(p.grad is not None for p in normed.parameters())
