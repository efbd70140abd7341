"""OverFeat's classifiers on ImageNet (ILSVRC 2012), as published.

Paper: Sermanet et al., "OverFeat: Integrated Recognition, Localization and Detection using Convolutional Networks",
ICLR 2014, section 3.1: shorter side to 256, random crops and mirror images, batch 128, momentum 0.6, weight decay 1e-5,
rate 0.05 halved after 30, 50, 60, 70 and 80 epochs, dropout.

The paper shows five crops and their mirror images of each picture in an epoch; here an epoch shows one. It does not say
when training ends: after 90 epochs here. The colours' mean and deviation are those of the released network. Train
so, at one position, and test densely: `foveal evaluate RUN --protocol overfeat`.
"""

from __future__ import annotations

from foveal.recipes._imagenet import imagenet
from foveal.training.recipe import Recipe


def overfeat_fast_imagenet(*, quick: bool = False) -> Recipe:
    """OverFeat's fast network.

    Command: foveal train overfeat_fast_imagenet data=DIR
    Published: 16.97 % top-5 (one network, fine stride). Not run here.
    """
    return _overfeat("overfeat_fast", 231, quick)


def overfeat_accurate_imagenet(*, quick: bool = False) -> Recipe:
    """OverFeat's accurate network.

    Command: foveal train overfeat_accurate_imagenet data=DIR
    Published: 35.7 / 14.18 % (one network, several scales). Not run here.
    """
    return _overfeat("overfeat_accurate", 221, quick)


def _overfeat(model: str, side: int, quick: bool) -> Recipe:
    return imagenet(
        model,
        quick,
        input=(3, side, side),
        mean=(118.380948 / 255,),
        std=(61.896913 / 255,),
        prepare=("resize(256)",),
        augment=(f"random_crop({side})", "flip"),
        length=90,
        batch_size=128,
        lr=0.05,
        momentum=0.6,
        weight_decay=1e-5,
        schedule="step",
        milestones=(30, 50, 60, 70, 80),
        gamma=0.5,
    )
