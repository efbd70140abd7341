"""What each filter of each layer looks for: its nine strongest patches in a set of images, and their projections.

M. D. Zeiler, R. Fergus, «Visualizing and understanding convolutional networks», ECCV 2014, figure 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations._common import Explanation, Progress, layer_of
from foveal.explanations._deconvolution import Deconvnet
from foveal.explanations._draw import Spread, columns_for, enlarged, grid, photograph, sheet, signed
from foveal.explanations._patches import Strongest, box, cut, fetch, strongest
from foveal.graph.modes import evaluating
from foveal.graph.receptive_field import Field, receptive_field
from foveal.layers.unpooling import Overlap

_TILE = 132  # pixels of one filter's block of patches
_BATCH = 64  # images that are projected together


def top_patches(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    data: Any,
    layer: str | Sequence[str] | None = None,
    units: int | Sequence[int] = 16,
    count: int = 9,
    projections: bool = True,
    overlap: Overlap = "last",
    batch_size: int = 128,
    mean: Spread = None,
    std: Spread = None,
    progress: Progress | None = None,
) -> Explanation:
    """For filters of a layer, the patches of a set of images that excite them most, one sheet a layer.

    The set is gone through once, for all layers together, and only the strongest of each filter are kept, so its size
    does not matter. An image counts once for each filter, by its strongest place. The patch is what the unit there
    sees (its receptive field), white where that reaches beyond the image; the projection is `deconvnet`'s of that
    activation.

    Arrays, each behind the layer's name (`conv3.values`): values [U, count], images int64 [U, count] (numbers in the
    set), places int64 [U, count, 2] (row, column), units int64 [U]; with projections also projections
    [U, count, C, h, w].

    Args:
        model: a network that can be traced; with projections, of convolutions, ReLUs and max poolings. Left as it was.
        image, target: unused: what is explained are filters.
        data: a set indexed as torch's data sets are, of images as the network takes them (or tuples that begin so).
        layer: one layer or several; by default all convolutions.
        units: which filters, as a list of numbers, or how many of them, spread evenly; 0 for all.
        count: patches of a filter.
        projections: whether to project. Without, mean poolings and other rectifiers may stand on the way.
        overlap: as in `deconvnet`.
        batch_size: images that are run together.
        mean, std: how the images were normalised, for drawing them.
        progress: told (images gone through, all).

    Raises:
        FovealError: no data, images that do not fit, an unknown layer or filter, and as `deconvnet`.
    """
    layers = _layers(model, layer)
    ways = {name: Deconvnet(model, name, overlap) for name in layers} if projections else {}
    if count < 1:
        raise FovealError(f"count={count}: at least one patch must be asked for", "leave it out for nine")
    found = strongest(model, data, layers, count=count, batch_size=batch_size, progress=progress)
    fields = receptive_field(model, tuple(fetch(data, [0]).shape[1:]))
    arrays: dict[str, Tensor] = {}
    pictures: dict[str, Tensor] = {}
    with evaluating(model):
        for name in layers:
            chosen = _units(units, len(found[name].values), name)
            best = Strongest(*(part[chosen] for part in (found[name].values, found[name].images, found[name].places)))
            images = torch.unique(best.images)
            shown = dict(zip(images.tolist(), fetch(data, images.tolist()), strict=True))
            arrays |= {f"{name}.values": best.values, f"{name}.images": best.images, f"{name}.places": best.places}
            arrays[f"{name}.units"] = chosen
            projected = _projections(ways[name], best, chosen, shown) if projections else None
            if projected is not None:
                arrays[f"{name}.projections"] = projected
            pictures[name] = _sheet(best, chosen, shown, fields[name], projected=projected, mean=mean, std=std)
    text = f"the {count} strongest patches of {', '.join(layers)} in {len(data)} images"
    return Explanation(arrays, pictures, text)


def _layers(model: nn.Module, layer: str | Sequence[str] | None) -> list[str]:
    if layer is not None:
        return [layer_of(model, name) for name in ([layer] if isinstance(layer, str) else layer)]
    found = [path for path, module in model.named_modules() if path and isinstance(module, nn.Conv2d)]
    return found or [layer_of(model, None)]


def _units(units: int | Sequence[int], total: int, layer: str) -> Tensor:
    if isinstance(units, int):
        wanted = total if units == 0 else min(units, total)
        if wanted < 0:
            raise FovealError(f"units={units}: a number of filters is not negative", "give 0 for all")
        return torch.arange(wanted) * total // max(1, wanted)
    for unit in units:
        if not 0 <= unit < total:
            raise FovealError(f"layer '{layer}' has {total} filters, and no {unit}", "count from 0")
    return torch.tensor(list(units))


def _projections(way: Deconvnet, best: Strongest, units: Tensor, shown: dict[int, Tensor]) -> Tensor:
    """[U, count, C, h, w] of every activation, in batches; a silent one gives zeros."""
    count = best.images.shape[1]
    numbers, places, owners = best.images.flatten(), best.places.flatten(0, 1), units.repeat_interleave(count)
    parts = []
    for start in range(0, len(numbers), _BATCH):
        part = slice(start, start + _BATCH)
        images = torch.stack([shown[number] for number in numbers[part].tolist()])
        parts.append(way.project(images, owners[part], places[part]))
    whole = torch.cat(parts)
    return whole.view(len(units), count, *whole.shape[1:])


def _sheet(
    best: Strongest,
    units: Tensor,
    shown: dict[int, Tensor],
    field: Field,
    *,
    projected: Tensor | None,
    mean: Spread,
    std: Spread,
) -> Tensor:
    """A block for each filter, patches left and projections right, each in a square."""
    tiles = []
    for row, unit in enumerate(units.tolist()):
        patches, ways = [], []
        for column, (number, place) in enumerate(
            zip(best.images[row].tolist(), best.places[row].tolist(), strict=True)
        ):
            image = shown[number]
            part = box(field, (place[0], place[1]), (image.shape[1], image.shape[2]))
            patches.append(cut(photograph(image, mean, std), part, 255))
            if projected is not None:
                own = cut(projected[row, column], part, 0.0)
                ways.append(signed(own))
        blocks = [_block(pictures) for pictures in (patches, ways) if pictures]
        both = torch.cat([F.pad(block, (0, 4), value=255) for block in blocks], 2)
        tiles.append((both, f"filter {unit}, up to {float(best.values[row, 0]):.3g}"))
    return sheet(tiles, max(1, columns_for(len(tiles))))


def _block(pictures: list[Tensor]) -> Tensor:
    columns = columns_for(len(pictures))
    side = max(8, _TILE // columns)
    large = [enlarged(picture, side) for picture in pictures]
    h, w = max(p.shape[1] for p in large), max(p.shape[2] for p in large)
    return grid(torch.stack([cut(picture, (0, 0, h, w), 255) for picture in large]), columns)
