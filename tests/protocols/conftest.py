"""A small network with fixed weights as a predictor, and sets of noise to show it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from foveal import notation
from foveal.data.dataset import ArraySet
from foveal.training.device import Placement
from foveal.training.inputs import view
from foveal.training.recipe import Recipe
from foveal.training.recogniser import Recogniser

CLASSES = tuple(f"class {i}" for i in range(7))
SMALL_VGG = "[3-1Conv6 (ReLU)]x2 → 2-2MaxPool → 3-1Conv8 (ReLU) → 2-2MaxPool → FC16 (Dropout, ReLU) → FC7"


def _network(side: int = 16, text: str = SMALL_VGG) -> nn.Sequential:
    torch.manual_seed(0)
    model = notation.parse(text, input=(3, side, side))
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)
    return model.eval()


def _recogniser(model: nn.Module | None = None, **settings: object) -> Recogniser:
    values = {"name": "small", "model": "small", "data": "noise", "input": (3, 16, 16), "length": 1, "lr": 0.1}
    recipe = Recipe.model_validate({**values, "batch_size": 1, **settings})
    return Recogniser(model or _network(), recipe, CLASSES, Placement(torch.device("cpu")), view(recipe))


def _noise(count: int, height: int = 20, width: int = 24) -> ArraySet:
    images = torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=torch.manual_seed(1))
    labels = torch.randint(len(CLASSES), (count,), generator=torch.manual_seed(2))
    return ArraySet(images, labels, CLASSES, "test", "noise")


class _Sizes:
    """Images of different sizes, labelled 0, 1, …"""

    def __init__(self, images: list[Tensor]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.images[i], i

    def name(self, i: int) -> str:
        return f"image {i}"


@pytest.fixture
def network() -> Callable[..., nn.Sequential]:
    """`network(side, text)`: a chain without padding, with seeded weights."""
    return _network


@pytest.fixture
def recogniser() -> Callable[..., Recogniser]:
    """`recogniser(model, **settings)`: it, or another model, under a recipe for inputs of 3x16x16."""
    return _recogniser


@pytest.fixture
def noise() -> Callable[..., ArraySet]:
    """`noise(count, height, width)`: images of random pixels with random labels."""
    return _noise


@pytest.fixture
def sizes() -> Callable[[list[Tensor]], _Sizes]:
    """`sizes(images)`: a set of images of different sizes."""
    return _Sizes
