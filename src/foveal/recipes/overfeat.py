"""OverFeat's classifiers, localiser and detector on ImageNet (ILSVRC 2012 and 2013), as published.

Paper: Sermanet et al., "OverFeat: Integrated Recognition, Localization and Detection using Convolutional Networks",
ICLR 2014, section 3.1: shorter side to 256, random crops and mirror images, batch 128, momentum 0.6, weight decay 1e-5,
rate 0.05 halved after 30, 50, 60, 70 and 80 epochs, dropout.

The paper shows five crops and their mirror images of each picture in an epoch; here an epoch shows one. It does not say
when training ends: after 90 epochs here. The colours' mean and deviation are those of the released network. Train
so, at one position, and test densely: `foveal evaluate RUN --protocol overfeat`.

The localiser (section 4) begins with such a classifier, of which nothing changes but the regressor on top; the
detector (section 5) with one as well, of which all learns on. They refuse to begin without. Data are folders of VOC's
layout with the images and annotations of ILSVRC's CLS-LOC or DET. Of their rates, batches and lengths the paper tells
nothing: they are ours. Nor does it tell how images come to the network: here fitted into a square, whose scales have
the short sides of its table 5.
"""

from __future__ import annotations

from foveal.recipes._imagenet import imagenet
from foveal.training.recipe import Recipe


def overfeat_fast_imagenet(*, quick: bool = False) -> Recipe:
    """OverFeat's fast network.

    Command: foveal train overfeat_fast_imagenet data=DIR
    Published: 16.97 % top-5 (one network, fine stride). Not run here.
    """
    return _overfeat("overfeat_fast", 231, quick)


def overfeat_accurate_imagenet(*, quick: bool = False) -> Recipe:
    """OverFeat's accurate network.

    Command: foveal train overfeat_accurate_imagenet data=DIR
    Published: 35.7 / 14.18 % (one network, several scales). Not run here.
    """
    return _overfeat("overfeat_accurate", 221, quick)


def overfeat_localisation_imagenet(*, quick: bool = False) -> Recipe:
    """OverFeat's localiser: class and box of an image's main object, as ILSVRC's localisation task asks.

    Command: foveal train overfeat_localisation_imagenet data=DIR weights=RUN
    Then: foveal evaluate RUN --protocol localisation
    Published: 29.9 % localisation error (test 2013, four scales), 30.0 % on the validation images. Not run here.
    """
    return _boxes("overfeat_localisation_imagenet", "overfeat_localiser", quick, freeze="classifier")


def overfeat_detection_imagenet(*, quick: bool = False) -> Recipe:
    """OverFeat's detector on ILSVRC's 200 classes, with background and negatives mined on the fly.

    Command: foveal train overfeat_detection_imagenet data=DIR weights=RUN
    Published: 24.3 % mean AP (test 2013, after the competition; 19.4 % in it). Not run here.
    """
    return _boxes("overfeat_detection_imagenet", "overfeat_detector", quick)


def _boxes(name: str, model: str, quick: bool, **settings: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": name,
            "task": "detect",
            "model": model,
            "partial": True,
            "data": "ILSVRC",
            "input": (3, 461, 461),
            "mean": (118.380948 / 255,),
            "std": (61.896913 / 255,),
            "prepare": ("letterbox(461, 461)",),
            "augment": ("flip",),
            "unit": "iterations" if quick else "epochs",
            "length": 4 if quick else 10,
            "batch_size": 4 if quick else 64,
            "lr": 0.005,
            "momentum": 0.6,
            "weight_decay": 1e-5,
            "schedule": "cosine",
            "evaluate_every": 4 if quick else 1,
            **settings,
        }
    )


def _overfeat(model: str, side: int, quick: bool) -> Recipe:
    return imagenet(
        model,
        quick,
        input=(3, side, side),
        mean=(118.380948 / 255,),
        std=(61.896913 / 255,),
        prepare=("resize(256)",),
        augment=(f"random_crop({side})", "flip"),
        length=90,
        batch_size=128,
        lr=0.05,
        momentum=0.6,
        weight_decay=1e-5,
        schedule="step",
        milestones=(30, 50, 60, 70, 80),
        gamma=0.5,
    )
