"""The single-crop protocol: each image once, prepared as for training without its randomness, cut at its centre."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.metrics.classification import cross_entropy, top_k_error
from foveal.protocols._ahead import ahead
from foveal.protocols._views import centre
from foveal.types import Predictor


def center_crop(predict: Predictor, dataset: Any, *, batch_size: int = 256) -> Iterator[tuple[str, Tensor | float]]:
    """Evaluate a classifier on the centre of every image of `dataset`, whose items are (uint8 [C, H, W], label).

    Yields, as (name, value): ("probabilities", float32 [N, classes]) and ("labels", int64 [N]) in the set's order,
    then ("top1_error", %), ("top5_error", %) where there are more than five classes (with fewer it could only be 0),
    and ("cross_entropy", nats: the mean of -log p(label)).

    Raises FovealError, naming the image, when one is smaller than the network's input once it is prepared, and when
    the set is empty.
    """
    if len(dataset) == 0:
        raise FovealError("there is no image to evaluate on", "choose a split that is not empty")
    turn = Lock()  # a foreign transform in `prepare` may use the process's one random generator

    def sample(index: int) -> tuple[Tensor, int]:
        image, label = dataset[index]
        with turn:
            return centre(predict, image, dataset.name(index)), int(label)

    probabilities, labels = [], []
    for batch in ahead(range(len(dataset)), sample, batch_size):
        images = torch.stack([image for image, _ in batch])
        probabilities.append(predict(images).float().cpu())
        labels += [label for _, label in batch]
    p, y = torch.cat(probabilities), torch.tensor(labels, dtype=torch.int64)
    yield "probabilities", p
    yield "labels", y
    yield "top1_error", top_k_error(p, y, 1)
    if p.shape[1] > 5:
        yield "top5_error", top_k_error(p, y, 5)
    yield "cross_entropy", cross_entropy(p, y)
