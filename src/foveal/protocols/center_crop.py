"""The single-crop protocol: each image once, prepared as for training without its randomness, cut at its centre."""

from __future__ import annotations

from typing import Any

from foveal.protocols._scoring import Figures, figures, posteriors
from foveal.protocols._views import centre
from foveal.types import Predictor


def center_crop(predict: Predictor, dataset: Any, *, batch_size: int = 256) -> Figures:
    """Evaluate a classifier on the centre of every image of `dataset`, whose items are (uint8 [C, H, W], label).

    Yields, as (name, value): ("probabilities", float32 [N, classes]) and ("labels", int64 [N]) in the set's order,
    then ("top1_error", %), ("top5_error", %) where there are more than five classes (with fewer it could only be 0),
    and ("cross_entropy", nats: the mean of -log p(label)).

    Raises FovealError, naming the image, when one is smaller than the network's input once it is prepared, and when
    the set is empty.
    """
    yield from figures(
        *posteriors(
            predict, dataset, lambda image, name: [centre(predict, image, name)], predict, batch_size=batch_size
        )
    )
