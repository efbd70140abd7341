"""The lectures' questions about sizes, parameters and work, with the lectures' numbers; torch is the oracle."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import nn

from foveal.errors import FovealError
from foveal.graph.arithmetic import arithmetic
from foveal.graph.count import count
from foveal.report.arithmetic import answer, draw


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "output"),
    [(7, 3, 1, 0, 5), (7, 3, 2, 0, 3), (7, 3, 1, 1, 7), (9, 5, 1, 2, 9), (11, 7, 1, 3, 11), (227, 11, 4, 0, 55)],
)
def test_output_sizes_of_the_lectures(size: int, kernel: int, stride: int, padding: int, output: int) -> None:
    found = arithmetic("conv", (size, size), (kernel,), stride=(stride,), padding=(padding,))
    assert found.output == (output, output) and found.divides


def test_a_stride_that_does_not_divide_is_reported() -> None:
    """N = 7, F = 3, S = 3 gives 2.33; 224 with AlexNet's window gives 54.25."""
    found = arithmetic("conv", (7, 7), (3,), stride=(3,))
    assert found.exact[0] == Fraction(7, 3) and not found.divides and found.output == (2, 2)
    said = answer(found)
    assert "2.33, rounded down to 2" in said
    assert "the last position is not seen; an input of 6 or 9, padding 1 would divide" in said
    assert arithmetic("conv", (224, 224), (11,), stride=(4,)).exact[0] == Fraction("54.25")
    assert "3.50, rounded up to 4" in answer(arithmetic("pool", (7, 7), (2,), ceil=True))


def test_counts_of_the_lectures() -> None:
    first = arithmetic("conv", (32, 32), (5,), channels=3, filters=6)
    assert (first.maps, *first.output) == (6, 28, 28)
    padded = arithmetic("conv", (32, 32), (5,), padding=(2,), channels=3, filters=10)
    assert (padded.maps, *padded.output) == (10, 32, 32) and padded.parameters == 760
    assert arithmetic("conv", (120, 80), (10,), filters=200).values == 1_576_200
    connected = arithmetic("conv", (16, 16), (16,), channels=256, filters=4096)
    assert connected.weights == 268_435_456 == 256 * 2**20 and connected.output == (1, 1)
    shared = arithmetic("conv", (1000, 1000), (10,), padding=(5,), filters=100, bias=False)
    assert shared.parameters == 10_000
    assert arithmetic("conv", (5, 5), (3,)).output == (3, 3)
    three = 3 * arithmetic("conv", (8, 8), (3,), channels=64, filters=64, bias=False).parameters
    seven = arithmetic("conv", (8, 8), (7,), channels=64, filters=64, bias=False).parameters
    assert (three, seven) == (27 * 64**2, 49 * 64**2)


def test_transposed_convolution_of_the_lectures() -> None:
    """3x3 on 2x2: 4x4 with stride 1, 5x5 with stride 2; where windows overlap unevenly, that is said."""
    assert arithmetic("transposed", (2, 2), (3,)).output == (4, 4)
    uneven = arithmetic("transposed", (2, 2), (3,), stride=(2,))
    assert uneven.output == (5, 5) and uneven.writers(0) == (1, 1, 2, 1, 1)
    assert "unequally often" in answer(uneven)
    even = arithmetic("transposed", (3, 3), (4,), stride=(2,), padding=(1,))
    assert even.output == (6, 6) and set(even.writers(0)[1:-1]) == {2}
    assert "unequally often" not in answer(even)


def test_the_drawing_of_characters() -> None:
    lines = answer(arithmetic("conv", (7, 7), (3,), stride=(2,), padding=(1,))).splitlines()
    assert lines[-5:] == [
        "      input ·0123456·",
        " output   0 ###     ·",
        " output   1 · ###   ·",
        " output   2 ·   ### ·",
        " output   3 ·     ###",
    ]
    assert " output   0 # # #" in answer(arithmetic("conv", (9, 9), (3,), dilation=(2,)))
    assert "reads 216 … 226" in answer(arithmetic("conv", (227, 227), (11,), stride=(4,)))


GRIDS = st.tuples(
    st.sampled_from(("conv", "pool", "transposed")),
    st.lists(st.integers(1, 12), min_size=1, max_size=3),
    *(st.integers(low, high) for low, high in ((1, 4), (1, 4), (0, 2), (1, 2))),
    st.booleans(),
)


@given(GRIDS)
@settings(max_examples=80, deadline=None)
@example(("transposed", [1, 2], 2, 1, 1, 1, False))
def test_sizes_and_counts_are_torchs(case: tuple[str, list[int], int, int, int, int, bool]) -> None:
    kind, size, kernel, stride, padding, dilation, ceil = case
    assume(not ceil or min(size) + 2 * padding > dilation * (kernel - 1))  # torch pools half windows
    dims = len(size)
    numbers = {"stride": stride, "padding": padding, "dilation": dilation}
    more = {"ceil": ceil} if kind == "pool" else {"channels": 4, "filters": 6, "groups": 2}
    layer: nn.Module
    if kind == "pool":
        layer = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[dims - 1](kernel, ceil_mode=ceil, **numbers)
    elif kind == "conv":
        layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](4, 6, kernel, groups=2, **numbers)
    else:
        layer = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1](
            4, 6, kernel, groups=2, **numbers
        )
    channels = 1 if kind == "pool" else 4
    image = torch.empty((2, channels, *size), device="meta")
    try:
        made = tuple(layer.to("meta")(image).shape[2:])
    except RuntimeError:
        made = (0,)
    if min(made) < 1:  # an answer without a position is refused by torch, or given empty
        with pytest.raises(FovealError):
            arithmetic(kind, tuple(size), (kernel,), **{k: (v,) for k, v in numbers.items()}, **more)  # type: ignore[arg-type]
        return
    found = arithmetic(kind, tuple(size), (kernel,), **{k: (v,) for k, v in numbers.items()}, **more)  # type: ignore[arg-type]
    assert found.output == made
    cost = count(layer, (channels, *size))
    assert (found.parameters, found.macs) == (cost.parameters, cost.macs)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"kernel": (8,)}, "a window over 8 positions does not fit into 7"),
        ({"kernel": (0,)}, "kernel 0 is too small"),
        ({"kernel": (3, 3, 3)}, "3 numbers for the kernel of a grid of 2"),
        ({"kernel": (3,), "groups": 2}, "2 groups do not divide 1 channels"),
        ({"kernel": (3,), "ceil": True}, "rounding up is for poolings"),
        ({"kernel": (3,), "output_padding": (1,)}, "output padding is for transposed"),
        ({"kind": "pool", "kernel": (3,), "padding": (2,)}, "padding 2 of a pooling of 3"),
        ({"kind": "pool", "kernel": (3,), "filters": 4}, "no filters"),
        ({"kind": "deconv", "kernel": (3,)}, "unknown kind of layer 'deconv'"),
        ({"kind": "transposed", "kernel": (1,), "padding": (4,)}, "the output would have -1 positions"),
        ({"input": (7,) * 4, "kernel": (3,)}, "a grid of 4 dimensions"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, object], what: str) -> None:
    with pytest.raises(FovealError, match=what):
        arithmetic(**{"kind": "conv", "input": (7, 7), **options})  # type: ignore[arg-type]


def test_both_grids_are_drawn() -> None:
    sketch = draw(arithmetic("conv", (7, 7), (3,), stride=(2,), padding=(1,)))
    drawn = sketch.svg()
    assert drawn.count("<rect") == 1 + 9 * 9 + 4 * 4 + 2 * (9 + 1) + 2  # paper, squares, both windows, frames
    assert ">input 7x7<" in drawn and ">output 4x4<" in drawn
    assert sketch.image().size == (round(2 * sketch.width), round(2 * sketch.height))
    assert draw(arithmetic("conv", (5, 6, 7), (3,))).svg().count(">output 4x5<") == 1
    assert draw(arithmetic("transposed", (4,), (3,), stride=(2,))).svg().count(">output 9<") == 1
    with pytest.raises(FovealError, match="too fine to be drawn"):
        draw(arithmetic("conv", (500, 7), (3,)))
