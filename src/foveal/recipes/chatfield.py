"""CNN-F, CNN-M and CNN-S on ImageNet (ILSVRC 2012), as published.

Paper: Chatfield, Simonyan, Vedaldi and Zisserman, "Return of the Devil in the Details", BMVC 2014: AlexNet's settings
(batch 128, momentum 0.9, weight decay 5e-4, rate 0.01 divided by 10 when the validation error stops falling) with crops
from the whole picture, its shorter side at 256, flips and jitter along the principal colours.

The paper does not print the length: 90 epochs, AlexNet's. From such a run the fine-tuning starts: of `cnn_s_voc2007`,
or for any folder of pictures `foveal train fine_tune model=cnn_s data=DIR weights=RUN`.
"""

from __future__ import annotations

from foveal.recipes._imagenet import imagenet
from foveal.training.recipe import Recipe


def cnn_f_imagenet(*, quick: bool = False) -> Recipe:
    """CNN-F, the fast network.

    Command: foveal train cnn_f_imagenet data=DIR
    Published: 16.7 % top-5. Not run here.
    """
    return _chatfield("cnn_f", quick)


def cnn_m_imagenet(*, quick: bool = False) -> Recipe:
    """CNN-M, the medium network.

    Command: foveal train cnn_m_imagenet data=DIR
    Published: 13.7 % top-5; with options.fc7=2048 13.5, 1024 13.7, 128 15.6 %. Not run here.
    """
    return _chatfield("cnn_m", quick)


def cnn_s_imagenet(*, quick: bool = False) -> Recipe:
    """CNN-S, the slow network.

    Command: foveal train cnn_s_imagenet data=DIR
    Published: 13.1 % top-5. Not run here.
    """
    return _chatfield("cnn_s", quick)


def _chatfield(model: str, quick: bool) -> Recipe:
    return imagenet(
        model,
        quick,
        input=(3, 224, 224),
        prepare=("resize(256)",),
        augment=("random_crop(224)", "flip", "pca_colour(0.1)"),
        length=90,
        batch_size=128,
        lr=0.01,
        weight_decay=5e-4,
    )
