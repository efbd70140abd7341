"""The strongest patches of filters over a set of images, found in one pass, whatever the size of the set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations._common import Progress, outputs
from foveal.graph.modes import evaluating
from foveal.graph.receptive_field import Field


@dataclass(frozen=True)
class Strongest:
    """Per filter of a layer its `count` strongest images, best first: values [F, count], images int64 [F, count] and
    places int64 [F, count, 2] (row, column of the largest activation). An image counts once for each filter."""

    values: Tensor
    images: Tensor
    places: Tensor


def strongest(
    model: nn.Module,
    data: Any,
    layers: Sequence[str],
    *,
    count: int,
    batch_size: int,
    progress: Progress | None = None,
) -> dict[str, Strongest]:
    """The strongest patches of each layer's filters over all images of `data`, equal values by the earlier image.

    Images run with channels last, which convolutions and poolings on CPUs go through twice as fast.
    """
    best: dict[str, Strongest] = {}
    with evaluating(model), torch.no_grad():
        for first, images in batches(data, batch_size, progress):
            _, found = outputs(model, layers, images.contiguous(memory_format=torch.channels_last))
            for layer, seen in found.items():
                best[layer] = _merged(best.get(layer), seen, first, count)
    return best


def batches(data: Any, size: int, progress: Progress | None = None) -> Iterator[tuple[int, Tensor]]:
    """The number of the first image, and images [B, C, H, W], of a set that is indexed as torch's data sets are.

    An item is an image or begins with one; a set with `__getitems__` is asked for a whole batch at once.
    """
    total = _length(data)
    for first in range(0, total, size):
        yield first, fetch(data, range(first, min(first + size, total)))
        if progress is not None:
            progress(min(first + size, total), total)


def fetch(data: Any, indices: Sequence[int]) -> Tensor:
    """The images of a set at `indices`, as a batch. FovealError where they are not normalised images of one size."""
    if isinstance(data, Tensor):
        return data[list(indices)]
    many = getattr(data, "__getitems__", None)
    items = many(list(indices)) if many is not None else [data[i] for i in indices]
    images = items if isinstance(items, Tensor) else [i[0] if isinstance(i, tuple | list) else i for i in items]
    if not isinstance(images, Tensor):
        if len({(tuple(image.shape), image.dtype) for image in images}) != 1:
            raise FovealError("the images of data=… differ in size or kind", "give them as the network takes them")
        images = torch.stack(images)
    if not images.is_floating_point():
        raise FovealError(f"data=… holds {images.dtype} images", "give them as the network takes them, normalised")
    return images.as_subclass(Tensor)


def box(field: Field, place: tuple[int, int], image: tuple[int, int]) -> tuple[int, int, int, int]:
    """What a unit at `place` sees: top, left, height, width. The whole image along a side that the field exceeds;
    elsewhere of the field's size and maybe beyond the image."""
    sides = []
    for (first, last), size in zip(field.interval(place), image, strict=True):
        sides.append((0, size) if last - first + 1 >= size else (first, last - first + 1))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


def cut(picture: Tensor, part: tuple[int, int, int, int], fill: float) -> Tensor:
    """A box of a picture [C, H, W]; `fill` where it lies beyond."""
    top, left, height, width = part
    whole = torch.full((picture.shape[0], height, width), fill, dtype=picture.dtype)
    rows = slice(max(0, top), min(picture.shape[1], top + height))
    columns = slice(max(0, left), min(picture.shape[2], left + width))
    inside = picture[:, rows, columns]
    whole[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
    return whole


def _merged(before: Strongest | None, seen: Tensor, first: int, count: int) -> Strongest:
    """The `count` strongest of those before and of a batch's maps [B, C, h, w]."""
    pooled = F.max_pool2d(seen, seen.shape[2:], return_indices=True)
    peak, where = (part.flatten(1).cpu() for part in pooled)  # [B, C]
    values = peak.T
    numbers = torch.arange(first, first + len(seen)).expand_as(values)
    places = torch.stack((where.T // seen.shape[3], where.T % seen.shape[3]), 2)
    if before is not None:
        values = torch.cat((before.values, values), 1)
        numbers, places = torch.cat((before.images, numbers), 1), torch.cat((before.places, places), 1)
    order = values.sort(dim=1, descending=True, stable=True).indices[:, :count]
    chosen = places.gather(1, order[..., None].expand(-1, -1, 2))
    return Strongest(values.gather(1, order), numbers.gather(1, order), chosen)


def _length(data: Any) -> int:
    if data is None:
        raise FovealError("this needs a set of images", "give data=…: in Python a set, on the command line its path")
    if not len(data):
        raise FovealError("the set of images is empty", "give one with images")
    return len(data)
