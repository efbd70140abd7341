"""GoogLeNet on ImageNet (ILSVRC 2012), as far as it was published.

Paper: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, sections 5 and 6: momentum 0.9, a rate that falls by
4 % every 8 epochs, averaged weights for the test, windows of 8 to 100 % of the picture with proportions of 3:4 to 4:3,
photometric distortions, dropout of 40 %, and the losses of both auxiliary classifiers with weight 0.3.

The paper prints no rate, batch, weight decay or length and trains asynchronously on several machines. Here: 0.01,
batches of 128, 2e-4, 250 epochs, and a rate that falls a little at every epoch, by 4 % in eight.
"""

from __future__ import annotations

from foveal.recipes._imagenet import imagenet
from foveal.training.recipe import Recipe


def googlenet_imagenet(*, quick: bool = False) -> Recipe:
    """GoogLeNet with its auxiliary classifiers.

    Command: foveal train googlenet_imagenet data=DIR
    Published: 10.07 % top-5 (one crop), 9.15 % (ten crops), 7.89 % (144 crops). Not run here.
    """
    return imagenet(
        "googlenet",
        quick,
        options={"aux": True},
        input=(3, 224, 224),
        augment=("random_resized_crop(224)", "flip", "color_jitter(0.4, 0.4, 0.4)"),
        test=("resize(256)",),
        length=250,
        batch_size=128,
        lr=0.01,
        weight_decay=2e-4,
        schedule="exponential",
        gamma=0.96 ** (1 / 8),
        ema=0.9999,
    )
