"""Convolution is the lecture's matrix, and transposed convolution that matrix transposed; in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph import matrix

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
GRIDS = {1: (11,), 2: (7, 9), 3: (5, 6, 5)}


def product(layer: nn.Conv2d, x: Tensor) -> Tensor:
    y = layer(x[None])[0]
    bias = layer.bias.view(-1, *(1,) * (x.dim() - 1)).expand_as(y)
    return (matrix(layer, tuple(x.shape)) @ x.flatten()).view_as(y) + bias


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_is_its_matrix(dims: int, groups: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, *GRIDS[dims], dtype=torch.float64)
    for kernel, stride, padding, dilation in itertools.product((1, 2, 3), (1, 2, 3), (0, 2), (1, 2)):
        layer = CONVS[dims - 1](4, 6, kernel, stride, padding, dilation, groups, dtype=torch.float64)
        torch.testing.assert_close(product(layer, x), layer(x[None])[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution_is_its_matrix(dims: int, groups: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, *GRIDS[dims], dtype=torch.float64)
    for kernel, stride, padding, extra, dilation in itertools.product((1, 2, 3), (1, 2, 3), (0, 1), (0, 1), (1, 2)):
        if extra >= max(stride, dilation):
            continue
        options = (kernel, stride, padding, extra, groups, True, dilation)
        layer = TRANSPOSED[dims - 1](4, 6, *options, dtype=torch.float64)
        torch.testing.assert_close(product(layer, x), layer(x[None])[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("padding", ["same", "valid", (1, 0)])
@pytest.mark.parametrize("kernel", [(2, 3), (3, 4)])
def test_unequal_sides_and_paddings_by_name(padding: str | tuple[int, int], kernel: tuple[int, int]) -> None:
    layer = nn.Conv2d(2, 3, kernel, padding=padding, dtype=torch.float64)
    x = torch.randn(2, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(product(layer, x), layer(x[None])[0], atol=1e-12, rtol=0)


def test_the_lectures_matrix() -> None:
    """Nine weights on a 4x4 input: four rows of sixteen; its transpose is the transposed convolution's, 16x4."""
    conv, back = nn.Conv2d(1, 1, 3, bias=False), nn.ConvTranspose2d(1, 1, 3, bias=False)
    weight = torch.arange(1.0, 10).view(1, 1, 3, 3)
    conv.weight.data, back.weight.data = weight, weight
    w = matrix(conv, (1, 4, 4)).to_dense()
    row = [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0]
    assert w.tolist() == [row, [0, *row[:15]], [0] * 4 + row[:12], [0] * 5 + row[:11]]
    assert torch.equal(matrix(back, (1, 2, 2)).to_dense(), w.T)
    x = torch.randn(4)
    assert not torch.allclose(w @ (w.T @ x), x)  # the transpose is not the inverse


def test_its_transpose_is_the_gradient_and_it_has_a_gradient() -> None:
    layer = nn.Conv2d(2, 3, 3, 2, 1, dtype=torch.float64)
    x = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    y = layer(x[None])[0]
    g = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, g)
    w = matrix(layer, (2, 5, 6))
    assert w.is_sparse and w._nnz() < w.numel() / 3
    torch.testing.assert_close((w.T @ g.flatten()).view_as(x), gradient)
    dense = torch.autograd.grad((w @ x.detach().flatten()) @ g.flatten(), layer.weight)[0]
    expected = torch.autograd.grad((F.conv2d(x, layer.weight, None, 2, 1) * g).sum(), layer.weight)[0]
    torch.testing.assert_close(dense, expected)


def test_what_is_refused() -> None:
    with pytest.raises(FovealError, match="Linear is no convolution"):
        matrix(nn.Linear(3, 3), (3,))
    with pytest.raises(FovealError, match="Conv2d of 3 maps on an input of 1x8x8"):
        matrix(nn.Conv2d(3, 4, 3), (1, 8, 8))
    with pytest.raises(FovealError, match="padding_mode='reflect'"):
        matrix(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (3, 8, 8))
    with pytest.raises(FovealError, match="a window of 5x5 does not fit on 3x4x9"):
        matrix(nn.Conv2d(3, 4, 5), (3, 4, 9))
