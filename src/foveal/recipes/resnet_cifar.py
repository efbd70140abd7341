"""Residual and plain networks on CIFAR-10, exactly as published, and a fast recipe for two CPU cores.

Paper: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2: batch 128,
momentum 0.9, weight decay 1e-4, rate 0.1 divided by 10 after 32k and 48k of 64k iterations, shifts of up to 4 pixels
and horizontal flips, single view of the original image at test.

Departure: the mean is subtracted per colour channel, not per pixel, and the pixels are scaled to unit variance.
"""

from __future__ import annotations

from foveal.training.recipe import Recipe


def resnet20_cifar10(*, quick: bool = False) -> Recipe:
    """ResNet-20, as published.

    Command: foveal train resnet20_cifar10 data=DIR
    Published error: 8.75 %.
    """
    return _paper("resnet20", quick)


def resnet32_cifar10(*, quick: bool = False) -> Recipe:
    """ResNet-32, as published.

    Command: foveal train resnet32_cifar10 data=DIR
    Published error: 7.51 %.
    """
    return _paper("resnet32", quick)


def resnet44_cifar10(*, quick: bool = False) -> Recipe:
    """ResNet-44, as published.

    Command: foveal train resnet44_cifar10 data=DIR
    Published error: 7.17 %.
    """
    return _paper("resnet44", quick)


def resnet56_cifar10(*, quick: bool = False) -> Recipe:
    """ResNet-56, as published.

    Command: foveal train resnet56_cifar10 data=DIR
    Published error: 6.97 %.
    """
    return _paper("resnet56", quick)


def resnet110_cifar10(*, quick: bool = False) -> Recipe:
    """ResNet-110, as published.

    Command: foveal train resnet110_cifar10 data=DIR
    Published error: 6.43 % (the best of 5 runs).

    The paper trains with the rate 0.01 until the training error is below 80 %, about 400 iterations: here exactly 400.
    """
    recipe = _paper("resnet110", quick)
    return recipe if quick else recipe.with_settings(warmup=400, warmup_lr=0.01, warmup_shape="constant")


def plain20_cifar10(*, quick: bool = False) -> Recipe:
    """20 layers without shortcuts, for the degradation experiment.

    Command: foveal train plain20_cifar10 data=DIR
    Published (figure 6, left): a lower training error than plain56's.
    """
    return _paper("plain20", quick)


def plain56_cifar10(*, quick: bool = False) -> Recipe:
    """56 layers without shortcuts, for the degradation experiment.

    Command: foveal train plain56_cifar10 data=DIR
    Published (figure 6, left): a higher training error than plain20's.
    """
    return _paper("plain56", quick)


def resnet20_cifar10_fast(*, quick: bool = False) -> Recipe:
    """ResNet-20 in minutes on two CPU cores.

    A one-cycle rate with Nesterov's momentum takes the place of three long plateaus.

    Command: foveal train resnet20_cifar10_fast data=DIR
    Expected: about 9.7 % test error in some 15 minutes on two CPU cores.
    """
    return _paper("resnet20", quick).with_settings(
        name="resnet20_cifar10_fast",
        unit="epochs",
        length=1 if quick else 25,
        lr=0.2,
        nesterov=True,
        weight_decay=5e-4,
        schedule="onecycle",
        milestones=(),
        evaluate_every=1,
    )


def _paper(model: str, quick: bool) -> Recipe:
    return Recipe(
        name=f"{model}_cifar10",
        model=model,
        data="cifar10",
        input=(3, 32, 32),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        augment=("pad_crop(4)", "flip"),
        unit="iterations",
        length=40 if quick else 64_000,
        batch_size=128,
        lr=0.1,
        weight_decay=1e-4,
        schedule="step",
        milestones=(20, 30) if quick else (32_000, 48_000),
        evaluate_every=20 if quick else 391,
    )
