"""ZF net on ImageNet (ILSVRC 2012), as published.

Paper: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 3: shorter side to
256, centre of 256x256 minus the mean image, corners and centre of 224x224 and their mirror images; batch 128, rate 0.01
lowered at plateaus of the validation error, momentum 0.9, dropout, 70 epochs.

Departures: the paper rescales filters whose RMS exceeds 0.1, this recipe decays the weights as AlexNet's does (5e-4).
"""

from __future__ import annotations

from foveal.recipes._imagenet import imagenet
from foveal.training.recipe import Recipe


def zfnet_imagenet(*, quick: bool = False) -> Recipe:
    """ZF net.

    Command: foveal train zfnet_imagenet data=DIR
    Published: 38.4 / 16.5 %; with options.maps=b 37.5 / 16.0 % (both ten crops). Not run here.
    """
    return imagenet(
        "zfnet",
        quick,
        input=(3, 224, 224),
        mean_image=True,
        prepare=("resize(256)", "center_crop(256)"),
        augment=("corner_crop(224)", "flip"),
        length=70,
        batch_size=128,
        lr=0.01,
        weight_decay=5e-4,
    )
