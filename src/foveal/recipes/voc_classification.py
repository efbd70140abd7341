"""CNN-S fine-tuned for PASCAL VOC 2007's classification: which of 20 classes are on a picture.

Paper: Chatfield, Simonyan, Vedaldi and Zisserman, "Return of the Devil in the Details", BMVC 2014: a network that has
learned ImageNet gets a new last layer for the 20 classes, and learns on by every class's hinge against the rest or by a
ranking hinge on pairs of images; the mean of VOC 2007's average precisions is what counts.

`data` is a folder of VOC's layout; where it lists train and val, the best checkpoint is chosen on val. Batch, momentum,
decay and crops are those of the network's ImageNet recipe. Departures: the paper's rates and length are not stated in
what these recipes were made from. Here the new layer learns at 0.01, the others at a hundredth of that, sixty epochs
long, and a plateau divides both by ten; each class's loss is its mean over the batch. The figures are the network's own
scores, the mean over ten crops with `--protocol "presence(crops=10)"`.
"""

from __future__ import annotations

from foveal.recipes._imagenet import imagenet
from foveal.training.recipe import Recipe


def cnn_s_voc2007(*, quick: bool = False) -> Recipe:
    """CNN-S tuned to VOC 2007 by each class's hinge against the rest.

    Command: foveal train cnn_s_voc2007 data=DIR weights=runs/cnn_s_imagenet-1
    Not run here.
    """
    return _tuned("cnn_s_voc2007", "hinge", quick)


def cnn_s_voc2007_ranking(*, quick: bool = False) -> Recipe:
    """CNN-S tuned to VOC 2007 by the ranking hinge.

    Command: foveal train cnn_s_voc2007_ranking data=DIR weights=runs/cnn_s_imagenet-1
    Published: about 2.7 points of mAP more than without tuning. Not run here.
    """
    return _tuned("cnn_s_voc2007_ranking", "ranking", quick)


def _tuned(name: str, loss: str, quick: bool) -> Recipe:
    recipe = imagenet(
        "cnn_s",
        quick,
        input=(3, 224, 224),
        prepare=("resize(256)",),
        augment=("random_crop(224)", "flip", "pca_colour(0.1)"),
        length=60,
        batch_size=128,
        lr=1e-4,
        weight_decay=5e-4,
    )
    return recipe.with_settings(name=name, task="tag", loss=loss, data="VOC2007", head_lr=100.0)
