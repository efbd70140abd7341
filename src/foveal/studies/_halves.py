"""The classes of a set in two halves: what one task knows, and what another asks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveal.data.dataset import ImageSet
from foveal.errors import FovealError, unknown
from foveal.training.inputs import chosen
from foveal.training.recipe import Recipe


def halves(base: Recipe, a: Sequence[str], seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes of A and of B, in the data's order: A as named, or half of all drawn by `seed`.

    Raises FovealError for unknown classes, and where a half would have less than two.
    """
    images = chosen(base, "train")
    assert isinstance(images, ImageSet)  # the lab has looked at the task
    classes = images.classes
    if len(classes) < 4:
        raise FovealError(f"{base.data} has {len(classes)} classes, and each half needs two", "give other data")
    named = {name.strip() for name in a} - {""}
    for name in named:
        if name not in classes:
            raise unknown("class", name, classes)
    if not named:
        order = np.random.RandomState(seed).permutation(len(classes))
        named = {classes[i] for i in order[: len(classes) // 2].tolist()}
    of_a = tuple(name for name in classes if name in named)
    of_b = tuple(name for name in classes if name not in named)
    if min(len(of_a), len(of_b)) < 2:
        raise FovealError(f"a={','.join(of_a)} leaves {len(of_b)} classes to B", "each half needs two or more")
    return of_a, of_b
