"""First-layer filters: values, layout, errors, and the promise to leave the network alone."""

from pathlib import Path

import pytest
import torch
from torch import nn

from foveal.data.image import load_image
from foveal.errors import FovealError
from foveal.explanations import explain, explain_to_file
from foveal.explanations.filters import filters as explain_filters


def filters(model: nn.Module, *given: torch.Tensor, **options: object) -> torch.Tensor:
    return explain_filters(model, *given, **options).picture  # type: ignore[arg-type]


def test_tiles_show_the_weights() -> None:
    layer = nn.Conv2d(3, 5, 2, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 0, 0] = 2.0  # red, top left
        layer.weight[4, 2, 1, 1] = -0.5  # blue, bottom right
    grid = filters(layer, columns=3, zoom=1)
    assert grid.shape == (3, 2 * 2 + 2, 3 * 2 + 2 * 2)  # 2 rows, 3 columns of 2 pixels, gaps of 2 between them
    assert grid.dtype is torch.uint8
    assert grid[:, 0, 0].tolist() == [255, 128, 128]
    assert grid[:, 1, 1].tolist() == [128, 128, 128]
    assert grid[:, 5, 5].tolist() == [128, 128, 0]  # filter 4: second row, second column
    assert grid[:, 4, 8].tolist() == [255, 255, 255]  # no sixth filter
    together = filters(layer, columns=3, zoom=1, scale="all")
    assert together[:, 5, 5].tolist() == [128, 128, 96]  # -0.5 of 2.0


def test_zoom_repeats_pixels() -> None:
    layer = nn.Conv2d(1, 1, 3)
    small, large = filters(layer, zoom=1), filters(layer, zoom=4)
    assert large.shape == (3, 12, 12)
    assert torch.equal(large[:, ::4, ::4], small)
    assert torch.equal(large[:, 3::4, 3::4], small)
    assert 300 <= filters(nn.Conv2d(3, 96, 11)).shape[2] <= 600


def test_channels_that_are_no_colours_become_columns() -> None:
    grid = filters(nn.Conv2d(2, 5, 3), zoom=1)
    assert grid.shape == (3, 5 * 3 + 4 * 2, 2 * 3 + 2)
    assert torch.equal(grid[0], grid[1])


def test_a_linear_layer_shows_templates() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 12, 4))
    image = torch.zeros(1, 1, 4, 6)
    grid = filters(model, image, zoom=1)
    assert grid.shape == (3, 2 * 4 + 2, 2 * 6 + 2)
    strongest = int(model[1].weight[0].abs().argmax())
    shown = grid[0, strongest // 6, strongest % 6]
    assert shown == (255 if model[1].weight[0, strongest] > 0 else 0)
    assert filters(nn.Linear(64, 10), zoom=1).shape == filters(nn.Linear(3 * 64, 10), zoom=1).shape
    with pytest.raises(FovealError, match="takes 24 values, but the image of shape"):
        filters(model, torch.zeros(1, 1, 5, 5))
    with pytest.raises(FovealError, match="no square image"):
        filters(model)


def test_another_layer_by_name() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 7, 3))
    assert torch.equal(filters(model, layer="2"), filters(model[2]))
    with pytest.raises(FovealError, match="layer=1 is a ReLU"):
        filters(model, layer="1")
    with pytest.raises(FovealError, match="layer=conv9 does not exist"):
        filters(model, layer="conv9")


def test_what_cannot_be_shown_is_said() -> None:
    with pytest.raises(FovealError, match="ReLU has no convolution and no linear layer"):
        filters(nn.ReLU())
    with pytest.raises(FovealError, match="scale='log'"):
        filters(nn.Linear(4, 4), scale="log")
    broken = nn.Linear(4, 4)
    with torch.no_grad():
        broken.weight[0, 0] = torch.nan
    with pytest.raises(FovealError, match="not finite"):
        filters(broken)
    zero = nn.Linear(4, 1)
    nn.init.zeros_(zero.weight)
    assert filters(zero, zoom=1)[0, 0, 0] == 128


def test_the_network_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    explain("filters", model, columns=2)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    with pytest.raises(FovealError, match="did you mean columns"):
        explain("filters", model, colums=2)


def test_the_picture_is_saved(tmp_path: Path) -> None:
    layer = nn.Conv2d(3, 4, 3)
    file = explain_to_file("filters", layer, tmp_path / "new" / "grid.png", zoom=2)
    assert torch.equal(load_image(file), filters(layer, zoom=2))
    with pytest.raises(FovealError, match="names no picture format"):
        explain_to_file("filters", layer, tmp_path / "grid.txt")
    (tmp_path / "taken").write_text("")
    with pytest.raises(FovealError, match="cannot be written"):
        explain_to_file("filters", layer, tmp_path / "taken" / "grid.png")
