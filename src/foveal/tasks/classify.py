"""Classification: one of several classes per image. What is minimised, and what is predicted."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.tasks.base import Task


def losses(model: nn.Module, images: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> dict[str, Tensor]:
    """The loss terms of a batch by name, each a scalar averaged over the images; their sum is what is minimised.

    `images` are normalised, float [B, C, H, W]; `targets` are class numbers, int64 [B]. A network that defines its own
    `losses(images, targets)` (LeNet-5's RBF output, auxiliary classifiers) is asked for them; any other network is
    trained on the cross-entropy of its scores [B, classes] in nats. `label_smoothing`, in [0, 1), is the share of the
    target that is spread evenly over all classes (Szegedy et al. 2016, section 7). The scores are taken to float32
    first, so that a forward pass in bfloat16 does not cost precision in the logarithm.

    Raises FovealError when `label_smoothing` is asked of a network with an objective of its own.
    """
    check_smoothing(model, label_smoothing)
    own: Callable[[Tensor, Tensor], dict[str, Tensor]] | None = getattr(model, "losses", None)
    if own is None:
        scores = model(images)
        return {"cross_entropy": F.cross_entropy(scores.float(), targets, label_smoothing=label_smoothing)}
    return own(images, targets)


def check_smoothing(model: nn.Module, label_smoothing: float) -> None:
    """Raise FovealError when `label_smoothing` is asked of a network with an objective of its own."""
    if label_smoothing and hasattr(model, "losses"):
        raise FovealError(
            f"label_smoothing={label_smoothing:g}: {type(model).__name__} is trained on an objective of its own",
            "set label_smoothing=0, or choose an output that is trained on the cross-entropy",
        )


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Class probabilities, float32 [B, classes], of normalised images [B, C, H, W]: the softmax of the scores.

    The mode of the model (training or evaluation) and autograd are the caller's; nothing is changed here. For
    LeNet-5's RBF output, whose scores are minus the squared distances, this is equation 9's posterior without the
    constant of its rubbish class.
    """
    scores: Tensor = model(images)
    return scores.float().softmax(dim=1)


def check(model: nn.Module, output: tuple[int, ...] | None, classes: int, input: tuple[int, int, int]) -> None:
    """Raise FovealError unless the network gives scores [N, classes]."""
    if output is None or output[1:] != (classes,):
        found = "no tensor" if output is None else f"scores of shape {list(output)}"
        raise FovealError(
            f"{type(model).__name__} gives {found} for {classes} classes",
            "forward returns scores [N, num_classes]; further terms belong in losses(images, targets)",
        )


TASK = Task(
    "classify",
    losses,
    check,
    protocol="center_crop",
    figure="top1_error",
    label="accuracy",
    falls=True,
    tie="cross_entropy",
)
