"""The lectures' worked examples of layer sizes, parameter counts, receptive fields and filtering."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foveal.graph.count import count
from foveal.graph.receptive_field import receptive_field
from foveal.graph.shapes import shapes
from foveal.graph.table import table
from foveal.graph.windows import Window
from foveal.notation import parse


def test_strided_filtering() -> None:
    """A plus-shaped mean over a 7x7 image, stride 2."""
    image = torch.zeros(7, 7, dtype=torch.float64)
    image[2:5, 2:5] = torch.tensor([[5, 10, 5], [10, 10, 5], [5, 5, 0]])
    conv = parse("3-2Conv1 (NoBias)", (1, 7, 7)).double()
    plus = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=torch.float64) / 5
    conv[0].weight.data[0, 0] = plus
    expected = torch.tensor([[0, 2, 0], [2, 8, 1], [0, 1, 0]], dtype=torch.float64)
    assert torch.allclose(conv(image[None, None])[0, 0], expected, rtol=0, atol=1e-12)


def test_transposed_convolution_as_upsampling() -> None:
    """The bilinear kernel keeps the values and puts their means between them."""
    up = nn.ConvTranspose2d(1, 1, 3, 2, 1, bias=False).double()
    side = torch.tensor([0.5, 1, 0.5], dtype=torch.float64)
    up.weight.data[0, 0] = side[:, None] * side
    image = torch.tensor([[4, 2, 4], [6, 4, 6], [2, 12, 2]], dtype=torch.float64)
    expected = [[4, 3, 2, 3, 4], [5, 4, 3, 4, 5], [6, 5, 4, 5, 6], [4, 6, 8, 6, 4], [2, 7, 12, 7, 2]]
    assert torch.equal(up(image[None, None])[0, 0], torch.tensor(expected, dtype=torch.float64))
    assert shapes(nn.Sequential(up), (1, 3, 3))[0].output == (1, 5, 5)


@pytest.mark.parametrize(("stride", "exact", "whole"), [(1, 5, 5), (2, 3, 3), (3, 7 / 3, 2)])
def test_seven_positions_and_a_window_of_three(stride: int, exact: float, whole: int) -> None:
    window = Window((3,), (stride,), (0,), (1,))
    assert window.positions((7, 7)) == pytest.approx((exact, exact))
    assert window.output((7, 7)) == (whole, whole)
    (row,) = table(parse(f"3-{stride}Conv1", (1, 7, 7)), (1, 7, 7))
    assert row.output == (1, whole, whole)
    assert row.note == ("2.333 → 2" if stride == 3 else "")


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (7, 3)])
def test_padding_that_keeps_the_size(kernel: int, padding: int) -> None:
    assert shapes(parse(f"{kernel}-1-{padding}Conv2", (1, 7, 7)), (1, 7, 7))[0].output == (2, 7, 7)


def test_parameters_of_convolutions() -> None:
    assert shapes(parse("5-1Conv6", (3, 32, 32)), (3, 32, 32))[0].output == (6, 28, 28)
    ten = count(parse("5-1-2Conv10", (3, 32, 32)), (3, 32, 32))
    assert ten.parameters == 760
    assert ten.layers[0].activations == 10 * 32 * 32
    for maps in (32, 64, 128, 512):
        assert count(parse(f"3-1-1Conv{maps}", (7, 9, 9)), (7, 9, 9)).parameters == 9 * 7 * maps + maps


def test_a_fully_connected_layer_is_a_convolution_over_the_whole_map() -> None:
    """16x16x256 into 4096: 256 · 2^20 weights, either way."""
    with torch.device("meta"):
        connected = count(parse("FC4096 (NoBias)", (256, 16, 16)), (256, 16, 16))
        convolution = count(parse("16-1Conv4096 (NoBias)", (256, 16, 16)), (256, 16, 16))
    assert connected.parameters == convolution.parameters == 268_435_456 == 256 * 2**20
    assert connected.macs == convolution.macs == 268_435_456


@pytest.mark.parametrize(("layers", "field"), [(2, 5), (3, 7)])
def test_stacked_small_windows(layers: int, field: int) -> None:
    model = parse(f"[3-1-1Conv4 (NoBias)]x{layers}", (4, 9, 9))
    assert receptive_field(model, (4, 9, 9))[f"conv{layers}"].size == (field, field)
    one = parse(f"{field}-1Conv4 (NoBias)", (4, 9, 9))
    assert count(model, (4, 9, 9)).parameters == layers * 9 * 16  # 27 C² for three
    assert count(one, (4, 9, 9)).parameters == field**2 * 16  # 49 C² for one of 7x7


def test_striding_makes_fields_grow_exponentially() -> None:
    model = parse("[3-2-1Conv2]x5", (1, 128, 128))
    assert [f.size[0] for f in receptive_field(model, (1, 128, 128)).values()] == [3, 7, 15, 31, 63]


def test_dilation_makes_fields_grow_exponentially_at_the_same_cost() -> None:
    model = parse("3-1-1-1Conv1 → 3-1-2-2Conv1 → 3-1-4-4Conv1", (1, 20, 20))
    assert [f.size for f in receptive_field(model, (1, 20, 20)).values()] == [(3, 3), (7, 7), (15, 15)]
    assert {row.parameters for row in count(model, (1, 20, 20)).layers} == {10}
