"""MSDNet on CIFAR-10 and CIFAR-100, as published, and a short recipe for two CPU cores.

Paper: Huang, Chen, Li, Wu, van der Maaten and Weinberger, "Multi-Scale Dense Networks for Resource Efficient Image
Classification", ICLR 2018, section 5: 300 epochs in batches of 64, rate 0.1 divided by 10 after a half and after three
quarters of them, Nesterov's momentum 0.9, weight decay 1e-4; shifts of up to 4 pixels and horizontal flips; 5,000
training images are held out. The losses of all exits are added. Results are curves: no table states an error.

`foveal evaluate RUN --protocol anytime` gives the error at each exit, `--protocol budgeted` the one under a budget.
"""

from __future__ import annotations

from typing import Any

from foveal.recipes._cifar import cifar10, cifar100
from foveal.training.recipe import Recipe

_PAPER: dict[str, Any] = {
    "holdout": 0.1,
    "length": 300,
    "batch_size": 64,
    "lr": 0.1,
    "nesterov": True,
    "weight_decay": 1e-4,
    "schedule": "step",
    "milestones": (150, 225),
}


def msdnet_cifar10(*, quick: bool = False) -> Recipe:
    """MSDNet with eleven exits on CIFAR-10, as published.

    Command: foveal train msdnet_cifar10 data=DIR
    Published: curves, no figure in a table. Not run here.
    """
    return cifar10("msdnet_cifar10", "msdnet", quick, **_PAPER)


def msdnet_cifar10_fast(*, quick: bool = False) -> Recipe:
    """MSDNet with five exits, behind layers 4 to 12, in minutes on two CPU cores: four epochs with a one-cycle rate.

    Command: foveal train msdnet_cifar10_fast data=DIR
    Expected: about 21.5 % test error at the last exit, 24 % at the first.
    """
    return cifar10(
        "msdnet_cifar10_fast",
        "msdnet",
        quick,
        options={"exits": 5},
        unit="iterations",
        length=3_124,
        evaluate_every=781,
        batch_size=64,
        lr=0.1,
        nesterov=True,
        weight_decay=1e-4,
        schedule="onecycle",
    )


def msdnet_cifar100(*, quick: bool = False) -> Recipe:
    """MSDNet with eleven exits on CIFAR-100, as published.

    Command: foveal train msdnet_cifar100 data=DIR
    Published: curves, no figure in a table. Not run here.
    """
    return cifar100("msdnet_cifar100", "msdnet", quick, **_PAPER)
