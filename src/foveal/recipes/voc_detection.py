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


def fast_rcnn_voc(*, quick: bool = False) -> Recipe:
    """Fast R-CNN on VGG-16, two images an update with 64 windows each (Girshick 2015, section 2.3).

    Command: foveal train fast_rcnn_voc data=DIR
    Published: 66.9 % from VOC 2007's images, 70.0 % from both years'. Departures: images are fitted into 600 x 800
    pixels, where the paper's have a shorter side of 600, and conv1 learns too, since nothing is known of it before;
    with `weights=` of a VGG-16 set freeze=backbone.conv2_2.
    """
    recipe = Recipe(
        name="fast_rcnn_voc",
        task="detect",
        model="fast_rcnn",
        data="VOC",
        input=(3, 600, 800),
        mean=_MEAN,
        std=_DEVIATION,
        prepare=("letterbox(600, 800)",),
        augment=("flip",),
        unit="iterations",
        length=40_000,
        batch_size=2,
        lr=1e-3,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="step",
        milestones=(30_000,),
        evaluate_every=5000,
    )
    return _short(recipe) if quick else recipe


def rcnn_voc(*, quick: bool = False) -> Recipe:
    """R-CNN on AlexNet, fine-tuned on 32 windows of objects and 96 of background an update (Girshick et al. 2014, 2.3).

    Command: foveal train rcnn_voc data=DIR weights=FILE partial=true
    Published: 58.5 % from VOC 2007's images, 54.2 % without regression of boxes. Departures: the windows of an update
    are of 8 images, where the paper draws them from all; regressors look at pool5 as the paper's. The weights are those
    of an AlexNet that knows ImageNet.
    """
    recipe = Recipe(
        name="rcnn_voc",
        task="detect",
        model="rcnn",
        options={"boxes_layer": "pool5"},
        data="VOC",
        input=(3, 500, 500),
        mean=_MEAN,
        std=_DEVIATION,
        prepare=("letterbox(500, 500)",),
        augment=("flip",),
        unit="iterations",
        length=70_000,
        batch_size=8,
        lr=1e-3,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="step",
        milestones=(20_000, 40_000, 60_000),
        evaluate_every=70_000,
        save_every=1000,
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
