"""Which classes are there: the images ranked by each class's score, as in PASCAL VOC's classification challenge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from foveal.errors import FovealError
from foveal.metrics.presence import mean_precision, presence_precisions
from foveal.protocols._scoring import posteriors
from foveal.protocols._views import centre, corners, mirrored

TASK = "tag"


def presence(
    predict: Any, dataset: Any, *, method: str = "11_point", crops: int = 1, batch_size: int = 256
) -> Iterator[tuple[str, Tensor | float]]:
    """Evaluate a tagger on every image of `dataset`, whose items are (uint8 [C, H, W], tags uint8 [classes]).

    crops: 1 shows the centre; 10 averages the scores of the corners, the centre and their mirror images. method:
    "11_point" is VOC 2007's average precision, "area" that from 2010 on. Tags of 255 do not count. Yields, as (name,
    value): ("scores", float32 [N, classes]), ("labels", uint8 [N, classes]), then, in %, ("class_ap", float64
    [classes], NaN of a class that no image has) and ("mean_ap"), the mean over the others.

    Raises FovealError for an empty set, one without any tag, an unknown method, and images that do not fit the network.
    """
    if crops not in (1, 10):
        raise FovealError(f"crops={crops} is neither 1 nor 10", "1 is the centre, 10 the corners too, and mirrored")

    def look(image: Tensor, name: str) -> Sequence[Tensor]:
        if crops == 1:
            return [centre(predict, image, name)]
        return mirrored(corners(predict, predict.prepare(image), name), True)

    scores, labels = posteriors(predict, dataset, look, predict, batch_size=batch_size, views=crops)
    each = presence_precisions(scores, labels, method)
    yield "scores", scores
    yield "labels", labels
    yield "class_ap", each
    yield "mean_ap", mean_precision(each)
