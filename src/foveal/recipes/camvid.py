"""Street scenes of CamVid in 11 classes (Brostow et al. 2009), in the split of SegNet: 367, 101 and 233 images.

Images of 360x480 pixels with masks of class numbers, as folders of images and masks. The published figures are the
papers' own, on the 233 test images; the recipes that name a paper were not run to their end by us.
"""

from __future__ import annotations

from typing import Any

from foveal.training.recipe import Recipe

_MEAN, _STD = (0.404, 0.416, 0.423), (0.303, 0.308, 0.303)  # of the training images


def unet_camvid_fast(*, quick: bool = False) -> Recipe:
    """A narrow U-Net with batch normalisation, from scratch, at half resolution, in less than an hour on two CPU cores.

    Command: foveal train unet_camvid_fast data=DIR
    Expected: about 47 % mean IU on the test images, in some 25 minutes.
    """
    return Recipe(
        name="unet_camvid_fast",
        task="segment",
        model="unet",
        options={"width": 16, "batch_norm": True},
        data="camvid",
        input=(3, 176, 240),
        mean=_MEAN,
        std=_STD,
        prepare=("resize_exact(180, 240)",),
        augment=(
            "affine(degrees=5, shift=0.1, scale=(0.8, 1.6))",
            "random_crop((176, 240))",
            "flip",
            "color_jitter(0.3, 0.3, 0.3)",
        ),
        unit="epochs",
        length=1 if quick else 60,
        batch_size=8,
        optimizer="adamw",
        lr=3e-3,
        weight_decay=0.01,
        decay_all=False,
        schedule="onecycle",
        class_weights="median_frequency",
        ema=0.99,
        evaluate_every=1 if quick else 5,
    )


def unet_camvid(*, quick: bool = False) -> Recipe:
    """The U-Net at full width with batch normalisation, from scratch, on windows of 320x320 pixels; a GPU's work.

    Command: foveal train unet_camvid data=DIR

    Nothing of it is published: the paper's own data are other. Settings are those of unet_camvid_fast.
    """
    return _camvid(
        "unet_camvid",
        options={"batch_norm": True},
        input=(3, 320, 320),
        augment=("random_view((320, 320), scale=(0.8, 1.6), degrees=5)", "color_jitter(0.3, 0.3, 0.3)"),
        length=1 if quick else 150,
        batch_size=1 if quick else 8,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.01,
        decay_all=False,
        schedule="onecycle",
        class_weights="median_frequency",
        ema=0.99,
        evaluate_every=1 if quick else 5,
    )


def segnet_camvid(*, quick: bool = False) -> Recipe:
    """SegNet on whole images, SGD at a constant 0.1, the classes weighted by median frequency (section 3.2).

    Command: foveal train segnet_camvid data=DIR

    Published: 60.10 % mean IU, 90.40 % pixel accuracy, 71.20 % mean accuracy (table 3), but trained on 3,433 scenes of
    four sets: 140,000 updates of 5 images at 1e-3, with dropout (section 4). Trained on CamVid alone, as here, the
    paper has the smaller SegNet-Basic only: 47.7 % mean IU (table 1).
    Departures: begins from scratch unless `weights=` names VGG-16's (with partial=true); no local contrast
    normalisation; the paper's loss is the same but for that.
    """
    return _camvid(
        "segnet_camvid",
        input=(3, 360, 480),
        augment=(),
        unit="iterations",
        length=2 if quick else 140_000,
        batch_size=1 if quick else 12,
        lr=0.1,
        weight_decay=5e-4,
        class_weights="median_frequency",
        evaluate_every=2 if quick else 1000,
    )


def tiramisu56_camvid(*, quick: bool = False) -> Recipe:
    """FC-DenseNet56 on windows of 224x224 pixels, from scratch (section 4.1); then see tiramisu56_camvid_whole.

    Command: foveal train tiramisu56_camvid data=DIR

    Published, with the second stage: 58.9 % mean IU, 88.9 % pixel accuracy (table 3).
    """
    return _tiramisu("tiramisu56", quick)


def tiramisu67_camvid(*, quick: bool = False) -> Recipe:
    """FC-DenseNet67 on windows of 224x224 pixels, from scratch (section 4.1); then see tiramisu67_camvid_whole.

    Command: foveal train tiramisu67_camvid data=DIR

    Published, with the second stage: 65.8 % mean IU, 90.8 % pixel accuracy (table 3).
    """
    return _tiramisu("tiramisu67", quick)


def tiramisu103_camvid(*, quick: bool = False) -> Recipe:
    """FC-DenseNet103 on windows of 224x224 pixels, from scratch (section 4.1); then see tiramisu103_camvid_whole.

    Command: foveal train tiramisu103_camvid data=DIR

    Published, with the second stage: 66.9 % mean IU, 91.5 % pixel accuracy (table 3).
    """
    return _tiramisu("tiramisu103", quick)


def tiramisu56_camvid_whole(*, quick: bool = False) -> Recipe:
    """The second stage of FC-DenseNet56: whole images at a tenth of the rate, from the first stage's weights.

    Command: foveal train tiramisu56_camvid_whole data=DIR weights=runs/tiramisu56_camvid-1
    """
    return _tiramisu("tiramisu56", quick, whole=True)


def tiramisu67_camvid_whole(*, quick: bool = False) -> Recipe:
    """The second stage of FC-DenseNet67: whole images at a tenth of the rate, from the first stage's weights.

    Command: foveal train tiramisu67_camvid_whole data=DIR weights=runs/tiramisu67_camvid-1
    """
    return _tiramisu("tiramisu67", quick, whole=True)


def tiramisu103_camvid_whole(*, quick: bool = False) -> Recipe:
    """The second stage of FC-DenseNet103: whole images at a tenth of the rate, from the first stage's weights.

    Command: foveal train tiramisu103_camvid_whole data=DIR weights=runs/tiramisu103_camvid-1
    """
    return _tiramisu("tiramisu103", quick, whole=True)


def _tiramisu(model: str, quick: bool, *, whole: bool = False) -> Recipe:
    """RMSprop at 1e-3 that falls by 0.995 an epoch, weight decay 1e-4, batches of 3; length and patience are those of
    the authors' code, which stops when the validation images' mean IU has not risen for so long."""
    return _camvid(
        f"{model}_camvid_whole" if whole else f"{model}_camvid",
        input=(3, 360, 480) if whole else (3, 224, 224),
        augment=("flip",) if whole else ("random_crop(224)", "flip"),
        length=1 if quick else 750,
        batch_size=1 if quick else 3,
        optimizer="rmsprop",
        lr=1e-4 if whole else 1e-3,
        weight_decay=1e-4,
        schedule="exponential",
        gamma=1.0 if whole else 0.995,
        patience=50 if whole else 150,
    )


def _camvid(name: str, **settings: Any) -> Recipe:
    return Recipe(
        name=name, task="segment", model=name.partition("_camvid")[0], data="camvid", mean=_MEAN, std=_STD, **settings
    )
