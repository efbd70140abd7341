"""LeNet-5 on handwritten digits and on clothes.

Paper: LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 1998.
The network is the paper's; the optimiser is today's (momentum, one-cycle rate), which needs fewer passes than the
paper's stochastic diagonal Levenberg-Marquardt.
"""

from __future__ import annotations

from foveal.training.recipe import Recipe


def lenet5_digits(*, quick: bool = False) -> Recipe:
    """LeNet-5 on the 1,797 digits that come with scikit-learn: the demonstration, no download.

    Command: foveal train lenet5_digits
    Expected: about 99 % of the held-out digits in some 10 seconds on two CPU cores.
    """
    return Recipe(
        name="lenet5_digits",
        model="lenet5",
        data="digits",
        input=(1, 32, 32),
        prepare=("resize_exact(32, 32)",),
        augment=("affine(degrees=8, shift=0.07, scale=0.1, shear=5)",),
        length=2 if quick else 40,
        batch_size=64,
        lr=0.006,
        weight_decay=5e-4,
        schedule="onecycle",
        evaluate_every=1 if quick else 10,
    )


def lenet5_mnist(*, quick: bool = False) -> Recipe:
    """LeNet-5 on MNIST's 60,000 digits.

    Command: foveal train lenet5_mnist data=DIR
    Expected: about 0.6 % test error in 1 to 2 minutes on two CPU cores.
    Published: 0.95 % without distortions, 0.8 % with them (section III.B).
    """
    return Recipe(
        name="lenet5_mnist",
        model="lenet5",
        data="mnist",
        input=(1, 32, 32),
        mean=(0.1307,),
        std=(0.3081,),
        prepare=("pad(2)",),
        augment=("affine(degrees=5, shift=0.05, scale=0.05, shear=3)",),
        length=1 if quick else 20,
        batch_size=512,
        lr=0.012,
        weight_decay=1e-4,
        schedule="onecycle",
    )


def lenet5_fashion(*, quick: bool = False) -> Recipe:
    """LeNet-5 on Fashion-MNIST's 60,000 pictures of clothes (Xiao, Rasul and Vollgraf 2017).

    Command: foveal train lenet5_fashion data=DIR
    Expected: about 9 % test error in 1 to 2 minutes on two CPU cores.
    """
    return Recipe(
        name="lenet5_fashion",
        model="lenet5",
        data="fashion-mnist",
        options={"output": "linear"},
        input=(1, 32, 32),
        mean=(0.2860,),
        std=(0.3530,),
        prepare=("pad(2)",),
        augment=("flip",),
        length=1 if quick else 20,
        batch_size=128,
        lr=0.1,
        weight_decay=5e-4,
        schedule="onecycle",
    )
