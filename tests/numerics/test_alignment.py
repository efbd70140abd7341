"""Layers that bring maps of different sizes together, and what the receptive field knows of them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.graph.receptive_field import receptive_field
from foveal.layers.alignment import CropLike, MirrorPad, ResizeLike
from foveal.layers.channels import ChannelSlice, ToMaps
from foveal.layers.total_dropout import TotalDropout


def test_cropping_takes_the_part_from_the_offset_on() -> None:
    x, like = torch.arange(48.0).view(1, 1, 6, 8), torch.empty(2, 5, 3, 4)
    assert torch.equal(CropLike(2)(x, like), x[:, :, 2:5, 2:6])
    assert torch.equal(CropLike(None)(x, like), x[:, :, 1:4, 2:6])
    with pytest.raises(ValueError, match="3 rows or columns from 4 on cannot be cut out of 6"):
        CropLike(4)(x, like)
    with pytest.raises(ValueError, match="0 or more"):
        CropLike(-1)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_resizing_is_torchs(mode: str) -> None:
    x, like = torch.rand(1, 2, 5, 7), torch.empty(1, 9, 11, 14)
    expected = F.interpolate(x, size=(11, 14), mode=mode)
    assert torch.equal(ResizeLike(mode)(x, like), expected)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bilinear or nearest"):
        ResizeLike("cubic")  # type: ignore[arg-type]


def test_mirroring_is_reflection_and_goes_on_beyond_small_images() -> None:
    x = torch.rand(2, 3, 6, 5)
    assert torch.equal(MirrorPad(4)(x), F.pad(x, (4, 4, 4, 4), mode="reflect"))
    row = torch.tensor([0.0, 1, 2]).view(1, 1, 1, 3)
    assert MirrorPad(3)(row)[0, 0, 3].tolist() == [1, 2, 1, 0, 1, 2, 1, 0, 1]


@pytest.mark.parametrize("size", [4, 5, 19, 20, 388])
def test_mirroring_rounds_the_size_up(size: int) -> None:
    height = MirrorPad(92, 16, 4)(torch.empty(1, 1, size, 4)).shape[2]
    assert height - 184 == next(n for n in range(size, size + 16) if n % 16 == 4)


class Skip(nn.Module):
    """Down, up, and cut or resized to the size of what stands beside."""

    def __init__(self, fit: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 1, 3, padding=1)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.conv2 = nn.Conv2d(1, 1, 3, padding=1)
        self.up = nn.ConvTranspose2d(1, 1, 2, 2) if isinstance(fit, CropLike) else nn.Identity()
        self.fit = fit

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv1(images)
        return self.fit(self.up(self.conv2(self.pool(x))), x) + x  # type: ignore[no-any-return]


@pytest.mark.parametrize("fit", [CropLike(), CropLike(None), ResizeLike("bilinear"), ResizeLike("nearest")])
def test_the_receptive_field_is_the_extent_of_the_gradient(fit: nn.Module) -> None:
    """Through an average in place of the maximum, which has a gradient everywhere, at positions in the middle."""
    side = 21 if isinstance(fit, CropLike) else 20
    model = Skip(fit).double()
    model.set_submodule("pool", nn.AvgPool2d(2, ceil_mode=True))
    for p in model.parameters():
        nn.init.ones_(p)
    field = receptive_field(model, (1, side, side))["add"]
    for place in (9, 10, 11):
        image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
        model(image)[0, 0, place, place].backward()
        assert image.grad is not None
        rows = image.grad[0, 0].abs().sum(1).nonzero().flatten().tolist()
        assert ((rows[0], rows[-1]),) * 2 == field.interval((place, place))


def test_parts_of_channels_and_maps_of_vectors() -> None:
    x = torch.arange(24.0).view(1, 6, 2, 2)
    assert torch.equal(ChannelSlice(1, 3)(x), x[:, 1:4])
    assert torch.equal(ToMaps((6, 2, 2))(x.flatten(1)), x)
    with pytest.raises(ValueError, match="from 0 on"):
        ChannelSlice(0, 0)


def test_total_dropout_drops_all_of_an_image_or_nothing() -> None:
    torch.manual_seed(0)
    layer, x = TotalDropout(0.25), torch.ones(4000, 2, 3)
    y = layer(x)
    assert torch.equal(y.amin((1, 2)), y.amax((1, 2)))
    kept = y[:, 0, 0]
    assert kept.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert kept.mean().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(layer.eval()(x), x)
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        TotalDropout(1)
