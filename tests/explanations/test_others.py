"""Maximisation, activation maps, bars, gridding, the sanity check; and what holds for every method and its files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from foveal import catalog
from foveal.contracts.method import check_method
from foveal.errors import FovealError
from foveal.explanations import Explanation, explain, save
from foveal.layers.dilated_pool import DilatedMaxPool2d

OPTIONS: dict[str, dict[str, Any]] = {
    "top_patches": {"data": torch.randn(8, 3, 16, 16), "count": 2, "units": 2},
    "neighbours": {"data": torch.randn(8, 3, 16, 16), "count": 2},
    "maximise": {"steps": 3, "input": (3, 16, 16), "frames": 1, "frame_steps": 1},
    "occlusion": {"window": 8},
}


@pytest.mark.parametrize("method", catalog.names("explanation"))
@pytest.mark.parametrize("training", [True, False])
def test_every_method_leaves_the_network_alone(method: str, training: bool, chain: nn.Sequential) -> None:
    chain.train(training)
    chain[2].eval()
    report = check_method(method, chain, torch.randn(3, 16, 16), 1, **OPTIONS.get(method, {}))
    assert report.passed, report.text()


@pytest.mark.parametrize("method", catalog.names("explanation"))
def test_every_method_gives_numbers_and_drawings(method: str, chain: nn.Sequential, tmp_path: Path) -> None:
    found = explain(method, chain, torch.randn(3, 16, 16), 1, **OPTIONS.get(method, {}))
    assert isinstance(found, Explanation)
    files = save(found, tmp_path / "new" / f"{method}.png")
    assert len(files) == len(found.pictures) + len(found.arrays)
    assert np.array_equal(np.load(files[-1]), list(found.arrays.values())[-1].numpy())
    for picture in found.pictures.values():
        assert picture.dtype is torch.uint8
        assert picture.shape[-3] == 3
    with Image.open(files[0]) as opened:
        assert opened.size == (found.picture.shape[2], found.picture.shape[1])


def test_a_maximised_image_is_its_class_and_the_film_moves(chain: nn.Sequential, tmp_path: Path) -> None:
    for target in (0, 2):
        found = explain("maximise", chain, target=target, input=(3, 16, 16), steps=120, frames=3, frame_steps=4)
        pixels = (found.arrays["image"] - 0.5) / 0.25
        with torch.no_grad():
            p = float(chain(pixels[None]).softmax(1)[0, target])
        assert p == pytest.approx(float(found.arrays["probability"]))
        assert float(found.arrays["probability"]) >= 0.99
        assert torch.equal((255 * found.arrays["image"]).round() / 255, found.arrays["image"])
        film = found.pictures["film"]
        assert len(film) == 4
        assert all(not torch.equal(a, b) for a, b in pairwise(film))
        for suffix in ("png", "gif"):
            save(Explanation({}, {"film": film}), tmp_path / f"film.{suffix}")
            with Image.open(tmp_path / f"film.{suffix}") as opened:
                assert getattr(opened, "n_frames", 1) == 4


def test_a_unit_and_a_layer_can_be_maximised(chain: nn.Sequential) -> None:
    image = torch.randn(3, 16, 16) * 0.1
    unit = explain("maximise", chain, image, layer="conv3", unit=4, steps=40).arrays["image"]
    layer = explain("maximise", chain, image, layer="conv2", steps=40).arrays["image"]
    chain.requires_grad_(False)
    after = chain[:7](((unit - 0.5) / 0.25)[None])[0, 4].mean()
    assert float(after) > float(chain[:7](image[None])[0, 4].mean())
    assert float(chain[:4](((layer - 0.5) / 0.25)[None]).square().mean()) > float(
        chain[:4](image[None]).square().mean()
    )
    with pytest.raises(FovealError, match="nothing says what to maximise"):
        explain("maximise", chain, image)
    with pytest.raises(FovealError, match="whose size is not known"):
        explain("maximise", chain, target=1)
    with pytest.raises(FovealError, match="layer 'conv3' has 8 maps, and no 8"):
        explain("maximise", chain, image, layer="conv3", unit=8)


def test_activations_are_those_of_the_layer(overlapping: nn.Sequential) -> None:
    image = torch.randn(3, 31, 29)
    found = explain("activations", overlapping, image, layer="relu1")
    torch.testing.assert_close(found.values, overlapping[:2](image[None])[0].detach())
    with pytest.raises(FovealError, match=r"layer 'fc4' gives \[5\], no maps"):
        explain("activations", overlapping, image, layer="fc4")
    with pytest.raises(FovealError, match="2 were given"):
        explain("activations", overlapping, torch.randn(2, 3, 31, 29))


def test_bars_are_the_probabilities(chain: nn.Sequential) -> None:
    images = torch.randn(5, 3, 16, 16)
    found = explain("bars", chain, images, [0, 1, 2, 3, 0], count=3, classes=("a", "b", "c", "d"))
    torch.testing.assert_close(found.values, chain(images).softmax(1).detach())
    other = explain("bars", chain, images, count=3, classes=("a", "b", "c", "d"))
    assert not torch.equal(found.picture, other.picture), "the true class is marked"
    with pytest.raises(FovealError, match="2 classes were given for 5 images"):
        explain("bars", chain, images, [0, 1])


def paths_by_gradient(model: nn.Module, size: tuple[int, int], place: tuple[int, int]) -> torch.Tensor:
    """Of a network of convolutions with weights of one: the gradient counts paths."""
    image = torch.zeros(1, 1, *size, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(image)[0, 0][place], image)
    return gradient[0, 0]


@pytest.mark.parametrize("dilations", [(1, 1, 1), (2, 2, 2), (1, 2, 4)])
def test_gridding_counts_paths(dilations: tuple[int, ...]) -> None:
    layers = [nn.Conv2d(1, 1, 3, padding=d, dilation=d, bias=False) for d in dilations]
    model = nn.Sequential(*layers, nn.Conv2d(1, 1, 4, 3, 1, bias=False)).double()
    for layer in model:
        nn.init.ones_(layer.weight)  # type: ignore[arg-type]
    found = explain("gridding", model, input=(1, 30, 34), layer="3", place=[4, 5])
    assert torch.equal(found.values, paths_by_gradient(model, (30, 34), (4, 5)))


def test_gridding_sees_holes_and_joins(branching: nn.Module) -> None:
    model = nn.Sequential(DilatedMaxPool2d(2, 1, dilation=2), nn.Conv2d(1, 1, 3, dilation=2))
    found = explain("gridding", model, input=(1, 20, 20), place=[3, 3])
    assert "sees 7x7 pixels, 33 of them by no path" in found.text  # 4 x 4 of 49 are seen
    joined = explain("gridding", branching, input=(3, 20, 20), layer="cat", place=[2, 2])
    alone = explain("gridding", branching, input=(3, 20, 20), layer="left", place=[2, 2])
    assert float(joined.values.sum()) > float(alone.values.sum())
    with pytest.raises(FovealError, match="layer 'fc' has no map of positions"):
        explain("gridding", branching, input=(3, 20, 20), layer="fc")


def test_the_sanity_check_tells_maps_of_the_image_from_maps_of_the_network(chain: nn.Sequential) -> None:
    image = torch.randn(3, 16, 16)
    found = explain("sanity", chain, image, of="saliency")
    assert found.arrays["maps"].shape == (6, 16, 16)
    torch.testing.assert_close(found.arrays["maps"][0], explain("saliency", chain, image).values[0])
    blind = explain("sanity", chain, image, of=f"{__name__}:edges")
    assert blind.values.tolist() == [1.0] * 5
    assert "does not depend" in blind.text
    with pytest.raises(FovealError, match="bars gives no map of the image"):
        explain("sanity", chain, image, of="bars")
    with pytest.raises(FovealError, match="unknown option of saliency 'layr'"):
        explain("sanity", chain, image, options={"layr": 1})


def edges(model: nn.Module, image: torch.Tensor, target: int) -> Explanation:
    """A map of the image alone."""
    return Explanation({"edges": image[0].abs().sum(0)}, {})
