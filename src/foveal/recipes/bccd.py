"""Blood cells in boxes: BCCD, 364 microscope images of 640 x 480 pixels, 3 classes, its own split of 205, 87 and 72.

Red cells are about 105 pixels wide, white ones 185 and platelets 40, and every image holds a dozen or more. The
networks start from scratch.
"""

from __future__ import annotations

from foveal.training.recipe import Recipe

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CROP = "v2.RandomIoUCrop(min_scale=0.5, min_aspect_ratio=0.75, max_aspect_ratio=1.33)"  # SSD's samples, less extreme
_LENET = "5-2Conv32 (ReLU) → 2-2MaxPool → 3-1Conv64 (ReLU) → 2-2MaxPool → FC192 (ReLU)"  # sees windows of 27 pixels
_MIRRORED = ("flip", "v2.RandomVerticalFlip()", "color_jitter(0.3, 0.3, 0.3)")


def ssd_bccd_fast(*, quick: bool = False) -> Recipe:
    """A light single-shot detector at half resolution.

    Command: foveal train ssd_bccd_fast data=DIR
    Expected: about 90 % AP at IoU 0.5 on the test images, in some 20 minutes of one core.
    """
    return _bccd(
        "ssd_bccd_fast",
        quick,
        model="ssd_resnet",
        options={"width": 32, "maps": 96, "sides": (20, 48, 92, 160, 240)},
    )


def faster_rcnn_bccd_fast(*, quick: bool = False) -> Recipe:
    """A light two-stage detector on a feature pyramid, at half resolution.

    Command: foveal train faster_rcnn_bccd_fast data=DIR
    Expected: about 92 % AP at IoU 0.5 on the test images, in some 35 minutes of one core.
    """
    return _bccd(
        "faster_rcnn_bccd_fast",
        quick,
        model="faster_rcnn_fpn",
        options={
            "encoder": "resnet18",
            "width": 32,
            "maps": 64,
            "hidden": 256,
            "proposals": 200,
            "sizes": (20, 48, 92, 160, 240),
        },
        length=1 if quick else 60,
    )


def sliding_window_bccd_fast(*, quick: bool = False) -> Recipe:
    """A classifier of windows at all places and five scales, a network as deep as LeNet-5.

    Command: foveal train sliding_window_bccd_fast data=DIR
    """
    return _windows("sliding_window_bccd_fast", quick, model="sliding_window", options={})


def overfeat_bccd_fast(*, quick: bool = False) -> Recipe:
    """OverFeat's detector on the same windows: background, boxes by regression, and merging; all layers learn at once.

    Command: foveal train overfeat_bccd_fast data=DIR
    """
    options = {"hidden": (192, 96), "classes": 3}
    return _windows("overfeat_bccd_fast", quick, model="overfeat_detector", options=options)


def fcn_detector_bccd_fast(*, quick: bool = False) -> Recipe:
    """The lectures' fully convolutional detector, with a place every 16 pixels.

    Command: foveal train fcn_detector_bccd_fast data=DIR
    """
    fitted = "resize_exact(384, 512)"
    return _bccd(
        "fcn_detector_bccd_fast",
        quick,
        model="fcn_detector",
        input=(3, 384, 512),
        augment=(_CROP, fitted, *_MIRRORED),
        test=(fitted,),
        length=1 if quick else 60,
    )


def _windows(name: str, quick: bool, *, options: dict[str, object], **settings: object) -> Recipe:
    """Windows of 27 pixels to 108, since objects are 24, 63 and 111 pixels wide in images of 384 x 288."""
    fitted = "resize_exact(288, 384)"
    return _bccd(
        name,
        quick,
        options={"trunk": _LENET, "side": 27, "scales": (1.0, 0.71, 0.5, 0.35, 0.25), "border": 8, **options},
        input=(3, 288, 384),
        augment=(fitted, *_MIRRORED),
        test=(fitted,),
        length=1 if quick else 60,
        **settings,
    )


def fast_rcnn_bccd_fast(*, quick: bool = False) -> Recipe:
    """Fast R-CNN with a light trunk of stride 8, on the 1,000 best windows of selective search.

    Command: foveal train fast_rcnn_bccd_fast data=DIR
    Expected: about 82 % AP at IoU 0.5 on the test images, in some 15 minutes of one core, search included.
    """
    return _proposed(
        "fast_rcnn_bccd_fast",
        quick,
        model="fast_rcnn",
        options={"encoder": "resnet18", "width": 32, "stride": 8, "hidden": 256, "windows": 1000, "least_side": 10},
        length=1 if quick else 60,
    )


def rcnn_bccd_fast(*, quick: bool = False) -> Recipe:
    """R-CNN: a ResNet-20 of 32 pixels learns 128 windows an update, then machines and regressors are fitted to it.

    Command: foveal train rcnn_bccd_fast data=DIR
    Expected: about 78 % AP at IoU 0.5 on the test images, in at most 46 minutes of one core, search included.
    """
    return _proposed(
        "rcnn_bccd_fast",
        quick,
        model="rcnn",
        options={"classifier": "resnet20", "size": 32, "context": 4, "windows": 800, "least_side": 10},
        length=1 if quick else 30,
        ema=0.0,
        evaluate_every=1 if quick else 30,
        save_every=100,
    )


def _proposed(name: str, quick: bool, **settings: object) -> Recipe:
    """Images are brought to their size before they are searched for windows, so that each is searched once."""
    return _bccd(name, quick, prepare=("resize_exact(256, 320)",), augment=_MIRRORED, test=(), **settings)


def _bccd(name: str, quick: bool, **settings: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": name,
            "task": "detect",
            "data": "bccd",
            "input": (3, 256, 320),
            "mean": _MEAN,
            "std": _STD,
            "augment": (
                _CROP,
                "resize_exact(256, 320)",
                *_MIRRORED,
            ),
            "test": ("resize_exact(256, 320)",),
            "length": 1 if quick else 120,
            "batch_size": 8,
            "optimizer": "adamw",
            "lr": 2e-3,
            "weight_decay": 0.01,
            "decay_all": False,
            "schedule": "onecycle",
            "clip": 10.0,
            "ema": 0.99,
            "evaluate_every": 1 if quick else 5,
            **settings,
        }
    )
