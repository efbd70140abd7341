"""The unshared convolution: against loops, against the shared one, and its gradients in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph.count import count
from foveal.graph.receptive_field import receptive_field
from foveal.graph.shapes import shapes
from foveal.graph.windows import Window, window
from foveal.layers.locally_connected import LocallyConnected2d


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def by_loops(layer: LocallyConnected2d, x: Tensor) -> Tensor:
    """Position by position, unit by unit."""
    height, width = layer.output_size
    result = torch.zeros(len(x), layer.out_channels, height, width, dtype=x.dtype)
    size, stride = layer.kernel_size, layer.stride
    for row in range(height):
        for column in range(width):
            patch = x[:, :, row * stride : row * stride + size, column * stride : column * stride + size].flatten(1)
            for unit in range(layer.out_channels):
                own = layer.weight[row * width + column, unit]
                result[:, unit, row, column] = (patch * own).sum(1) + layer.bias[unit, row, column]
    return result


@pytest.mark.parametrize(("size", "kernel", "stride"), [((5, 6), 3, 1), ((7, 6), 3, 2), ((4, 4), 4, 1), ((5, 3), 1, 3)])
def test_equals_loops(size: tuple[int, int], kernel: int, stride: int) -> None:
    layer = LocallyConnected2d(2, 3, size, kernel, stride).double()
    x = torch.randn(4, 2, *size, dtype=torch.float64)
    torch.testing.assert_close(layer(x), by_loops(layer, x), rtol=0, atol=1e-12)


def test_equal_filters_everywhere_are_a_convolution() -> None:
    layer = LocallyConnected2d(3, 4, (9, 8), 3, 2).double()
    filters, bias = torch.randn(4, 3, 3, 3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(filters.flatten(1))
        layer.bias.copy_(bias[:, None, None])
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.conv2d(x, filters, bias, stride=2), rtol=0, atol=1e-12)


def test_gradients() -> None:
    layer = LocallyConnected2d(2, 3, (5, 4), 3, 2).double()
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    names = ("weight", "bias")

    def run(x: Tensor, *values: Tensor) -> Tensor:
        output = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))
        assert isinstance(output, Tensor)
        return output

    assert torch.autograd.gradcheck(run, (x, layer.weight, layer.bias))


def test_passes_know_it() -> None:
    layer = LocallyConnected2d(16, 16, (55, 55), 7, stride=2)
    assert window(layer) == Window((7, 7), (2, 2), (0, 0), (1, 1))
    model = nn.Sequential(layer)
    counted = count(model, (16, 55, 55))
    assert counted.macs == layer.weight.numel() == 25 * 25 * 16 * 16 * 49
    assert shapes(model, (16, 55, 55))[0].output == (16, 25, 25)
    assert receptive_field(model, (16, 55, 55))["0"].size == (7, 7)


def test_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="a 4x4 window, stride 1, on 3x5"):
        LocallyConnected2d(1, 1, (3, 5), 4)
    with pytest.raises(FovealError, match=r"'0' .*LocallyConnected2d.* 2x6x6"):
        shapes(nn.Sequential(LocallyConnected2d(2, 1, (5, 5), 3)), (2, 6, 6))
