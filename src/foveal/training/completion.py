"""What of a network is not learned by updates, but fitted to the training images once its layers have learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from foveal.data.dataset import VisionSet
from foveal.data.joint import Propose
from foveal.data.loader import Loader
from foveal.graph.modes import evaluating
from foveal.training.device import Placement
from foveal.training.inputs import view
from foveal.training.loop import on_device
from foveal.training.recipe import Recipe


def complete(model: nn.Module, images: VisionSet, recipe: Recipe, placement: Placement, propose: Propose | None) -> str:
    """Have a network that has a method `complete` (R-CNN, for its machines) go through the training images, which are
    prepared as in test: what it says of it, "" for other networks.

    The method is given a function that makes the batches anew each time, normalised images and targets, in the set's
    order; the network is in evaluation mode meanwhile.
    """
    own = getattr(model, "complete", None)
    if own is None:
        return ""
    with Loader(
        images,
        view(recipe),
        recipe.batch_size,
        seed=recipe.seed,
        train=False,
        workers=recipe.workers,
        cache=recipe.cache,
        propose=propose,
    ) as loader:

        def batches() -> Iterator[tuple[Tensor, Any]]:
            for batch in loader.batches(0):
                yield placement.images(batch.images, recipe), on_device(batch.targets, placement.device)

        with evaluating(model), placement.autocast():
            return str(own(batches))
