"""The package's own layers: values against independent arithmetic, gradients against finite differences in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.layers.activations import Maxout, ScaledTanh, Step
from foveal.layers.layout import channels_last
from foveal.layers.pooling import GlobalAvgPool2d
from foveal.layers.rbf import RBF
from foveal.layers.residual import BasicBlock, Bottleneck, PlainBlock
from foveal.layers.shortcut import PadShortcut
from foveal.layers.subsampling import Subsampling
from foveal.layers.table_conv import TableConv2d

TABLE = ((0, 2), (1,), (2, 1, 0))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (ScaledTanh, (2, 3, 4)),
        (Maxout, (2, 6)),
        (lambda: Maxout(3), (2, 6, 2, 2)),
        (lambda: Subsampling(3), (2, 3, 5, 6)),
        (lambda: Subsampling(2, kernel_size=3, stride=1, dilation=2), (1, 2, 7, 8)),
        (lambda: TableConv2d(3, TABLE, 2), (2, 3, 4, 5)),
        (lambda: RBF(torch.randn(4, 5)), (3, 5)),
        (lambda: PadShortcut(2, 5, 2), (2, 2, 5, 4)),
        (lambda: BasicBlock(2, 4, 2), (2, 2, 4, 4)),
        (lambda: BasicBlock(2, 4, 2, shortcut="A"), (2, 2, 4, 4)),
        (lambda: Bottleneck(2, 4, 2, version="1"), (2, 2, 4, 4)),
        (lambda: PlainBlock(2, 4, 2), (2, 2, 4, 4)),
    ],
)
def test_gradients(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    layer = make().double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters(), strict=True) if list(layer.parameters()) else ((), ())

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        output = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))
        assert isinstance(output, Tensor)
        return output

    assert torch.autograd.gradcheck(run, (x, *values))


def test_step_fires_from_zero_and_has_no_slope() -> None:
    x = torch.tensor([-2.0, -1e-30, -0.0, 0.0, 1e-30, 3.0], requires_grad=True)
    y = Step()(x)
    assert y.tolist() == [0, 0, 1, 1, 1, 1]
    y.sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


def test_scaled_tanh_maps_the_targets_to_themselves() -> None:
    """Appendix A: f(±1) = ±1, and the second derivative is extreme there."""
    x = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(ScaledTanh()(x), x, atol=1e-4, rtol=0)
    grid = torch.linspace(0, 3, 3001, dtype=torch.float64)
    bend = ScaledTanh()(grid).diff().diff()
    assert abs(grid[bend.argmin() + 1].item() - 1) < 0.02


def test_maxout_is_the_larger_of_two_linear_functions() -> None:
    x, both = torch.randn(5, 3), nn.Linear(3, 8)
    first, second = x @ both.weight[0::2].T + both.bias[0::2], x @ both.weight[1::2].T + both.bias[1::2]
    torch.testing.assert_close(Maxout()(both(x)), torch.maximum(first, second))


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 3)])
def test_subsampling_is_a_scaled_mean(size: tuple[int, int]) -> None:
    layer = Subsampling(3)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, *size)
    expected = 4 * F.avg_pool2d(x, 2) * layer.weight[:, None, None] + layer.bias[:, None, None]
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(2, 2, 1), (3, 2, 1), (2, 1, 2), (3, 1, 3), (2, 3, 2)])
def test_subsampling_looks_through_its_window(kernel: int, stride: int, dilation: int) -> None:
    layer = Subsampling(2, kernel, stride, dilation)
    x = torch.randn(1, 2, 11, 10)
    ones = torch.ones(2, 1, kernel, kernel) / kernel**2
    expected = F.conv2d(x, ones, stride=stride, dilation=dilation, groups=2)
    torch.testing.assert_close(layer(x), expected)


def test_table_convolution_is_the_sum_over_listed_pairs() -> None:
    layer, x = TableConv2d(3, TABLE, 2), torch.randn(2, 3, 6, 5)
    kernels = iter(layer.weight)
    maps = []
    for row, bias in zip(TABLE, layer.bias, strict=True):
        pairs = [F.conv2d(x[:, i : i + 1], next(kernels)[None, None]) for i in row]
        maps.append(torch.stack(pairs).sum(0) + bias)
    torch.testing.assert_close(layer(x), torch.cat(maps, 1))


@pytest.mark.parametrize("table", [((0, 3),), ((0, 0),), ((),), ((-1,),)])
def test_table_with_an_impossible_row_is_refused(table: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"table row .*each of 0\.\.2 at most once"):
        TableConv2d(3, table, 2)


def test_pad_shortcut_samples_and_appends_zeros() -> None:
    x = torch.randn(2, 3, 5, 6)
    y = PadShortcut(3, 7, 2)(x)
    assert y.shape == (2, 7, 3, 3)
    assert torch.equal(y[:, :3], x[:, :, ::2, ::2])
    assert not y[:, 3:].any()
    with pytest.raises(ValueError, match="4 in, 2 out"):
        PadShortcut(4, 2, 1)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_pad_shortcut_hands_a_gradient_back_in_the_layout_it_was_given(layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 6, 6).contiguous(memory_format=layout).requires_grad_()
    y = PadShortcut(3, 7, 2)(x)
    ones = torch.ones_like(x[:, :, ::2, ::2])
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.is_contiguous(memory_format=layout)
    assert torch.equal(gradient[:, :, ::2, ::2], ones)
    assert gradient.sum() == ones.sum()


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_global_average_hands_a_gradient_back_in_the_layout_it_was_given(layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 6, 5).contiguous(memory_format=layout).requires_grad_()
    y = GlobalAvgPool2d()(x)
    torch.testing.assert_close(y, nn.AdaptiveAvgPool2d(1)(x))
    weights = torch.arange(6.0).view(2, 3, 1, 1)
    (gradient,) = torch.autograd.grad((y * weights).sum(), x)
    assert gradient.is_contiguous(memory_format=layout)
    torch.testing.assert_close(gradient, (weights / 30).expand_as(x))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_bottleneck_of_few_positions_puts_channels_first_and_computes_the_same(stride: int) -> None:
    """Beyond 128 positions channels stay last."""
    block = channels_last(Bottleneck(8, 16, stride)).eval()
    few, many = torch.randn(2, 8, 7 * stride, 7 * stride), torch.randn(3, 8, 7 * stride, 7 * stride)
    with torch.no_grad():
        together = block(many.to(memory_format=torch.channels_last))
        alone = block(many[:2].to(memory_format=torch.channels_last))
        assert together.is_contiguous(memory_format=torch.channels_last)
        assert alone.is_contiguous()
        torch.testing.assert_close(alone, together[:2])
        torch.testing.assert_close(block(few.to(memory_format=torch.channels_last)), block(few))
        halves = block.bfloat16()(few.bfloat16().to(memory_format=torch.channels_last))
    assert halves.is_contiguous(memory_format=torch.channels_last)


def test_blocks_are_the_papers_sums() -> None:
    """y = F(x) + x, then ReLU (equation 1); with other sizes y = F(x) + W_s x (equation 2)."""
    x = torch.randn(2, 4, 6, 6)
    same, wider = BasicBlock(4, 4).eval(), BasicBlock(4, 8, 2).eval()
    for block, shortcut in ((same, x), (wider, wider.shortcut(x))):
        residual = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
        torch.testing.assert_close(block(x), F.relu(residual + shortcut))


@pytest.mark.parametrize("layer", [Subsampling(3), TableConv2d(3, TABLE, 2), PadShortcut(3, 4, 2), ScaledTanh()])
def test_one_image_gives_what_a_batch_gives(layer: nn.Module) -> None:
    x = torch.randn(4, 3, 8, 8)
    alone = torch.cat([layer(image[None]) for image in x])
    torch.testing.assert_close(layer(x), alone, atol=1e-6, rtol=1e-5)
