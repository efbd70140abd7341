"""Poolings with holes: torch's where torch has them, the definition where it has not."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.graph import shapes
from foveal.layers import dilated_pool as pools

AVG = {1: pools.DilatedAvgPool1d, 2: pools.DilatedAvgPool2d, 3: pools.DilatedAvgPool3d}
MAX = {1: pools.DilatedMaxPool1d, 2: pools.DilatedMaxPool2d, 3: pools.DilatedMaxPool3d}
TORCH_MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
TORCH_AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


def maps(dims: int) -> Tensor:
    torch.manual_seed(dims)
    return torch.randn(2, 3, *(13, 11, 12)[:dims], dtype=torch.float64)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("gradients", [False, True])
def test_max_is_torchs(dims: int, gradients: bool) -> None:
    for kernel, stride, padding, dilation in itertools.product((2, 3), (1, 2), (0, 1), (1, 2, 3)):
        x = maps(dims).requires_grad_(gradients)
        found = MAX[dims](kernel, stride, padding, dilation)(x)
        assert torch.equal(found, TORCH_MAX[dims](kernel, stride, padding, dilation)(x))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("counted", [False, True])
def test_average_without_holes_is_torchs(dims: int, counted: bool) -> None:
    for kernel, stride, padding in itertools.product((2, 3), (1, 2), (0, 1)):
        found = AVG[dims](kernel, stride, padding, count_include_pad=counted)(maps(dims))
        expected = TORCH_AVG[dims](kernel, stride, padding, count_include_pad=counted)(maps(dims))
        assert torch.allclose(found, expected, rtol=0, atol=1e-14)


def test_average_with_holes_is_a_convolution() -> None:
    x = maps(2)
    kernel = torch.full((3, 1, 3, 2), 1 / 6, dtype=torch.float64)
    expected = F.conv2d(x, kernel, padding=(2, 3), dilation=(2, 3), groups=3)
    assert torch.allclose(pools.DilatedAvgPool2d((3, 2), 1, (2, 3), (2, 3))(x), expected, rtol=0, atol=1e-14)


def test_padding_beyond_half_the_window_is_minus_infinity() -> None:
    x = -1 - maps(1).abs()
    found = pools.DilatedMaxPool1d(2, 1, 4, 4)(x)  # torch refuses: pad should be at most half of the window
    filled = F.pad(x, (4, 4), value=float("-inf"))
    assert torch.equal(found, torch.maximum(filled[..., :-4], filled[..., 4:]))
    assert found.isfinite().all()


def test_positions_behind_are_never_divided_by() -> None:
    x = maps(1)[..., :6]
    found = pools.DilatedAvgPool1d(3, 2, behind=1)(x)
    assert torch.allclose(found, nn.AvgPool1d(3, 2, ceil_mode=True)(x), rtol=0, atol=1e-14)


def test_of_equal_values_torchs_gets_the_gradient() -> None:
    x = torch.zeros(1, 1, 4, 4).requires_grad_()
    (mine,) = torch.autograd.grad(pools.DilatedMaxPool2d(2)(x).sum(), x)
    (torchs,) = torch.autograd.grad(F.max_pool2d(x, 2, 1).sum(), x)
    assert torch.equal(mine, torchs)


def test_gradients() -> None:
    x = maps(2)[:1, :1].requires_grad_()
    for layer in (pools.DilatedAvgPool2d(3, 1, 2, 2, 1, count_include_pad=False), pools.DilatedMaxPool2d(2, 1, 1, 3)):
        assert torch.autograd.gradcheck(layer, (x,))


def test_not_a_number_stays_one() -> None:
    x = maps(1)
    x[0, 0, 5] = float("nan")
    assert pools.DilatedMaxPool1d(2, dilation=2)(x)[0, 0, [3, 5]].isnan().all()


def test_a_window_that_does_not_fit_is_an_error_and_passes_know_the_layers() -> None:
    with pytest.raises(RuntimeError, match="7 positions on 5"):
        pools.DilatedAvgPool1d(4, dilation=2)(torch.zeros(1, 1, 5))
    network = nn.Sequential(pools.DilatedMaxPool2d(2, 1, 0, 3), pools.DilatedAvgPool2d(3, 2))
    assert shapes(network, (4, 16, 12))[-1].output == (4, 6, 4)
