"""COCO's objects: a folder of COCO's layout, train2017 and val2017.

The papers start from ImageNet's weights; these recipes take such a start by `weights=FILE partial=true`, and begin anew
without. Figures are the papers' own, AP over IoU 0.50 to 0.95, none measured here.
"""

from __future__ import annotations

from foveal.training.recipe import Recipe

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def ssd300_coco(*, quick: bool = False) -> Recipe:
    """SSD300 with smaller default boxes (Liu et al. 2016, section 3.4): 160,000 updates, two times 40,000 at a tenth.

    Command: foveal train ssd300_coco data=DIR
    Published: 23.2 % on test-dev; 25.1 with images zoomed out, as here (section 3.6).
    """
    recipe = Recipe(
        name="ssd300_coco",
        task="detect",
        model="ssd300",
        options={"boxes": "coco"},
        data="coco",
        input=(3, 300, 300),
        mean=_MEAN,
        std=_DEVIATION,
        augment=(
            "zoom_out(4)",
            "v2.RandomIoUCrop()",
            "resize_exact(300, 300)",
            "flip",
            "v2.RandomPhotometricDistort()",
        ),
        test=("resize_exact(300, 300)",),
        unit="iterations",
        length=240_000,
        batch_size=32,
        lr=1e-3,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="step",
        milestones=(160_000, 200_000),
        evaluate_every=10_000,
    )
    return _short(recipe) if quick else recipe


def faster_rcnn_fpn_coco(*, quick: bool = False) -> Recipe:
    """Faster R-CNN on a ResNet-50 with a feature pyramid (Lin et al. 2017, section 5.2): 80,000 updates of 16 images.

    Command: foveal train faster_rcnn_fpn_coco data=DIR
    Published: 33.9 % on minival. Departures: images are fitted into 800 x 1088 pixels, where the paper's have a shorter
    side of 800; the rate rises over the first 500 updates.
    """
    recipe = Recipe(
        name="faster_rcnn_fpn_coco",
        task="detect",
        model="faster_rcnn_fpn",
        data="coco",
        input=(3, 800, 1088),
        mean=_MEAN,
        std=_DEVIATION,
        prepare=("letterbox(800, 1088)",),
        augment=("flip",),
        unit="iterations",
        length=80_000,
        batch_size=16,
        lr=0.02,
        momentum=0.9,
        weight_decay=1e-4,
        schedule="step",
        milestones=(60_000,),
        warmup=500,
        evaluate_every=5000,
    )
    return _short(recipe) if quick else recipe


def mask_rcnn_coco(*, quick: bool = False) -> Recipe:
    """Mask R-CNN on a ResNet-50 with a feature pyramid (He et al. 2017, section 3.1): 160,000 updates of 16 images.

    Command: foveal train mask_rcnn_coco data=DIR
    Published: masks 33.6 % on minival (table 2a); with ResNet-101 (options.encoder=resnet101) masks 35.7, boxes 38.2 on
    test-dev. Departures as for `faster_rcnn_fpn_coco`.
    """
    recipe = faster_rcnn_fpn_coco().with_settings(
        name="mask_rcnn_coco", model="mask_rcnn", length=160_000, milestones=(120_000,)
    )
    return _short(recipe) if quick else recipe


def keypoint_rcnn_coco(*, quick: bool = False) -> Recipe:
    """Mask R-CNN for the keypoints of persons, ResNet-50 (He et al. 2017, section 5): 90,000 updates of 16 images.

    Command: foveal train keypoint_rcnn_coco data=DIR/annotations/person_keypoints_train2017.json
    Published: keypoints 62.7 % on test-dev. Departures as for `faster_rcnn_fpn_coco`; the shorter side of 640 to 800
    pixels is drawn evenly in its logarithm, and the image lies anywhere in the 800 x 1088; images of the file whose
    persons have no keypoint are shown as well.
    """
    recipe = faster_rcnn_fpn_coco().with_settings(
        name="keypoint_rcnn_coco",
        model="keypoint_rcnn",
        data="coco/annotations/person_keypoints_train2017.json",
        augment=("random_view((800, 1088), (0.8, 1.0), flip=0.5)",),
        length=90_000,
        milestones=(60_000, 80_000),
    )
    return _short(recipe) if quick else recipe


def _short(recipe: Recipe) -> Recipe:
    return recipe.with_settings(
        length=4,
        batch_size=2,
        evaluate_every=4,
        warmup=0,
        milestones=tuple(range(2, 2 + len(recipe.milestones))),
    )
