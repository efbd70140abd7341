"""AlexNet, VGG and ResNet on ImageNet (ILSVRC 2012), as published.

The published errors stand in each docstring; they are the papers', not measured here.

Sources: Krizhevsky, Sutskever and Hinton, NIPS 2012, sections 4 and 5; Simonyan and Zisserman, ICLR 2015, section 3.1;
He, Zhang, Ren and Sun, CVPR 2016, section 3.4. Pixels keep their range of 0 to 255 minus the training set's mean
colour, for AlexNet minus its mean image.
"""

from __future__ import annotations

from foveal.recipes._imagenet import imagenet
from foveal.training.recipe import Recipe

_PAPER_STRIDES = {name: {"version": "1"} for name in ("resnet50", "resnet101", "resnet152")}  # on the first 1x1


def alexnet_imagenet(*, quick: bool = False) -> Recipe:
    """AlexNet in two towers.

    Command: foveal train alexnet_imagenet data=DIR
    Published: 40.7 / 18.2 % top-1 / top-5.

    The published figure averages ten crops; the validation during training uses the centre crop.
    """
    return imagenet(
        "alexnet",
        quick,
        input=(3, 227, 227),
        mean_image=True,
        prepare=("resize(256)", "center_crop(256)"),
        augment=("random_crop(227)", "flip", "pca_colour(0.1)"),
        length=90,
        batch_size=128,
        lr=0.01,
        weight_decay=5e-4,
    )


def vgg11_imagenet(*, quick: bool = False) -> Recipe:
    """VGG A, whose weights start the deeper ones.

    Command: foveal train vgg11_imagenet data=DIR

    Published: 29.6 / 10.4 %.
    """
    return _vgg("vgg11", quick)


def vgg11_lrn_imagenet(*, quick: bool = False) -> Recipe:
    """VGG A-LRN.

    Command: foveal train vgg11_lrn_imagenet data=DIR
    Published: 29.7 / 10.5 %.
    """
    return _vgg("vgg11_lrn", quick)


def vgg13_imagenet(*, quick: bool = False) -> Recipe:
    """VGG B.

    Command: foveal train vgg13_imagenet data=DIR weights=RUN_OF_VGG11 partial=true

    Published: 28.7 / 9.9 %.
    """
    return _vgg("vgg13", quick)


def vgg16_c_imagenet(*, quick: bool = False) -> Recipe:
    """VGG C, scale jitter.

    Command: foveal train vgg16_c_imagenet data=DIR weights=RUN_OF_VGG11 partial=true

    Published, tested at 384: 27.3 / 8.8 %.
    """
    return _vgg_jittered("vgg16_c", quick)


def vgg16_imagenet(*, quick: bool = False) -> Recipe:
    """VGG D, scale jitter.

    Command: foveal train vgg16_imagenet data=DIR weights=RUN_OF_VGG11 partial=true

    Published, tested at 384: 25.6 / 8.1 %.
    """
    return _vgg_jittered("vgg16", quick)


def vgg19_imagenet(*, quick: bool = False) -> Recipe:
    """VGG E, scale jitter.

    Command: foveal train vgg19_imagenet data=DIR weights=RUN_OF_VGG11 partial=true

    Published, tested at 384: 25.5 / 8.0 %.
    """
    return _vgg_jittered("vgg19", quick)


def resnet18_imagenet(*, quick: bool = False) -> Recipe:
    """ResNet-18.

    Command: foveal train resnet18_imagenet data=DIR
    Published: 27.88 % top-1 (ten crops).
    """
    return _resnet("resnet18", quick)


def resnet34_imagenet(*, quick: bool = False) -> Recipe:
    """ResNet-34, option B.

    Command: foveal train resnet34_imagenet data=DIR
    Published: 24.52 / 7.46 % (ten crops).
    """
    return _resnet("resnet34", quick)


def resnet50_imagenet(*, quick: bool = False) -> Recipe:
    """ResNet-50.

    Command: foveal train resnet50_imagenet data=DIR
    Published: 22.85 / 6.71 % (ten crops).
    """
    return _resnet("resnet50", quick)


def resnet101_imagenet(*, quick: bool = False) -> Recipe:
    """ResNet-101.

    Command: foveal train resnet101_imagenet data=DIR
    Published: 21.75 / 6.05 % (ten crops).
    """
    return _resnet("resnet101", quick)


def resnet152_imagenet(*, quick: bool = False) -> Recipe:
    """ResNet-152.

    Command: foveal train resnet152_imagenet data=DIR
    Published: 21.43 / 5.71 % (ten crops).
    """
    return _resnet("resnet152", quick)


def plain18_imagenet(*, quick: bool = False) -> Recipe:
    """18 layers without shortcuts.

    Command: foveal train plain18_imagenet data=DIR
    Published: 27.94 % (ten crops).
    """
    return _resnet("plain18", quick)


def plain34_imagenet(*, quick: bool = False) -> Recipe:
    """34 layers without shortcuts.

    Command: foveal train plain34_imagenet data=DIR
    Published: 28.54 / 10.02 %.
    """
    return _resnet("plain34", quick)


def _vgg(model: str, quick: bool) -> Recipe:
    return imagenet(
        model,
        quick,
        input=(3, 224, 224),
        prepare=("resize(256)",),
        augment=("random_crop(224)", "flip", "pca_colour(0.1)"),
        length=74,
        batch_size=256,
        lr=0.01,
        weight_decay=5e-4,
    )


def _vgg_jittered(model: str, quick: bool) -> Recipe:
    return _vgg(model, quick).with_settings(
        prepare=(),
        augment=("scale_jitter(256, 512)", "random_crop(224)", "flip", "pca_colour(0.1)"),
        test=("resize(384)",),  # Q = 0.5 (256 + 512)
    )


def _resnet(model: str, quick: bool) -> Recipe:
    return imagenet(
        model,
        quick,
        input=(3, 224, 224),
        augment=("scale_jitter(256, 480)", "random_crop(224)", "flip", "pca_colour(0.1)"),
        test=("resize(256)",),
        options=_PAPER_STRIDES.get(model, {}),
        length=120,  # "up to 60 x 10^4 iterations" of 256 images
        batch_size=256,
        lr=0.1,
        weight_decay=1e-4,
    )
