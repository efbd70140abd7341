"""Tagging: any number of classes per image, each there or not. What is minimised, and what is predicted.

K. Chatfield, K. Simonyan, A. Vedaldi, A. Zisserman, «Return of the devil in the details», BMVC 2014, fine-tune so for
PASCAL VOC: every class against the rest by a hinge, or the images of a class before all others by a ranking hinge.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.tasks import classify
from foveal.tasks.base import Task
from foveal.types import IGNORED

Loss = Literal["logistic", "hinge", "ranking"]


def losses(model: nn.Module, images: Tensor, targets: Tensor, *, loss: Loss = "logistic") -> dict[str, Tensor]:
    """The loss of a batch under its name, a scalar: per class the mean over the images that count, summed over classes.

    `images` are normalised, float [B, C, H, W]; `targets` are tags uint8 [B, classes]: 1 there, 0 not, 255 not counted.
    Of scores s, with y = 1 or -1: "logistic" is log(1 + exp(-y s)) in nats, "hinge" max(0, 1 - y s). "ranking" is
    max(0, 1 - s_p + s_n), averaged over all pairs of an image p that has the class and one n that has not; a class that
    all images of the batch have, or none, has no pair and no loss.

    Raises FovealError for a network with an objective of its own.
    """
    if hasattr(model, "losses"):
        raise FovealError(
            f"{type(model).__name__} is trained on an objective of its own, which is about one class an image",
            "choose a network that gives plain scores, such as resnet18",
        )
    scores = model(images).float()
    if loss == "ranking":
        return {loss: ranking(scores, targets)}
    signs = (targets == 1).to(scores) * 2 - 1
    each = F.softplus(-signs * scores) if loss == "logistic" else F.relu(1 - signs * scores)
    counted = targets != IGNORED
    return {loss: ((each * counted).sum(0) / counted.sum(0).clamp(min=1)).sum()}


def ranking(scores: Tensor, targets: Tensor) -> Tensor:
    """The ranking hinge of scores [B, classes] and tags uint8 [B, classes]: see `losses`."""
    margins = F.relu(1 - scores[:, None] + scores[None])  # [B, B, classes]: the first has the class, the second not
    pairs = (targets == 1)[:, None] & (targets == 0)[None]
    return (torch.where(pairs, margins, 0).sum((0, 1)) / pairs.sum((0, 1)).clamp(min=1)).sum()


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Scores of each class, float32 [B, classes], of normalised images [B, C, H, W]; the higher, the likelier there.

    0 is the border of "logistic" and "hinge"; those of "ranking" compare images of one class, and no classes.
    """
    scores: Tensor = model(images)
    return scores.float()


TASK = Task(
    "tag",
    losses,
    classify.check,
    protocol="presence",
    figure="mean_ap",
    label="mean AP",
    falls=False,
    reaches_zero=False,  # images that are ranked last are ranked all the same
)
