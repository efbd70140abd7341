"""Features: what a trained network's layer says about each image of a set, one row of numbers an image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from foveal.data.dataset import ImageSet
from foveal.explanations._look import Look
from foveal.graph.modes import evaluating
from foveal.training.recogniser import Recogniser

_BATCH = 256


def features(
    network: Recogniser,
    images: ImageSet,
    layer: str | None = None,
    *,
    l2: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Rows float32 [N, D] of a layer's output, flattened; by default of what goes into the last fully connected layer.

    Images are prepared as the network's recipe says. l2: rows are brought to length 1 (K. Chatfield et al., «Return of
    the devil in the details», BMVC 2014: about 5 points of mAP); rows of zeros stay zero. `progress` is told (images
    done, all). Raises FovealError for an unknown layer, a network without a fully connected one, unreadable images.
    """
    look = Look(network.model, layer)
    rows: list[Tensor] = []
    with evaluating(network.model), torch.inference_mode(), network.placement.autocast():
        for start in range(0, len(images), _BATCH):
            stop = min(start + _BATCH, len(images))
            prepared = torch.stack([network.prepare(images.load(i)) for i in range(start, stop)])
            rows.append(look(network.placement.images(prepared, network.recipe)))
            if progress is not None:
                progress(stop, len(images))
    found = torch.cat(rows)
    return torch.nn.functional.normalize(found) if l2 else found
