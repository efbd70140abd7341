"""Small networks with every kind of layer that the methods look through."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from foveal.notation import parse


def small(text: str, input: tuple[int, int, int], seed: int = 0) -> nn.Sequential:
    """A network in the lectures' notation with random weights of a size that keeps the maps alive."""
    torch.manual_seed(seed)
    model = parse(text, input=input, names="layer")
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)
    return model.eval()


class Branching(nn.Module):
    """A sum and a concatenation, batch norms with statistics of their own, and a mean over the map."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv1, self.norm1, self.relu1 = nn.Conv2d(3, 8, 5, 2, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.left, self.right = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.relu2, self.relu3 = nn.ReLU(), nn.ReLU()
        self.mean, self.flat, self.fc = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)
        for tensor in (self.norm1.running_mean, self.norm1.weight, self.norm1.bias):
            nn.init.normal_(tensor, mean=0.5, std=0.2)
        nn.init.uniform_(self.norm1.running_var, 0.5, 2)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu1(self.norm1(self.conv1(x))))
        x = torch.cat((self.relu2(x + self.left(x)), self.relu3(self.right(x))), 1)
        return self.fc(self.flat(self.mean(x)))


@pytest.fixture
def chain() -> nn.Sequential:
    """Five layers with weights; poolings that do not overlap."""
    return small(
        "3-1-1Conv6 (ReLU) → 2-2MaxPool → 3-1-1Conv8 (ReLU) → 2-2MaxPool → 3-1-1Conv8 (ReLU) → FC12 (ReLU) → FC4",
        (3, 16, 16),
    )


@pytest.fixture
def overlapping() -> nn.Sequential:
    """AlexNet's kinds of layers: strides, local normalisation, overlapping poolings that round up, groups."""
    return small(
        "5-2-1Conv8 (ReLU) → Norm → 3-2MaxPool (Ceil) → 3-1-1Conv12/2 (ReLU) → 3-2MaxPool → FC10 (ReLU) → FC5",
        (3, 31, 29),
    )


@pytest.fixture
def branching() -> nn.Module:
    """A network with joins."""
    return Branching()
