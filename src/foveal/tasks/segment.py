"""Semantic segmentation: one of several classes for each pixel. What is minimised, and what is predicted."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.tasks.base import Task
from foveal.types import IGNORED


def losses(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """The loss terms of a batch by name, each a scalar; their sum is what is minimised.

    `images` are normalised, float [B, C, H, W]; `targets` are masks uint8 [B, H, W] of class numbers, with 255 for
    pixels that do not count. A network with `losses(images, targets)` of its own (auxiliary scores) is asked for them;
    any other is trained on the cross-entropy of its scores [B, classes, H, W] in nats, averaged over the pixels that
    count: each weighted by `class_weights`, float [classes], where they are given, as by median frequency balancing
    (Eigen and Fergus 2015, section 6.3.2). Scores of another size than the mask (valid convolutions) belong to its
    centre. A batch without any pixel that counts has a loss of 0.

    Raises FovealError when `label_smoothing` or `class_weights` are asked of a network with an objective of its own.
    """
    own: Callable[[Tensor, Tensor], dict[str, Tensor]] | None = getattr(model, "losses", None)
    if own is not None:
        if label_smoothing or class_weights is not None:
            raise FovealError(
                f"{type(model).__name__} is trained on an objective of its own",
                "leave label_smoothing and class_weights away",
            )
        return own(images, targets)
    scores = model(images)
    return {"cross_entropy": pixel_cross_entropy(scores, targets, label_smoothing, class_weights)}


def pixel_cross_entropy(
    scores: Tensor, targets: Tensor, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """The mean over all pixels that count, in nats: scores [B, classes, h, w], masks uint8 [B, H, W] with h ≤ H."""
    wanted = central(targets, scores.shape[-2:]).long()
    weights = None if class_weights is None else class_weights.to(scores.device)
    total = F.cross_entropy(
        scores.float(), wanted, weights, ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
    )
    counted = wanted != IGNORED
    if weights is None:
        return total / counted.sum().clamp(min=1)
    shares = weights[wanted.masked_fill(~counted, 0)] * counted
    return total / shares.sum().clamp(min=1e-12)


def central(masks: Tensor, size: tuple[int, ...]) -> Tensor:
    """The centre of masks [B, H, W] of a size (height, width) up to theirs."""
    top, left = (masks.shape[-2] - size[0]) // 2, (masks.shape[-1] - size[1]) // 2
    if top < 0 or left < 0:
        raise FovealError(
            f"the network gives {size[0]}x{size[1]} scores for masks of {masks.shape[-2]}x{masks.shape[-1]}",
            "forward returns scores [N, classes, h, w] no larger than the image",
        )
    return masks[..., top : top + size[0], left : left + size[1]]


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Class probabilities of each pixel, float32 [B, classes, h, w], of normalised images [B, C, H, W].

    The mode of the model and autograd are the caller's. Where h < H (valid convolutions) they belong to the centre.
    """
    scores: Tensor = model(images)
    return scores.float().softmax(dim=1)


def check(model: nn.Module, output: tuple[int, ...] | None, classes: int, input: tuple[int, int, int]) -> None:
    """Raise FovealError unless the network gives scores [N, classes, h, w], not larger than its input."""
    fits = output is not None and len(output) == 4 and output[1] == classes
    if not fits or output is None or output[2] > input[1] or output[3] > input[2]:
        found = "no tensor" if output is None else f"scores of shape {list(output)}"
        raise FovealError(
            f"{type(model).__name__} gives {found} for {classes} classes and an input of {'x'.join(map(str, input))}",
            "a network for segmentation returns scores [N, num_classes, H, W] of its input's height and width",
        )


TASK = Task("segment", losses, check, protocol="whole_image", figure="mean_iu", label="mean IU", falls=False)
