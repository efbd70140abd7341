"""PASCAL VOC in 21 classes, background included: images with masks (Everingham et al. 2010).

The papers train on VOC 2011 or 2012 with the additional masks of Hariharan et al. (2011), put into the same folders.
The published figures are the papers' own, on validation images that were not trained on unless said otherwise; none was
measured by us.

All begin with other weights, and refuse to begin without: `vgg16.pth` is the file of ImageNet weights that torchvision
publishes, whose images are normalised as here.
"""

from __future__ import annotations

from typing import Any

from foveal.training.recipe import Recipe

_WINDOW = "random_view((500, 500), scale=(1, 1), flip=0)"  # the whole image, and pixels that do not count beside it


def fcn32s_voc(*, quick: bool = False) -> Recipe:
    """FCN-32s from VGG-16's ImageNet weights: SGD at a fixed 1e-4, batches of 20 (Long et al. 2015, section 4.3).

    Command: foveal train fcn32s_voc data=VOC2012 weights=vgg16.pth

    Published: 59.4 % mean IU on VOC 2011's validation images, after 175 epochs at least (section 4.1; table 2).
    Departures: one rate for weights and biases, where the paper doubles that of biases; loss averaged over pixels.
    """
    return _fcn("fcn32s", quick, lr=1e-4, length=1 if quick else 175)


def fcn32s_fixed_voc(*, quick: bool = False) -> Recipe:
    """FCN-32s-fixed, whose score layer alone is trained; otherwise as fcn32s_voc.

    Command: foveal train fcn32s_fixed_voc data=VOC2012 weights=vgg16.pth

    Published: 45.4 % mean IU (table 2).
    """
    return _fcn("fcn32s_fixed", quick, lr=1e-4, length=1 if quick else 175)


def fcn16s_voc(*, quick: bool = False) -> Recipe:
    """FCN-16s from a trained FCN-32s, at a hundredth of its rate (section 4.2); scores of pool4 begin at zero.

    Command: foveal train fcn16s_voc data=VOC2012 weights=runs/fcn32s_voc-1

    Published: 62.4 % mean IU (table 2). The paper tells days and not epochs; a third of the first stage is our choice.
    """
    return _fcn("fcn16s", quick, lr=1e-6, length=1 if quick else 58)


def fcn8s_voc(*, quick: bool = False) -> Recipe:
    """FCN-8s from a trained FCN-16s (section 4.2); scores of pool3 begin at zero.

    Command: foveal train fcn8s_voc data=VOC2012 weights=runs/fcn16s_voc-1

    Published: 62.7 % mean IU (table 2). Rate and length are those of fcn16s_voc.
    """
    return _fcn("fcn8s", quick, lr=1e-6, length=1 if quick else 58)


def dilated_voc(*, quick: bool = False) -> Recipe:
    """The dilated front end from VGG-16's ImageNet weights, without a context module (Yu and Koltun 2016, section 4).

    Command: foveal train dilated_voc data=VOC2012 weights=vgg16.pth

    Published: 67.6 % mean IU on VOC 2012's test images (table 2), trained on VOC 2012 with the additional masks. With
    COCO's images before them, 69.8 % on the validation images (section 5, table 3).
    """
    return _voc(
        "dilated_voc",
        options={"context": "none"},
        unit="iterations",
        length=2 if quick else 60_000,
        batch_size=2 if quick else 14,
        accumulate=2,
        lr=1e-3,
        evaluate_every=2 if quick else 2000,
    )


def _fcn(model: str, quick: bool, **settings: Any) -> Recipe:
    return _voc(
        f"{model}_voc",
        batch_size=5 if quick else 20,
        accumulate=5,
        weight_decay=5e-4,
        evaluate_every=1 if quick else 5,
        **settings,
    )


def _voc(name: str, **settings: Any) -> Recipe:
    return Recipe(
        name=name,
        task="segment",
        model=name.removesuffix("_voc"),
        data="VOC2012",
        partial=True,  # the classifier's scores find no place
        input=(3, 500, 500),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        augment=(_WINDOW,),
        **settings,
    )
