"""Every pass on networks in one and in three dimensions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import foveal
from foveal import graph
from foveal.notation import parse

TEXT = "3-1Conv4 (BN, ReLU) → 2-2MaxPool → 3-1Conv5 (Tanh) → 2-2AvgPool → FC6 (ReLU) → FC3"
INPUTS = {1: (2, 14), 2: (2, 14, 14), 3: (2, 14, 14, 14)}
DIMS = pytest.mark.parametrize("dims", [1, 3])


def network(dims: int) -> nn.Module:
    torch.manual_seed(0)
    return parse(TEXT, INPUTS[dims]).double().eval()


def random(dims: int, more: int, batch: int = 1) -> torch.Tensor:
    channels, *grid = INPUTS[dims]
    return torch.randn(batch, channels, *(n + more for n in grid), dtype=torch.float64)


@DIMS
def test_shapes_and_counts(dims: int) -> None:
    model, k = network(dims), 3**dims
    layers = {layer.path: layer.output for layer in graph.shapes(model, INPUTS[dims])}
    assert layers["conv1"] == (4, *(12,) * dims) and layers["pool2"] == (5, *(2,) * dims) and layers["fc4"] == (3,)
    counted = graph.count(model, INPUTS[dims])
    fc3, fc4 = 5 * 2**dims * 6, 6 * 3
    assert counted.macs == 2 * k * 4 * 12**dims + 4 * k * 5 * 4**dims + fc3 + fc4
    assert counted.parameters == 2 * k * 4 + 4 + 8 + 4 * k * 5 + 5 + fc3 + 6 + fc4 + 3
    table = foveal.show(model, INPUTS[dims])
    assert (table.macs, table.parameters) == (counted.macs, counted.parameters)
    assert f"{'x'.join(['5', *'4' * dims])} " in str(table)


@DIMS
def test_receptive_fields(dims: int) -> None:
    fields = graph.receptive_field(network(dims), INPUTS[dims])
    assert [fields[name].size for name in ("conv1", "pool1", "conv2", "pool2")] == [(n,) * dims for n in (3, 4, 8, 10)]
    assert fields["pool2"].stride == (4,) * dims and fields["fc4"].size == (14,) * dims


@DIMS
def test_sliding_and_dense_are_patch_by_patch(dims: int) -> None:
    model, images = network(dims), random(dims, 4)
    with torch.no_grad():
        wide = graph.convolutionalize(model, INPUTS[dims])(images)
        fine = graph.dilate(graph.convolutionalize(model, INPUTS[dims]))(images)
        slid = graph.slide(model, images, INPUTS[dims])
        expected = torch.empty(1, 3, *(5,) * dims, dtype=torch.float64)
        for place in torch.cartesian_prod(*[torch.arange(5)] * dims).view(-1, dims).tolist():
            patch = images[(slice(None), slice(None), *(slice(p, p + 14) for p in place))]
            expected[(slice(None), slice(None), *place)] = model(patch)
    assert wide.shape == (1, 3, *(2,) * dims)
    every = (slice(None), slice(None), *(slice(None, None, 4),) * dims)
    for found, wanted in ((slid, expected), (fine, expected), (wide, expected[every])):
        assert (found - wanted).abs().max() <= 1e-10
    dense = foveal.dense(model, images[0], input=INPUTS[dims])
    inner = (slice(None), *(slice(7, 12),) * dims)
    assert dense.shape == (3, *(18,) * dims) and (dense[inner] - expected[0]).abs().max() <= 1e-10


@DIMS
def test_heads_taps_cuts(dims: int) -> None:
    model, images = network(dims), random(dims, 0, batch=2)
    assert graph.replace_head(model, 7)(images).shape == (2, 7)
    assert torch.equal(graph.remove_head(model)(images), graph.taps(model, "relu3")(images)["relu3"])
    parts = graph.cut(model, end="pool1"), graph.cut(model, start="conv2")
    assert torch.equal(parts[1](parts[0](images)), model(images))


@DIMS
def test_a_layer_is_its_matrix(dims: int) -> None:
    layer = network(dims).conv2
    x = torch.randn(4, *(5,) * dims, dtype=torch.float64)
    y = layer(x[None])[0]
    found = (graph.matrix(layer, tuple(x.shape)) @ x.flatten()).view_as(y) + layer.bias.view(-1, *(1,) * dims)
    assert (found - y).abs().max() <= 1e-12 and math.prod(y.shape) == 5 * 3**dims
