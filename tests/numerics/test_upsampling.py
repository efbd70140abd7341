"""Unpooling and upsampling: values against torch's and the lectures', gradients, and what the passes know of them."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.graph import count, receptive_field, shapes, trace
from foveal.layers.unpooling import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d, find_switches, unpool
from foveal.layers.upsampling import (
    BilinearUpsample,
    NearestUpsample,
    ZeroInsertion,
    bilinear_kernel,
    bilinear_transposed,
    init_bilinear,
)

POOLS = {1: (nn.MaxPool1d, MaxUnpool1d), 2: (nn.MaxPool2d, MaxUnpool2d), 3: (nn.MaxPool3d, MaxUnpool3d)}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


@pytest.mark.parametrize("size", [(13,), (7, 8), (5, 4, 7)])
def test_unpooling_is_torchs_where_windows_do_not_overlap(size: tuple[int, ...]) -> None:
    pool, kind = POOLS[len(size)]
    x = torch.randn(2, 3, *size)
    y, switches = pool(2, return_indices=True)(x)
    expected = getattr(F, f"max_unpool{len(size)}d")(y, switches, 2, output_size=x.shape)
    for overlap in ("sum", "last"):
        assert torch.equal(kind(2, overlap=overlap)(y, x), expected)
    assert torch.equal(find_switches(x, 2, 2), switches)


@pytest.mark.parametrize("numbers", [(3, 2), (3, 2, 1), (2, 1), (3, 2, 0, 1, True), (2, 2, 1, 2)])
def test_overlapping_windows(numbers: tuple[int, ...]) -> None:
    """Summed it is the gradient of the pooling; else the last window in the order of reading stands."""
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    y = F.max_pool2d(x, *numbers)
    signal = torch.randn_like(y)
    switches = find_switches(x, *numbers)
    torch.testing.assert_close(
        unpool(signal, switches, x.shape[2:]), torch.autograd.grad(y, x, signal)[0], atol=1e-12, rtol=0
    )
    expected = torch.zeros(2, 3, 72, dtype=torch.float64)
    for place in range(signal[0, 0].numel()):
        at = switches.flatten(2)[..., place : place + 1]
        expected.scatter_(2, at, signal.flatten(2)[..., place : place + 1])
    assert torch.equal(unpool(signal, switches, x.shape[2:], "last").flatten(2), expected)


def test_unpooling_hands_gradients_to_its_values_alone() -> None:
    below = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    for overlap in ("sum", "last"):
        assert torch.autograd.gradcheck(lambda x, o=overlap: MaxUnpool2d(2, overlap=o)(x, below.detach()), (x,))
    MaxUnpool2d(2)(x, below).sum().backward()
    assert below.grad is None
    with pytest.raises(ValueError, match="overlap='most': sum or last"):
        MaxUnpool2d(2, overlap="most")
    with pytest.raises(ValueError, match=r"values of shape \[1, 2, 4, 3\] for switches of \[1, 2, 3, 3\]"):
        MaxUnpool2d(2)(torch.zeros(1, 2, 4, 3), below)


class Hourglass(nn.Module):
    """Encoder and decoder of two poolings, whose second does not divide."""

    def __init__(self, pool: type[nn.Module] = nn.MaxPool2d) -> None:
        super().__init__()
        self.conv1, self.pool1 = nn.Conv2d(2, 3, 3, padding=1), pool(2)
        self.conv2, self.pool2 = nn.Conv2d(3, 4, 3, padding=1), pool(2)
        self.unpool2, self.deconv2 = MaxUnpool2d(2), nn.ConvTranspose2d(4, 3, 3, padding=1)
        self.unpool1, self.deconv1 = MaxUnpool2d(2), nn.ConvTranspose2d(3, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv1(x)
        b = self.conv2(self.pool1(a))
        return self.deconv1(self.unpool1(self.deconv2(self.unpool2(self.pool2(b), b)), a))


def test_an_hourglass_is_traced_counted_and_seen_through() -> None:
    model = Hourglass().double()
    layers = {layer.path: layer for layer in shapes(model, (2, 18, 22))}
    assert layers["unpool2"].output == (4, 9, 11) and layers["unpool1"].sources == ("deconv2", "conv1")
    assert layers["deconv1"].output == (2, 18, 22)
    counted = {layer.path: layer.macs for layer in count(model, (2, 18, 22)).layers}
    assert counted["unpool1"] == 0 and counted["deconv1"] == 18 * 22 * 3 * 2 * 9
    x = torch.randn(2, 2, 18, 22, dtype=torch.float64)
    assert torch.equal(trace(model)(x), model(x))


def test_unpoolings_field_is_the_extent_of_the_gradient() -> None:
    """Over many images, since a position is filled in some of them and empty in others."""
    model = Hourglass(nn.AvgPool2d).double()  # max pooling would hide most of what it looks at
    fields = receptive_field(model, (2, 18, 22))
    assert fields["unpool2"].stride == (Fraction(2),) * 2 and fields["deconv1"].stride == (Fraction(1),) * 2
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)  # nothing cancels
    low, high = torch.tensor([99, 99]), torch.tensor([-1, -1])
    for seed in range(60):
        torch.manual_seed(seed)
        image = torch.randn(1, 2, 18, 22, dtype=torch.float64, requires_grad=True)
        model(image)[0, :, 9, 10].sum().backward()
        places = image.grad[0].abs().sum(0).nonzero()
        if len(places):
            low, high = torch.minimum(low, places.amin(0)), torch.maximum(high, places.amax(0))
    said = fields["deconv1"].interval((9, 10))
    assert [max(lo, 0) for lo, _ in said] == low.tolist()
    assert [min(hi, n - 1) for (_, hi), n in zip(said, (18, 22), strict=True)] == high.tolist()


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(9,), (5, 7), (3, 4, 5)])
def test_fixed_filters_are_interpolation(factor: int, size: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    grown = [n * factor for n in size]
    torch.testing.assert_close(NearestUpsample(factor)(x), F.interpolate(x, grown, mode="nearest"))
    bilinear = F.interpolate(x, grown, mode=MODES[len(size)], align_corners=False)
    torch.testing.assert_close(BilinearUpsample(factor).double()(x), bilinear, atol=1e-6, rtol=0)
    points = [factor * (n - 1) + 1 for n in size]
    corners = F.interpolate(x, points, mode=MODES[len(size)], align_corners=True)
    torch.testing.assert_close(BilinearUpsample(factor, corners=True)(x), corners, atol=1e-6, rtol=0)
    zeros = ZeroInsertion(factor)(x)
    every = (slice(None), slice(None), *(slice(None, None, factor),) * len(size))
    assert list(zeros.shape[2:]) == grown and torch.equal(zeros[every], x)
    assert int((zeros != 0).sum()) == x.numel()


def test_a_convolution_behind_inserted_zeros_is_a_transposed_one() -> None:
    x, weight = torch.randn(1, 2, 5, 6), torch.randn(2, 3, 3, 3)
    flipped = weight.flip(2, 3).transpose(0, 1)
    expected = F.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=1)
    torch.testing.assert_close(F.conv2d(ZeroInsertion(2)(x), flipped, padding=1), expected, atol=1e-5, rtol=0)


def test_the_lectures_worked_example() -> None:
    """The tent kernel of 3x3, stride 2, padding 1, on a 3x3 map: bilinear interpolation between its points."""
    x = torch.tensor([[4.0, 2, 4], [6, 4, 6], [2, 12, 2]])[None, None]
    expected = [[4, 3, 2, 3, 4], [5, 4, 3, 4, 5], [6, 5, 4, 5, 6], [4, 6, 8, 6, 4], [2, 7, 12, 7, 2]]
    assert BilinearUpsample(2, corners=True)(x)[0, 0].tolist() == expected


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("factor", "groups"), [(2, 1), (3, 3), (4, 1)])
def test_learned_upsampling_starts_as_interpolation(dims: int, factor: int, groups: int) -> None:
    conv = bilinear_transposed(3, factor, dims=dims, groups=groups).double()
    x = torch.randn(2, 3, *(6,) * dims, dtype=torch.float64)
    y = conv(x)
    assert list(y.shape[2:]) == [6 * factor] * dims and conv.weight.requires_grad
    inside = (slice(None), slice(None), *(slice(factor, -factor),) * dims)  # FCN's sees zeros beyond the border
    expected = BilinearUpsample(factor).double()(x)
    torch.testing.assert_close(y[inside], expected[inside], atol=1e-6, rtol=0)


def test_kernels_and_what_is_refused() -> None:
    assert bilinear_kernel(2).tolist() == [0.25, 0.75, 0.75, 0.25]
    torch.testing.assert_close(bilinear_kernel(3), torch.tensor([1, 2, 3, 2, 1]).double() / 3)
    assert not ZeroInsertion(2).state_dict()
    with pytest.raises(ValueError, match=r"bilinear interpolation by \(2, 2\) needs a kernel of \(4, 4\)"):
        init_bilinear(nn.ConvTranspose2d(3, 3, 3, 2))
    for make in (ZeroInsertion, NearestUpsample, BilinearUpsample, lambda f: BilinearUpsample(f, corners=True)):
        with pytest.raises(ValueError, match="upsampling by 0"):
            make(0)


@pytest.mark.parametrize(
    "up",
    [
        NearestUpsample(2),
        NearestUpsample(3),
        BilinearUpsample(2),
        BilinearUpsample(3),
        BilinearUpsample(4, corners=True),
        bilinear_transposed(2, 2),
        bilinear_transposed(2, 3),
        ZeroInsertion(2),
    ],
)
def test_receptive_fields_through_upsampling(up: nn.Module) -> None:
    """Equal to the extent of the gradient, at every phase, also where the map is looked at again."""
    for tail in (nn.Identity(), nn.Sequential(nn.Conv2d(2, 1, 3, 2), nn.AvgPool2d(2))):
        model = nn.Sequential(nn.Conv2d(1, 2, 3, 2), nn.AvgPool2d(2), up, tail).double()
        for parameter in model.parameters():
            nn.init.uniform_(parameter, 0.5, 1.5)
        last = shapes(model, (1, 45, 45))[-1]
        field = receptive_field(model, (1, 45, 45))[last.path]
        middle = last.output[1] // 2
        for place in range(middle - 2, middle + 3):
            image = torch.rand(1, 1, 45, 45, dtype=torch.float64, requires_grad=True)
            model(image)[0, :, place, place].sum().backward()
            seen = image.grad[0, 0].nonzero()
            if isinstance(up, ZeroInsertion) and isinstance(tail, nn.Identity) and place % 2:
                assert not len(seen)
                continue
            low, high = field.interval((place, place))[0]
            assert (max(low, 0), min(high, 44)) == (int(seen.min()), int(seen.max()))
    assert (
        receptive_field(up, (2, 9, 9))[type(up).__name__.lower()].stride
        == (Fraction(1, up.stride[0] if isinstance(up, nn.ConvTranspose2d) else up.factor),) * 2
    )
