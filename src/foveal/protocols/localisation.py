"""Where the main object of an image is: class and place among five guesses, as in ILSVRC's localisation task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foveal.metrics.localisation import localisation_error
from foveal.protocols._found import compared

TASK = "detect"


def localisation(
    predict: Any, dataset: Any, *, guesses: int = 5, threshold: float = 0.5, batch_size: int = 16
) -> Iterator[tuple[str, Any]]:
    """Evaluate a detector or localiser on every image of `dataset`, whose items are (uint8 [C, H, W], target with
    boxes).

    Yields ("found") and ("truth"), a `Found` and a `Truth` each image, then, in %, ("localisation_error"): images of
    which none of the `guesses` best boxes has the class and an IoU above `threshold` with an object of that class; and
    ("top1_localisation_error"), where the first guess alone counts. Russakovsky et al., "ILSVRC" (IJCV 2015), section
    4.2; OverFeat's and VGG's measure. `batch_size` images are prepared ahead.

    Raises FovealError for an empty set, and for one without a box to be found.
    """
    found, truth = compared(predict, dataset, batch_size)
    yield "found", found
    yield "truth", truth
    yield "localisation_error", localisation_error(found, truth, guesses=guesses, threshold=threshold)
    yield "top1_localisation_error", localisation_error(found, truth, guesses=1, threshold=threshold)
