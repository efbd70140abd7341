"""What a detector finds on the images of a set, beside what is there, both in the images' own pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foveal.data.outlines import encoded
from foveal.data.pose import joined
from foveal.errors import FovealError
from foveal.metrics.boxes import Found, Truth
from foveal.protocols._ahead import ahead

_Sample = tuple[Tensor, tuple[int, int], dict[str, Tensor]]  # prepared, the original's height and width, its target


def compared(predict: Any, dataset: Any, batch_size: int) -> tuple[list[Found], list[Truth]]:
    """Detections and truth, one of each an image, in the order of `dataset`, whose items are (uint8 [C, H, W], target).

    `predict.prepare` brings an image to what the network sees, in threads; `predict.located` tells what is found.
    Raises FovealError for an empty set, and where no image has a box that is wanted.
    """
    if len(dataset) == 0:
        raise FovealError("there is no image to evaluate on", "choose a split that is not empty")

    def sample(i: int) -> _Sample:
        image, target = dataset[i]
        size = (image.shape[-2], image.shape[-1])
        return predict.prepare(torch.as_tensor(image)), size, joined(target)

    found: list[Found] = []
    truth: list[Truth] = []
    for samples in ahead(range(len(dataset)), sample, batch_size):
        seen = predict.located([image for image, _, _ in samples], [size for _, size, _ in samples])
        found += [Found(**one) for one in seen]
        truth += [_truth(target) for _, _, target in samples]
    if not any(_wanted(there) for there in truth):
        raise FovealError(f"none of the {len(truth):,} images has a box to be found", "choose a split with objects")
    return found, truth


def _truth(target: dict[str, Tensor]) -> Truth:
    masks = target.get("masks")
    return Truth(
        target["boxes"],
        target["labels"],
        ignored=target.get("difficult"),
        crowd=target.get("crowd"),
        area=target.get("area"),
        masks=None if masks is None else tuple(encoded(mask, *masks.shape[1:]) for mask in masks),
        keypoints=target.get("keypoints"),
    )


def _wanted(there: Truth) -> bool:
    passed = torch.zeros(len(there.labels), dtype=torch.bool)
    for flags in (there.ignored, there.crowd):
        passed = passed if flags is None else passed | flags
    return not bool(passed.all())
