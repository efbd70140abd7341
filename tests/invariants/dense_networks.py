"""Small networks of every kind that dense prediction must be exact on, and patch by patch as it is defined."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from foveal import notation
from foveal.layers.locally_connected import LocallyConnected2d
from foveal.layers.residual import BasicBlock, Bottleneck, PlainBlock
from foveal.models.classify.densenet import DenseLayer
from foveal.models.classify.googlenet import Inception
from foveal.models.classify.lenet5 import lenet5

Size = tuple[int, ...]


class InceptionReduction(nn.Module):
    """Branches that end at different last positions once their strides are gone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, 2, 1)
        self.pool = nn.MaxPool2d(2, 2)
        self.slow = nn.Sequential(nn.Conv2d(channels, 3, 1), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.conv(x), self.pool(x), self.slow(x)), 1)


class Torchvisionish(nn.Module):
    """One ReLU for all places, in-place sums and a functional flatten, as in torchvision's ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6)
        self.relu = nn.ReLU()
        self.conv2, self.down = nn.Conv2d(6, 6, 3, 2, 1), nn.Conv2d(6, 6, 1, 2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        out = self.conv2(x)
        out += self.down(x)
        return self.fc(torch.flatten(self.avgpool(self.relu(out)), 1))


def chain(text: str, input: Size) -> Callable[[], nn.Module]:
    return lambda: notation.parse(text, input)


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)]


def _googlenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(5)),
        *(Inception(4, (2, 2, 3, 1, 2, 2), False), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Inception(9, (2, 2, 3, 1, 2, 2), False), *_head(9)),
    )


def _resnet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 5, 2, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        *(BasicBlock(4, 4), BasicBlock(4, 6, 2, shortcut="A"), BasicBlock(6, 6, shortcut="C"), *_head(6)),
    )


def _bottlenecks() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, 1, 1), Bottleneck(4, 8, 2), Bottleneck(8, 8, version="1"), PlainBlock(8, 8, 2), *_head(8))
    )


def _densenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, 2, 1), DenseLayer(4, 2, True), DenseLayer(6, 2, False)),
        *(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.AvgPool2d(2)),
        *(DenseLayer(4, 2, True), nn.BatchNorm2d(6), nn.ReLU(), *_head(6)),
    )


def _deepface() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), LocallyConnected2d(4, 3, (9, 9), 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(3 * 49, 5)),
    )


def _adaptive() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(64, 5)
    )


G6 = "2-1Conv3 (Tanh) → 2-2MaxPool → 2-1Conv4 (Tanh) → 3-3MaxPool → 2-1Conv5"

UNPADDED: dict[str, tuple[Callable[[], nn.Module], Size]] = {
    "g6": (chain(G6, (1, 15, 15)), (1, 15, 15)),
    "lenet5": (lenet5, (1, 32, 32)),
    "overfeat": (
        chain("5-2Conv4 (ReLU) → 2-2MaxPool → 3-1Conv5 (ReLU) → 3-3MaxPool → FC6 (ReLU) → FC4", (3, 37, 37)),
        (3, 37, 37),
    ),
    "averages": (
        chain(
            "3-1Conv4 (BN, ReLU) → 2-2AvgPool → 3-2Conv4 (Tanh) → 2-2AvgPool → Norm → GlobalAvgPool → FC3", (2, 24, 24)
        ),
        (2, 24, 24),
    ),
    "even": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 2, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(12, 2)
        ),
        (1, 12, 12),
    ),
}
PADDED: dict[str, tuple[Callable[[], nn.Module], Size]] = {
    "alexnet": (
        chain(
            "5-2Conv4 (ReLU) → Norm → 3-2MaxPool → 5-1-2Conv6/2 (ReLU) → Norm → 3-2MaxPool → 3-1-1Conv6/2 (ReLU) → "
            "3-1-1Conv4 (ReLU) → FC8 (Dropout, ReLU) → FC3",
            (3, 35, 35),
        ),
        (3, 35, 35),
    ),
    "zfnet": (
        chain("5-2-1Conv4 (ReLU) → 3-2MaxPool (Ceil) → Norm → 3-2Conv6 (ReLU) → 3-2-1MaxPool → FC5", (3, 36, 36)),
        (3, 36, 36),
    ),
    "vgg": (
        chain(
            "[3-1-1Conv4 (ReLU)]x2 → 2-2MaxPool → [3-1-1Conv4 (ReLU)]x2 → 2-2MaxPool → FC6 (ReLU) → FC3", (3, 24, 24)
        ),
        (3, 24, 24),
    ),
    "nin": (
        chain(
            "5-1-2Conv4 (ReLU) → 1-1Conv4 (ReLU) → 3-2MaxPool (Ceil) → 3-1-1Conv4 (ReLU) → 3-2AvgPool (Ceil) → "
            "1-1Conv3 → GlobalAvgPool → Flatten",
            (3, 18, 18),
        ),
        (3, 18, 18),
    ),
    "googlenet": (_googlenet, (3, 32, 32)),
    "resnet": (_resnet, (3, 32, 32)),
    "bottlenecks": (_bottlenecks, (3, 16, 16)),
    "densenet": (_densenet, (3, 16, 16)),
    "reduction": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), InceptionReduction(3), nn.Conv2d(10, 3, 3, 1, 1), *_head(3)),
        (2, 18, 18),
    ),
    "torchvision": (Torchvisionish, (3, 17, 17)),
}
UNSHARED: dict[str, tuple[Callable[[], nn.Module], Size]] = {
    "deepface": (_deepface, (3, 19, 19)),
    "uneven adaptive": (_adaptive, (3, 17, 17)),
}
OTHER_DIMENSIONS: dict[str, tuple[Callable[[], nn.Module], Size]] = {
    "sequence": (chain("5-2Conv4 (ReLU) → 3-2MaxPool → 3-1-1Conv4 (BN, ReLU) → 2-2AvgPool → FC3", (2, 39)), (2, 39)),
    "volume": (
        chain("3-1-1Conv3 (ReLU) → 2-2MaxPool → 3-1Conv3 (ReLU) → 2-2AvgPool → FC3", (1, 14, 14, 14)),
        (1, 14, 14, 14),
    ),
}
EVERY = UNPADDED | PADDED | UNSHARED | OTHER_DIMENSIONS


def made(name: str, seed: int = 0) -> tuple[nn.Module, Size]:
    """A network of the table in float64, in evaluation mode, with weights and statistics that matter."""
    torch.manual_seed(seed)
    build, input = EVERY[name]
    return lively(build()), input


def lively(model: nn.Module) -> nn.Module:
    """Random weights of gain 1, biases, and batch statistics that are neither 0 nor 1."""
    for parameter in model.parameters():
        spread = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.5
        nn.init.normal_(parameter, std=1.5 * spread)
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, std=0.3)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return model.double().eval()


def patch_by_patch(model: nn.Module, images: Tensor, size: Sequence[int], stride: int) -> Tensor:
    """[N, C, *grid] → [N, classes, *positions]: each patch cut out and given to the network."""
    for dim, side in enumerate(size, start=2):
        images = images.unfold(dim, side, stride)
    dims = len(size)
    counts = images.shape[2 : 2 + dims]
    patches = images.movedim(1, 1 + dims).flatten(0, dims)
    return model(patches).reshape(-1, *counts, model(patches[:1]).numel()).movedim(-1, 1)
