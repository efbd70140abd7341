"""What all protocols of classification share: posteriors averaged over the views of each image, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.metrics.classification import cross_entropy, top_k_error
from foveal.protocols._ahead import ahead
from foveal.types import Predictor

Figures = Iterator[tuple[str, Tensor | float]]
Look = Callable[[Tensor, str], Sequence[Tensor]]


def posteriors(
    predict: Predictor,
    dataset: Any,
    look: Look,
    forward: Callable[[Tensor], Tensor],
    *,
    batch_size: int,
    views: int = 1,
) -> tuple[Tensor, Tensor]:
    """Probabilities of each image of `dataset`, the mean over its views, float32 [N, classes], and its labels, int64
    [N] or rows of tags.

    `look(image, name)` gives the views of a decoded image, uint8 [C, H, W] of any sizes, about `views` of them;
    `forward` answers for those of one size together: uint8 [B, C, H, W] → probabilities [B, classes]. `batch_size`
    counts views of the size of the network's input; of larger ones fewer go together, so that memory stays the same.

    Raises FovealError for an empty set.
    """
    if len(dataset) == 0:
        raise FovealError("there is no image to evaluate on", "choose a split that is not empty")
    if batch_size < 1:
        raise FovealError(f"batch_size={batch_size} holds no image", "give at least 1")

    def sample(index: int) -> tuple[Sequence[Tensor], Tensor]:
        image, label = dataset[index]
        return look(image, dataset.name(index)), torch.as_tensor(label)

    pixels = batch_size * predict.input[1] * predict.input[2]
    found, labels = [], []
    for batch in ahead(range(len(dataset)), sample, max(1, batch_size // views)):
        found.append(_means([shown for shown, _ in batch], forward, pixels))
        labels += [label for _, label in batch]
    return torch.cat(found), torch.stack(labels)


def figures(probabilities: Tensor, labels: Tensor) -> Figures:
    """Yields, as (name, value): ("probabilities", float32 [N, classes]) and ("labels", int64 [N]) in the set's order,
    then ("top1_error", %), ("top5_error", %) where there are more than five classes (with fewer it could only be 0),
    and ("cross_entropy", nats: the mean of -log p(label))."""
    yield "probabilities", probabilities
    yield "labels", labels
    yield "top1_error", top_k_error(probabilities, labels, 1)
    if probabilities.shape[1] > 5:
        yield "top5_error", top_k_error(probabilities, labels, 5)
    yield "cross_entropy", cross_entropy(probabilities, labels)


def _means(images: Sequence[Sequence[Tensor]], forward: Callable[[Tensor], Tensor], pixels: int) -> Tensor:
    """The mean of `forward` over the views of each image, float32 [B, classes]; `pixels` go through it at a time."""
    of_size: dict[torch.Size, list[tuple[int, Tensor]]] = {}
    for number, shown in enumerate(images):
        for view in shown:
            of_size.setdefault(view.shape, []).append((number, view))
    sums: Tensor | None = None
    for (_, height, width), members in of_size.items():
        most = max(1, pixels // (height * width))
        for start in range(0, len(members), most):
            part = members[start : start + most]
            p = forward(torch.stack([view for _, view in part])).double().cpu()
            sums = p.new_zeros(len(images), p.shape[1]) if sums is None else sums
            sums.index_add_(0, torch.tensor([number for number, _ in part]), p)
    assert sums is not None  # no protocol looks at nothing
    return (sums / torch.tensor([len(shown) for shown in images])[:, None]).float()
