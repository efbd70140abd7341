"""Convolutional neural fabrics on CIFAR-10, and a short recipe for two CPU cores.

Paper: Saxena and Verbeek, "Convolutional Neural Fabrics", NIPS 2016, section 4: momentum 0.9, weight decay 1e-4, no
dropout, shifts and horizontal flips; 5,000 training images choose the number of epochs, then all train the network.

Departures: the paper prints neither rate, batch nor length, and the authors' release covers MNIST alone (batches of 64,
0.01 divided by 10 after a quarter and a half of the updates); here batches of 64 with 0.1, divided by 10 after 100 and
150 of 200 epochs.
"""

from __future__ import annotations

from foveal.recipes._cifar import cifar10
from foveal.training.recipe import Recipe


def fabric_cifar10(*, quick: bool = False) -> Recipe:
    """A dense fabric of 8 layers and 128 maps on CIFAR-10.

    Command: foveal train fabric_cifar10 data=DIR
    Published error: 7.43 %; 8.1 % with a third of the connections. Not run here.
    """
    return cifar10(
        "fabric_cifar10",
        "fabric",
        quick,
        length=200,
        batch_size=64,
        lr=0.1,
        weight_decay=1e-4,
        schedule="step",
        milestones=(100, 150),
    )


def fabric_cifar10_fast(*, quick: bool = False) -> Recipe:
    """A fabric of 8 layers and 16 maps in minutes on two CPU cores: eight epochs with a one-cycle rate.

    Command: foveal train fabric_cifar10_fast data=DIR
    Expected: about 19.5 % test error.
    """
    return cifar10(
        "fabric_cifar10_fast",
        "fabric",
        quick,
        options={"channels": 16},
        unit="iterations",
        length=6_248,
        evaluate_every=781,
        batch_size=64,
        lr=0.1,
        nesterov=True,
        weight_decay=5e-4,
        schedule="onecycle",
    )
