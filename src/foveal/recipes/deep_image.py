"""Deep Image on ImageNet (ILSVRC 2012), as far as it was published.

Paper: Wu, Yan, Shan, Dang and Sun, "Deep Image: Scaling up Image Recognition", arXiv 1501.02876, 2015, section 4:
colour casting, vignetting, lens distortion, rotation, flips and crops.

The paper prints no optimiser: VGG's is taken (batch 256, momentum 0.9, weight decay 5e-4, rate 0.01 divided by 10 at
plateaus, 74 epochs). Its best figure is of a network for pictures of 512 pixels, this recipe is for its 224.
"""

from __future__ import annotations

from foveal.recipes._imagenet import imagenet
from foveal.training.recipe import Recipe

_CHANGES = (
    "colour_cast(20)",
    "vignette(0.8)",
    "lens_distortion(0.25, 0.25)",
    "rotation(10)",
    "random_crop(224)",
    "flip",
)


def deep_image_imagenet(*, quick: bool = False) -> Recipe:
    """Deep Image with crops of 224 pixels.

    Command: foveal train deep_image_imagenet data=DIR
    Published, for pictures of 512 pixels: 24.88 / 7.42 %. Not run here.
    """
    return imagenet(
        "deep_image",
        quick,
        input=(3, 224, 224),
        prepare=("resize(256)",),
        augment=_CHANGES,
        length=74,
        batch_size=256,
        lr=0.01,
        weight_decay=5e-4,
    )
