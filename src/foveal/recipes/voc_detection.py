"""PASCAL VOC's objects in 20 classes: one folder with VOC 2007's and 2012's trainval, test is VOC 2007's.

`data` is a folder of VOC's layout, whose ImageSets/Main/trainval.txt names the images of both years. The papers start
from VGG-16's ImageNet weights; these recipes take such a start by `weights=FILE partial=true`, and begin anew without.
Figures are the papers' own, AP at IoU 0.5 on VOC 2007's test images, none measured here.
"""

from __future__ import annotations

from foveal.training.recipe import Recipe

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def ssd300_voc(*, quick: bool = False) -> Recipe:
    """SSD300 as its code trains it on VOC 2007 and 2012, zoomed-out images included (Liu et al. 2016, 2.2 and 3.6).

    Command: foveal train ssd300_voc data=DIR
    Published: 77.2 % (74.3 without zooming out). No departure but that a zoomed-out image keeps its size.
    """
    return _ssd("ssd300", 300, quick)


def ssd512_voc(*, quick: bool = False) -> Recipe:
    """SSD512, otherwise as ssd300_voc.

    Command: foveal train ssd512_voc data=DIR
    Published: 79.8 % (76.8 without zooming out).
    """
    return _ssd("ssd512", 512, quick)


def faster_rcnn_voc(*, quick: bool = False) -> Recipe:
    """Faster R-CNN on VGG-16, an image an update (Ren et al. 2015, section 3.1.3).

    Command: foveal train faster_rcnn_voc data=DIR
    Published: 73.2 % from both years' images. Departures: the four losses are learned together, where the paper
    alternates; images are fitted into 600 x 800 pixels, where the paper's have a shorter side of 600.
    """
    recipe = Recipe(
        name="faster_rcnn_voc",
        task="detect",
        model="faster_rcnn",
        data="VOC",
        input=(3, 600, 800),
        mean=_MEAN,
        std=_DEVIATION,
        prepare=("letterbox(600, 800)",),
        augment=("flip",),
        unit="iterations",
        length=80_000,
        batch_size=1,
        lr=1e-3,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="step",
        milestones=(60_000,),
        evaluate_every=5000,
    )
    return _short(recipe) if quick else recipe


def _ssd(model: str, side: int, quick: bool) -> Recipe:
    recipe = Recipe(
        name=f"{model}_voc",
        task="detect",
        model=model,
        data="VOC",
        input=(3, side, side),
        mean=_MEAN,
        std=_DEVIATION,
        augment=(
            "zoom_out(4)",
            "v2.RandomIoUCrop()",
            f"resize_exact({side}, {side})",
            "flip",
            "v2.RandomPhotometricDistort()",
        ),
        test=(f"resize_exact({side}, {side})",),
        unit="iterations",
        length=120_000,
        batch_size=32,
        lr=1e-3,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="step",
        milestones=(80_000, 100_000),
        evaluate_every=5000,
    )
    return _short(recipe) if quick else recipe


def _short(recipe: Recipe) -> Recipe:
    return recipe.with_settings(
        length=4,
        batch_size=min(2, recipe.batch_size),
        evaluate_every=4,
        milestones=tuple(range(2, 2 + len(recipe.milestones))),
    )
