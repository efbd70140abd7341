"""Networks and recipes that the training tests share: small, but with everything that has a state or draws numbers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from foveal.training.recipe import Recipe


def small(num_classes: int = 10, dropout: float = 0.3) -> nn.Sequential:
    """Two convolutions with batch normalisation and dropout, 8x8 grey images."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(dropout),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(64, num_classes),
    )


def plain(num_classes: int = 10) -> nn.Sequential:
    """One hidden layer, nothing random."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, num_classes))


class Branchy(nn.Module):
    """A network with an objective of two terms."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.body = plain(num_classes)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.body(images)
        return scores

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        scores = self.body(images)
        return {"main": nn.functional.cross_entropy(scores, targets), "size": 1e-3 * scores.pow(2).mean()}


def two_terms(num_classes: int = 10) -> Branchy:
    """See Branchy."""
    return Branchy(num_classes)


def recipe(**settings: Any) -> Recipe:
    """Digits through `small`: momentum, moving average, plateau, augmentation, a validation split; 204 updates."""
    base = Recipe(
        name="small_digits",
        model="small_networks:small",
        data="digits",
        input=(1, 8, 8),
        augment=("affine(degrees=8, shift=0.07)", "flip"),
        holdout=0.2,
        length=12,
        batch_size=64,
        lr=0.2,
        weight_decay=1e-3,
        schedule="plateau",
        plateau=1,
        ema=0.9,
        clip=5.0,
        save_every=7,
        log_every=5,
        seed=3,
        device="cpu",
    )
    return base.with_settings(**settings)
