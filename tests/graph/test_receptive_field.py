"""The receptive field is the extent of the true gradient, on chains, joins, and every kind of layer."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph.receptive_field import receptive_field
from foveal.graph.shapes import shapes
from foveal.layers.shortcut import PadShortcut
from foveal.notation import parse


def gradient_extent(model: nn.Module, input: tuple[int, ...], position: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """First and last image position, per dimension, at which the output at `position` has a gradient, in float64."""
    model = model.double().eval()
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)  # nothing cancels
    image = torch.rand(1, *input, dtype=torch.float64, requires_grad=True)
    output = model(image)
    output[(0, slice(None), *position)].sum().backward()
    seen = image.grad[0].abs().sum(0) > 0
    places = seen.nonzero()
    return tuple((int(places[:, d].min()), int(places[:, d].max())) for d in range(len(input) - 1))


def check(model: nn.Module, input: tuple[int, ...], *, reach: int = 0) -> None:
    """All output positions within `reach` of the middle."""
    last = shapes(model, input)[-1]
    field = receptive_field(model, input)[last.path]
    middle = tuple(n // 2 for n in last.output[1:])
    for step in range(-reach, reach + 1):
        position = tuple(m + step for m in middle)
        said = field.interval(position)
        clipped = tuple((max(lo, 0), min(hi, n - 1)) for (lo, hi), n in zip(said, input[1:], strict=True))
        assert clipped == gradient_extent(model, input, position)


class Residual(nn.Module):
    """Two convolutions, strided, and a shortcut."""

    def __init__(self, channels: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.shortcut, self.relu = shortcut, nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv2(self.conv1(x)) + self.shortcut(x))


class Inception(nn.Module):
    """Concatenated branches of unlike windows; `left` is even, so that the union is not centred."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(channels, 2, 4, padding=3, dilation=2)
        self.right = nn.Sequential(nn.Conv2d(channels, 2, 5, padding=2), nn.AvgPool2d(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], 1)


@pytest.mark.parametrize(
    ("model", "input"),
    [
        (parse("5-2-2Conv4 (ReLU) → 3-2AvgPool → 3-1-1-2Conv4 → 2-1AvgPool", (2, 60, 71)), (2, 60, 71)),
        (parse("5-2Conv3 → 3-3AvgPool → 3-1-1Conv2", (1, 90)), (1, 90)),
        (parse("3-2Conv2 → 2-2AvgPool → 2-1Conv2", (1, 19, 22, 21)), (1, 19, 22, 21)),
        (nn.Sequential(Residual(3, 2, PadShortcut(3, 3, 2)), Residual(3, 1, nn.Identity())), (3, 41, 44)),
        (nn.Sequential(nn.Conv2d(3, 3, 3, 2), Residual(3, 2, nn.Conv2d(3, 3, 1, 2)), nn.AvgPool2d(2)), (3, 63, 59)),
        (nn.Sequential(Inception(3), nn.Conv2d(4, 2, 3, 2), Inception(2)), (3, 50, 47)),
    ],
)
def test_chains_residual_and_concatenated_networks(model: nn.Module, input: tuple[int, ...]) -> None:
    check(model, input, reach=1)


@pytest.mark.parametrize(
    "up",
    [
        nn.ConvTranspose2d(2, 2, 4, 2, 1),
        nn.ConvTranspose2d(2, 2, 3, 2),
        nn.ConvTranspose2d(2, 2, 5, 3, 2, output_padding=1),
        nn.ConvTranspose2d(2, 2, 8, 4, 2),
        nn.ConvTranspose2d(2, 2, 3, 1, 1),
        nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=3, mode="bilinear"),
        nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False),
    ],
)
def test_upsampling_at_every_phase(up: nn.Module) -> None:
    check(nn.Sequential(nn.Conv2d(1, 2, 3, 2), nn.AvgPool2d(2), up), (1, 45, 45), reach=4)
    check(nn.Sequential(nn.Conv2d(1, 2, 3, 2), up, nn.Conv2d(2, 1, 3, 2), nn.AvgPool2d(2)), (1, 45, 45), reach=2)


def test_an_hourglass_with_skip() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(2, 2, 3, 2, 1), nn.Conv2d(2, 2, 3, 2, 1))
            self.up = nn.Sequential(nn.ConvTranspose2d(2, 2, 2, 2), nn.ConvTranspose2d(2, 2, 2, 2))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.up(self.down(x)), x], 1)

    check(Skip(), (2, 32, 32), reach=4)
    field = receptive_field(Skip(), (2, 32, 32))
    assert field["up.0"].stride == (Fraction(2), Fraction(2))
    assert field["cat"].stride == (Fraction(1), Fraction(1))
    assert receptive_field(nn.Upsample(scale_factor=4), (1, 8, 8))["upsample"].stride == (Fraction(1, 4),) * 2


@pytest.mark.parametrize("wanted", [1, 2, 3, 4, 5, 7, (4, None)])
def test_adaptive_pooling_even_and_uneven(wanted: int | tuple[int | None, ...]) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, 1), nn.AdaptiveAvgPool2d(wanted))
    grid = shapes(model, (1, 14, 13))[-1].output[1:]
    field = receptive_field(model, (1, 14, 13))["1"]
    for row in range(grid[0]):
        for column in range(grid[1]):
            assert field.interval((row, column)) == gradient_extent(model, (1, 14, 13), (row, column))


def test_pooling_with_ceil_sees_the_same_and_has_one_more() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, 2), nn.AvgPool2d(3, 2, ceil_mode=True))
    assert shapes(model, (1, 29, 29))[-1].output == (2, 7, 7)
    check(model, (1, 29, 29), reach=2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("cpt"), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)), max_size=4))
def test_any_sequence(layers: list[tuple[str, int, int, int]]) -> None:
    model = nn.Sequential()
    for number, (kind, k, s, d) in enumerate(layers):
        make = {
            "c": lambda k=k, s=s, d=d: nn.Conv1d(1, 1, k, s, 0, d),
            "p": lambda k=k, s=s: nn.AvgPool1d(k, s),
            "t": lambda k=k, s=s: nn.ConvTranspose1d(1, 1, max(k, s), s, (max(k, s) - s) // 2),
        }[kind]
        model.append(make())
        try:
            if shapes(model, (1, 1600))[-1].output[1] < 15:  # the middle is to be far from every layer's borders
                model = model[:number]
                break
        except FovealError:
            model = model[:number]
            break
    if len(model):
        check(model, (1, 1600), reach=1)


def test_vectors_see_everything() -> None:
    model = parse("3-2Conv4 → FC5 (ReLU) → FC2", (1, 9, 9))
    field = receptive_field(model, (1, 9, 9))
    assert field["fc3"].size == (9, 9)
    assert field["fc3"].stride == (0, 0)


def test_starts_centres_and_the_lectures_sizes() -> None:
    with torch.device("meta"):
        model = parse(
            "11-4Conv96 → 3-2MaxPool → 5-1-2Conv256 → 3-2MaxPool → 3-1-1Conv384 → 3-1-1Conv384 → 3-1-1Conv256"
        )
    field = receptive_field(model, (3, 227, 227))
    assert [f.size[0] for f in field.values()] == [11, 19, 51, 67, 99, 131, 163]
    assert [int(f.stride[0]) for f in field.values()] == [4, 8, 8, 16, 16, 16, 16]
    assert field["conv2"].start == (-16, -16)
    assert field["conv2"].centre == (9.0, 9.0)


def test_joins_that_no_grid_has() -> None:
    class Along(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, x], 2)

    class Strides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.conv = nn.MaxPool2d(2), nn.Conv2d(1, 1, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.pool(x) + self.conv(x)

    with pytest.raises(FovealError, match="puts 1x8x8 together along the grid"):
        receptive_field(Along(), (1, 8, 8))
    with pytest.raises(FovealError, match="puts maps of strides 2x2 and 1x1 together"):
        receptive_field(Strides(), (1, 8, 8))
    with pytest.raises(FovealError, match=r"layer '0' \(Linear\) mixes the positions"):
        receptive_field(nn.Sequential(nn.Linear(8, 3)), (1, 8, 8))
