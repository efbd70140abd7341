"""What a trained run sees in pictures, given as files, folders or patterns: by its task classes, tags, masks, boxes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from foveal.errors import FovealError
from foveal.prediction.boxes import BoxPrediction, predict_boxes
from foveal.prediction.classes import Prediction, predict_classes
from foveal.prediction.files import Source, find_pictures
from foveal.prediction.masks import MaskPrediction, predict_masks
from foveal.prediction.tags import TagPrediction, predict_tags
from foveal.training.run import Run
from foveal.training.segmenter import Progress

__all__ = ["BoxPrediction", "MaskPrediction", "Prediction", "TagPrediction", "find_pictures", "predict", "predictions"]


def predict(
    run: Run | Source, files: Source | Iterable[Source], top: int = 5, *, strict: bool = False, **options: Any
) -> list[Any]:
    """What a run says of pictures, one record per file, in order: the list of `predictions`, whose options it takes.

    A `Prediction` with its `top` classes of a classifier, a `TagPrediction` of a tagger, a `MaskPrediction` of a
    segmenter, a `BoxPrediction` of a detector.
    """
    return list(predictions(run, files, top, strict=strict, **options))


def predictions(
    run: Run | Source,
    files: Source | Iterable[Source],
    top: int = 5,
    *,
    strict: bool = False,
    checkpoint: str = "best",
    batch_size: int = 64,
    tile: int = 0,
    score: float = 0.5,
    progress: Progress | None = None,
) -> Iterator[Any]:
    """The same one by one, each when it is found, so that masks need not all be kept.

    `files` are paths of pictures, folders (searched with all their subfolders for names that say «picture») or patterns
    with `*`, `?`, `[…]` and `**`, of which folders count only where no file matches. A file that cannot be read gets a
    record with its reason, or with `strict` raises FovealError. `batch_size` is a classifier's. `tile`, in pixels, is
    the largest side that a segmenter looks at as one (0: four times the pixels of a training batch); `progress` is
    called with (tiles done, all tiles of the image) where there are several. Of a detector's boxes those are told that
    score `score` or more, in 0 … 1.

    Raises FovealError for a path or pattern that leads to nothing, for a folder without pictures and for an option that
    makes no sense.
    """
    opened = run if isinstance(run, Run) else Run(os.fspath(run))
    if tile < 0:
        raise FovealError(f"tile={tile}", "give a side in pixels, or 0 to leave it to the recipe")
    if opened.recipe.task == "segment":
        segmenter = opened.segmenter(checkpoint)
        segmenter.tile = tile
        return predict_masks(segmenter, find_pictures(files), strict=strict, progress=progress)
    if opened.recipe.task == "detect":
        if not 0 <= score <= 1:
            raise FovealError(f"score={score:g}", "give a number from 0 to 1")
        return predict_boxes(opened.detector(checkpoint), find_pictures(files), score, strict=strict, pose=opened.pose)
    if top < 1:
        raise FovealError(f"top={top}: at least one class must be asked for", "leave it out for the best five")
    if opened.recipe.task == "tag":
        return predict_tags(opened.tagger(checkpoint), find_pictures(files), top, strict=strict, batch_size=batch_size)
    recogniser = opened.predictor(checkpoint)
    return predict_classes(recogniser, find_pictures(files), top, strict=strict, batch_size=batch_size)
