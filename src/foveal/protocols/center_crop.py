"""The single-crop protocol: each image once, prepared as for training without its randomness, cut at its centre."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.metrics.classification import cross_entropy, top_k_error
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
    probabilities, labels = [], []
    for images, targets in _batches(predict, dataset, batch_size):
        probabilities.append(predict(images).float().cpu())
        labels.append(targets)
    p, y = torch.cat(probabilities), torch.cat(labels)
    yield "probabilities", p
    yield "labels", y
    yield "top1_error", top_k_error(p, y, 1)
    if p.shape[1] > 5:
        yield "top5_error", top_k_error(p, y, 5)
    yield "cross_entropy", cross_entropy(p, y)


def _batches(predict: Predictor, dataset: Any, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Prepared batches in order; the next one is decoded by a thread while the network works on this one."""
    starts = range(0, len(dataset), batch_size)
    with ThreadPoolExecutor(max_workers=1) as ahead:
        waiting: Future[tuple[Tensor, Tensor]] | None = None
        for start in starts:
            indices = range(start, min(start + batch_size, len(dataset)))
            coming = ahead.submit(_batch, predict, dataset, indices)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()


def _batch(predict: Predictor, dataset: Any, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    samples = [dataset[i] for i in indices]
    images = [_centre(predict, image, dataset, i) for i, (image, _) in zip(indices, samples, strict=True)]
    return torch.stack(images), torch.tensor([int(label) for _, label in samples], dtype=torch.int64)


def _centre(predict: Predictor, image: Tensor, dataset: Any, index: int) -> Tensor:
    """The prepared image's central part of the network's input size, uint8 [C, H, W]."""
    prepared = predict.prepare(image).as_subclass(Tensor)
    channels, height, width = predict.input
    c, h, w = prepared.shape
    if c != channels or h < height or w < width:
        raise FovealError(
            f"{dataset.name(index)}: prepared it is {c}x{h}x{w}, but the network sees {channels}x{height}x{width}",
            "add a transform to `prepare` that brings every image to that size, such as resize",
        )
    top, left = (h - height) // 2, (w - width) // 2
    return prepared[:, top : top + height, left : left + width]
