"""Network in network on CIFAR and ImageNet, and a short recipe for two CPU cores.

Paper: Lin, Chen and Yan, "Network In Network", ICLR 2014, section 4: batches of 128, dropout behind the first two
blocks, and a rate that is divided by 10 whenever the accuracy on the training set stops improving, down to a hundredth
of the first one; CIFAR-10 also with shifts and horizontal flips.

The images of CIFAR are contrast-normalised and ZCA-whitened, as for maxout networks; the whitening is fitted to the
training images when a run begins.

Departures. Whitening follows the shifts here, so that their border is black before it and not after. The paper prints
neither rate nor weight decay nor length: 0.05, 5e-4 and 200 epochs are ours, and a plateau ends after ten evaluations
without progress. The short recipe takes out mean and deviation of each colour instead. Of ImageNet the paper says
nothing; its network is AlexNet's with perceptrons, so the recipe is AlexNet's.
"""

from __future__ import annotations

from typing import Any

from foveal.recipes._cifar import cifar10, cifar100
from foveal.recipes._imagenet import imagenet
from foveal.training.recipe import Recipe

_PAPER: dict[str, Any] = {
    "length": 200,
    "batch_size": 128,
    "lr": 0.05,
    "weight_decay": 5e-4,
    "schedule": "plateau",
    "plateau": 10,
    "whiten": True,
}


def nin_cifar10(*, quick: bool = False) -> Recipe:
    """Network in network on CIFAR-10, with shifts and flips.

    Command: foveal train nin_cifar10 data=DIR
    Published error: 8.81 % (10.41 % without shifts and flips: augment=). Not run here.
    """
    return cifar10("nin_cifar10", "nin_cifar", quick, **_PAPER)


def nin_cifar10_fast(*, quick: bool = False) -> Recipe:
    """Network in network on CIFAR-10 in minutes on two CPU cores: four epochs of AdamW with a one-cycle rate.

    SGD does not stir from the small initial weights for hundreds of updates; AdamW, which divides by the gradient's
    size, does.

    Command: foveal train nin_cifar10_fast data=DIR
    Expected: about 31 % test error.
    """
    return cifar10(
        "nin_cifar10_fast",
        "nin_cifar",
        quick,
        unit="iterations",
        length=6_248,
        evaluate_every=1_562,
        batch_size=32,
        optimizer="adamw",
        lr=0.001,
        weight_decay=0.01,
        schedule="onecycle",
    )


def nin_cifar100(*, quick: bool = False) -> Recipe:
    """Network in network on CIFAR-100, without augmentation.

    Command: foveal train nin_cifar100 data=DIR
    Published error: 35.68 %. Not run here.
    """
    return cifar100("nin_cifar100", "nin_cifar", quick, augment=(), **_PAPER)


def nin_imagenet(*, quick: bool = False) -> Recipe:
    """Network in network on ImageNet.

    Command: foveal train nin_imagenet data=DIR
    Published: 39.2 % (its released weights: 40.64 %, one crop). Not run here.
    """
    return imagenet(
        "nin",
        quick,
        input=(3, 224, 224),
        prepare=("resize(256)", "center_crop(256)"),
        augment=("random_crop(224)", "flip"),
        length=90,
        batch_size=128,
        lr=0.01,
        weight_decay=5e-4,
    )
