"""DenseNets on CIFAR and ImageNet, as published, and a short recipe for two CPU cores.

Paper: Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", CVPR 2017, section 4.2:
300 epochs in batches of 64, rate 0.1 divided by 10 after a half and after three quarters of them, Nesterov's momentum
0.9, weight decay 1e-4; shifts of up to 4 pixels and horizontal flips. Without augmentation (augment=) the paper drops
units: options.dropout=0.2. Table 2 has the errors, of the last epoch. ImageNet: 90 epochs in batches of 256, rate 0.1
divided by 10 after 30 and 60, windows of random area and proportions as in the authors' code; table 3 has the errors.
"""

from __future__ import annotations

from typing import Any

from foveal.recipes._cifar import cifar10, cifar100
from foveal.recipes._imagenet import DEVIATION, imagenet
from foveal.training.recipe import Recipe

_PAPER: dict[str, Any] = {
    "length": 300,
    "batch_size": 64,
    "lr": 0.1,
    "nesterov": True,
    "weight_decay": 1e-4,
    "schedule": "step",
    "milestones": (150, 225),
}


def densenet40_cifar10(*, quick: bool = False) -> Recipe:
    """DenseNet of 40 layers, growth 12, on CIFAR-10, as published.

    Command: foveal train densenet40_cifar10 data=DIR
    Published error: 5.24 % (7.00 % without augmentation). Not run here.
    """
    return cifar10("densenet40_cifar10", "densenet40_cifar", quick, **_PAPER)


def densenet40_cifar10_fast(*, quick: bool = False) -> Recipe:
    """DenseNet of 40 layers in minutes on two CPU cores: two epochs with a one-cycle rate.

    Command: foveal train densenet40_cifar10_fast data=DIR
    Expected: about 24 % test error.
    """
    return cifar10(
        "densenet40_cifar10_fast",
        "densenet40_cifar",
        quick,
        unit="iterations",
        length=1_562,
        evaluate_every=781,
        batch_size=64,
        lr=0.2,
        nesterov=True,
        weight_decay=1e-4,
        schedule="onecycle",
    )


def densenet40_cifar100(*, quick: bool = False) -> Recipe:
    """DenseNet of 40 layers, growth 12, on CIFAR-100, as published.

    Command: foveal train densenet40_cifar100 data=DIR
    Published error: 24.42 % (27.55 % without augmentation). Not run here.
    """
    return cifar100("densenet40_cifar100", "densenet40_cifar", quick, **_PAPER)


def densenet100_cifar10(*, quick: bool = False) -> Recipe:
    """DenseNet of 100 layers, growth 12, on CIFAR-10, as published.

    Command: foveal train densenet100_cifar10 data=DIR
    Published error: 4.10 % (5.77 % without augmentation). Not run here.
    """
    return cifar10("densenet100_cifar10", "densenet100_cifar", quick, **_PAPER)


def densenet100_cifar100(*, quick: bool = False) -> Recipe:
    """DenseNet of 100 layers, growth 12, on CIFAR-100, as published.

    Command: foveal train densenet100_cifar100 data=DIR
    Published error: 20.20 % (23.79 % without augmentation). Not run here.
    """
    return cifar100("densenet100_cifar100", "densenet100_cifar", quick, **_PAPER)


def densenet_bc100_cifar10(*, quick: bool = False) -> Recipe:
    """DenseNet-BC of 100 layers, growth 12, on CIFAR-10, as published.

    Command: foveal train densenet_bc100_cifar10 data=DIR
    Published error: 4.51 % (5.92 % without augmentation). Not run here.
    """
    return cifar10("densenet_bc100_cifar10", "densenet_bc100_cifar", quick, **_PAPER)


def densenet_bc100_cifar100(*, quick: bool = False) -> Recipe:
    """DenseNet-BC of 100 layers, growth 12, on CIFAR-100, as published.

    Command: foveal train densenet_bc100_cifar100 data=DIR
    Published error: 22.27 % (24.15 % without augmentation). Not run here.
    """
    return cifar100("densenet_bc100_cifar100", "densenet_bc100_cifar", quick, **_PAPER)


def densenet121_imagenet(*, quick: bool = False) -> Recipe:
    """DenseNet-BC-121, growth 32.

    Command: foveal train densenet121_imagenet data=DIR
    Published, one crop: 25.02 / 7.71 %. Not run here.
    """
    return _imagenet("densenet121", quick)


def densenet169_imagenet(*, quick: bool = False) -> Recipe:
    """DenseNet-BC-169, growth 32.

    Command: foveal train densenet169_imagenet data=DIR
    Published, one crop: 23.80 / 6.85 %. Not run here.
    """
    return _imagenet("densenet169", quick)


def densenet201_imagenet(*, quick: bool = False) -> Recipe:
    """DenseNet-BC-201, growth 32.

    Command: foveal train densenet201_imagenet data=DIR
    Published, one crop: 22.58 / 6.34 %. Not run here.
    """
    return _imagenet("densenet201", quick)


def densenet161_imagenet(*, quick: bool = False) -> Recipe:
    """DenseNet-BC-161, growth 48.

    Command: foveal train densenet161_imagenet data=DIR
    Published, one crop: 22.2 % (the authors' page). Not run here.
    """
    return _imagenet("densenet161", quick)


def _imagenet(model: str, quick: bool) -> Recipe:
    return imagenet(
        model,
        quick,
        input=(3, 224, 224),
        std=DEVIATION,
        augment=("random_resized_crop(224)", "flip", "color_jitter(0.4, 0.4, 0.4)", "pca_colour(0.1)"),
        test=("resize(256)",),
        length=90,
        batch_size=256,
        lr=0.1,
        nesterov=True,
        weight_decay=1e-4,
        schedule="step",
        milestones=(30, 60),
    )
