"""Fully connected layers slid over maps: as convolutions while they learn, as products of matrices otherwise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foveal.layers.sliding import SlidingLinear


@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 8, 9, 7), (1, 8, 40, 60)])  # few positions, and more than go at once
def test_products_equal_the_convolution(shape: tuple[int, ...], bias: bool, dilation: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = SlidingLinear(nn.Linear(8 * 2 * 3, 5, bias=bias), 8, (2, 3), dilation).double()
    maps = torch.randn(shape, dtype=torch.float64)
    learning = layer(maps)
    for layout in (torch.contiguous_format, torch.channels_last):
        with torch.no_grad():
            found = layer(maps.contiguous(memory_format=layout))
        assert learning.requires_grad and not found.requires_grad
        torch.testing.assert_close(found, learning.detach(), atol=1e-12, rtol=1e-12)


def test_weights_are_not_laid_out_anew() -> None:
    """What a CPU multiplies is the weights' own memory: a copy of them would cost more than the product."""
    layer = SlidingLinear(nn.Linear(8 * 4, 6), 8, (2, 2))
    seen: list[tuple[int, tuple[int, ...]]] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if function is torch.ops.aten.convolution.default:
                seen.append((args[0].data_ptr(), args[0].stride()))
            return function(*args, **(kwargs or {}))

    with torch.no_grad(), Watch():
        layer(torch.randn(1, 8, 5, 5))
    laid_out = torch.empty(1, 8 * 4, 6, 1).contiguous(memory_format=torch.channels_last)  # other strides make a copy
    assert seen == [(layer.weight.data_ptr(), laid_out.stride())]
