"""Pre-activation residual networks on CIFAR and ImageNet, as published.

Paper: He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016, appendix.

CIFAR: batch 128, momentum 0.9, weight decay 1e-4, rate 0.01 for 400 iterations and 0.1 from then on, divided by 10
after 32k and 48k of 64k iterations, shifts of up to 4 pixels and flips; tables 3 and 4 have the medians of five runs.

ImageNet: the augmentation of the first residual networks, batch 256, rate 0.1 divided by 10 after 30 and 60 epochs; the
paper prints no end, here 90; table 5.
"""

from __future__ import annotations

from typing import Any

from foveal.recipes._cifar import cifar10, cifar100
from foveal.recipes._imagenet import DEVIATION, imagenet
from foveal.training.recipe import Recipe

_PAPER: dict[str, Any] = {
    "unit": "iterations",
    "length": 64_000,
    "batch_size": 128,
    "lr": 0.1,
    "weight_decay": 1e-4,
    "schedule": "step",
    "milestones": (32_000, 48_000),
    "warmup": 400,
    "warmup_lr": 0.01,
    "warmup_shape": "constant",
    "evaluate_every": 391,
}


def preact_resnet110_cifar10(*, quick: bool = False) -> Recipe:
    """Pre-activation ResNet-110 on CIFAR-10, as published.

    Command: foveal train preact_resnet110_cifar10 data=DIR
    Published error: 6.37 %. Not run here.
    """
    return cifar10("preact_resnet110_cifar10", "preact_resnet110", quick, **_PAPER)


def preact_resnet164_cifar10(*, quick: bool = False) -> Recipe:
    """Pre-activation ResNet-164 on CIFAR-10, as published.

    Command: foveal train preact_resnet164_cifar10 data=DIR
    Published error: 5.46 %. Not run here.
    """
    return cifar10("preact_resnet164_cifar10", "preact_resnet164", quick, **_PAPER)


def preact_resnet1001_cifar10(*, quick: bool = False) -> Recipe:
    """Pre-activation ResNet-1001 on CIFAR-10, as published.

    Command: foveal train preact_resnet1001_cifar10 data=DIR
    Published error: 4.92 %; 4.62 % with batch_size=64. Not run here.
    """
    return cifar10("preact_resnet1001_cifar10", "preact_resnet1001", quick, **_PAPER)


def preact_resnet164_cifar100(*, quick: bool = False) -> Recipe:
    """Pre-activation ResNet-164 on CIFAR-100, as published.

    Command: foveal train preact_resnet164_cifar100 data=DIR
    Published error: 24.33 %. Not run here.
    """
    return cifar100("preact_resnet164_cifar100", "preact_resnet164", quick, **_PAPER)


def preact_resnet1001_cifar100(*, quick: bool = False) -> Recipe:
    """Pre-activation ResNet-1001 on CIFAR-100, as published.

    Command: foveal train preact_resnet1001_cifar100 data=DIR
    Published error: 22.71 %. Not run here.
    """
    return cifar100("preact_resnet1001_cifar100", "preact_resnet1001", quick, **_PAPER)


def preact_resnet152_imagenet(*, quick: bool = False) -> Recipe:
    """Pre-activation ResNet-152.

    Command: foveal train preact_resnet152_imagenet data=DIR
    Published, one 320x320 crop: 21.1 / 5.5 %. Not run here.
    """
    return _imagenet("preact_resnet152", quick)


def preact_resnet200_imagenet(*, quick: bool = False) -> Recipe:
    """Pre-activation ResNet-200.

    Command: foveal train preact_resnet200_imagenet data=DIR
    Published, one 320x320 crop: 20.7 / 5.3 %. Not run here.
    """
    return _imagenet("preact_resnet200", quick)


def _imagenet(model: str, quick: bool) -> Recipe:
    return imagenet(
        model,
        quick,
        input=(3, 224, 224),
        std=DEVIATION,
        augment=("scale_jitter(256, 480)", "random_crop(224)", "flip", "pca_colour(0.1)"),
        test=("resize(256)",),
        length=90,
        batch_size=256,
        lr=0.1,
        weight_decay=1e-4,
        schedule="step",
        milestones=(30, 60),
    )
