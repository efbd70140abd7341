"""The images of a set that lie nearest to a given one, as the network's last hidden layer sees them.

A. Krizhevsky, I. Sutskever, G. E. Hinton, «ImageNet classification with deep convolutional neural networks», NIPS 2012,
figure 4 (right): the six training images whose last hidden layer has the smallest Euclidean distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations._common import Explanation, Progress, batch
from foveal.explanations._draw import Spread, enlarged, photograph, sheet
from foveal.explanations._index import nearest
from foveal.explanations._look import Look
from foveal.explanations._patches import batches, fetch
from foveal.graph.modes import evaluating

TOGETHER = True  # several images go on one sheet
_SIDE = 96  # pixels of a picture on the sheet
_PROBES = 8  # images by which a stored index is recognised


def neighbours(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    data: Any,
    layer: str | None = None,
    count: int = 6,
    batch_size: int = 128,
    index: str | None = None,
    classes: Sequence[str] | None = None,
    mean: Spread = None,
    std: Spread = None,
    progress: Progress | None = None,
) -> Explanation:
    """Per image the `count` nearest images of a set, by Euclidean distance of what a layer says about them. Exact.

    Arrays: neighbours, int64 [B, count], numbers in the set; distances, float64 [B, count]; features [B, D] of images.

    Args:
        model: any network; left as it was.
        image: [C, H, W] or [B, C, H, W] as the network takes it.
        target: unused: likeness is not of a class.
        data: the set, as `top_patches` takes it. Where it has `labels`, captions say their classes.
        layer: whose output is compared, flattened; by default what goes into the last fully connected layer.
        count: how many.
        batch_size: images that are run together.
        index: a .npy file for the set's features, float32 [N, D]: written when it does not exist, and otherwise read
            from the disk as it is searched, so that the set may be larger than the memory.
        classes: names for the captions.
        mean, std: how the images were normalised, for drawing them.
        progress: told (images of the set gone through, all).

    Raises:
        FovealError: as `saliency`; no data, a network without a fully connected layer when no layer is given, an index
            that is not this set's by this network.
    """
    images = batch(image, "neighbours")
    if count < 1:
        raise FovealError(f"count={count}: at least one neighbour must be asked for", "leave it out for six")
    with evaluating(model), torch.no_grad():
        look = Look(model, layer)
        features = look(images)
        known = _features(look, data, features.shape[1], batch_size=batch_size, index=index, progress=progress)
    distances, numbers = nearest(known, features, count)
    tiles = []
    for one, row, apart in zip(images, numbers.tolist(), distances.tolist(), strict=True):
        tiles.append((enlarged(photograph(one, mean, std), _SIDE), "image"))
        for number, found, distance in zip(row, fetch(data, row), apart, strict=True):
            said = f"{_label(data, number, classes)}{distance:.3g}"
            tiles.append((enlarged(photograph(found, mean, std), _SIDE), said))
    arrays = {"neighbours": numbers, "distances": distances, "features": features}
    text = f"{numbers.shape[1]} nearest of {len(known)} by {features.shape[1]} numbers of {look.name}"
    return Explanation(arrays, {"neighbours": sheet(tiles, numbers.shape[1] + 1)}, text)


def _features(
    look: Look, data: Any, size: int, *, batch_size: int, index: str | None, progress: Progress | None
) -> Any:
    """What the layer says about the whole set: float32 [N, size], in memory or in a file."""
    if index is None:
        return torch.cat([look(images) for _, images in batches(data, batch_size, progress)])
    file = Path(index)
    if file.suffix != ".npy":
        raise FovealError(f"index={index}: that names no array", "call it *.npy")
    if file.exists():
        return _stored(file, look, data, size)
    try:
        part = file.with_suffix(".part")
        written = np.lib.format.open_memmap(part, "w+", np.float32, (len(data), size))
        for first, images in batches(data, batch_size, progress):
            written[first : first + len(images)] = look(images).numpy()
        written.flush()
        part.replace(file)
    except OSError as error:
        raise FovealError(f"{file} cannot be written: {error.strerror or error}", "choose another place") from error
    return written


def _stored(file: Path, look: Look, data: Any, size: int) -> Any:
    """An index from a file, after a few of the set's images have been compared with what it says about them."""
    try:
        stored = np.load(file, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FovealError(f"{file} is no array: {error}", "delete it, so that it is written anew") from error
    if stored.shape == (len(data), size) and stored.dtype == np.float32:
        probes = sorted({place * (len(data) - 1) // (_PROBES - 1) for place in range(_PROBES)})
        now = look(fetch(data, probes))
        if torch.allclose(now, torch.from_numpy(np.array(stored[probes])), rtol=1e-3, atol=1e-4):
            return stored
    raise FovealError(
        f"{file} is the index of another set or network", "delete it, so that it is written anew, or name another file"
    )


def _label(data: Any, number: int, classes: Sequence[str] | None) -> str:
    labels = getattr(data, "labels", None)
    if labels is None:
        return ""
    names = classes or getattr(data, "classes", None)
    label = int(labels[number])
    return f"{names[label] if names and label < len(names) else label}, "
