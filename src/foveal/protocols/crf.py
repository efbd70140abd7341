"""Whole images, refined by a fully connected CRF before each pixel is compared.

P. Krähenbühl, V. Koltun, «Efficient inference in fully connected CRFs with Gaussian edge potentials», NIPS 2011,
section 4: the weights and deviations are to be chosen on validation images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.layers.crf import DenseCRF
from foveal.protocols._pixels import counted

TASK = "segment"
_LEAST = 1e-20  # a probability whose logarithm is finite


def crf(
    predict: Any,
    dataset: Any,
    *,
    iterations: int = 10,
    spatial: float = 3.0,
    position: float = 80.0,
    colour: float = 13.0,
    weight_spatial: float = 3.0,
    weight_bilateral: float = 10.0,
    boundary: float = 0.0,
    batch_size: int = 8,
) -> Iterator[tuple[str, Tensor | float]]:
    """Evaluate a segmenter with a CRF behind it, which sees the image in its own pixels and 256 levels.

    `predict.probabilities(image)` gives those of every pixel, float32 [classes, H, W]. The first six options are
    `layers.crf.DenseCRF`'s; the others, and what is yielded, are `whole_image`'s. Raises FovealError for an empty set
    and for options that are not positive.
    """
    if iterations < 1 or min(spatial, position, colour) <= 0:
        raise FovealError("iterations, spatial, position and colour of crf are positive", "mend them")
    field = DenseCRF(
        len(predict.classes),
        iterations=iterations,
        spatial=spatial,
        position=position,
        colour=colour,
        weight_spatial=weight_spatial,
        weight_bilateral=weight_bilateral,
    )

    @torch.inference_mode()
    def label(image: Tensor) -> Tensor:
        scores = predict.probabilities(image).clamp(min=_LEAST).log()
        refined: Tensor = field(scores[None], image[None].float())[0]
        return refined.argmax(0).to(torch.uint8)

    yield from counted(label, dataset, len(predict.classes), boundary=boundary, batch_size=batch_size)
