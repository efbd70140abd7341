"""What a network needs to see: a grey square is moved over the image, and its answer recorded at every place.

M. D. Zeiler, R. Fergus, «Visualizing and understanding convolutional networks», ECCV 2014, section 4.2 and figure 7,
whose columns are this method's views: (b) the total activation of the map that is strongest without the square, (c)
what that map sees in this image and in others, (d) the probability of the true class, (e) the most probable class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations._common import Explanation, Progress, layer_of, named, single, targets
from foveal.explanations._draw import Spread, categories, enlarged, heat, overlay, photograph, sheet
from foveal.explanations._occluded import Occluded, in_groups, positions
from foveal.explanations.top_patches import top_patches
from foveal.graph.modes import evaluating
from foveal.inference import optimize

_SIDE = 224  # pixels of a picture on the sheet
_MEMORY = 128 * 2**20  # bytes of one layer's maps that a batch may take, from which its size follows
_TOGETHER = 512  # squares that go through the last layers, which give no maps, at once


def occlusion(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    fill: float = 0.0,
    layer: str | None = None,
    data: Any = None,
    projections: bool = True,
    batch_size: int | None = None,
    dtype: str = "float32",
    classes: Sequence[str] | None = None,
    mean: Spread = None,
    std: Spread = None,
    progress: Progress | None = None,
) -> Explanation:
    """The network's answers with a square of the image filled in, for the square at every place.

    Arrays, with h x w places of the square:
        probability [h, w]: of the class `target`; best, int64 [h, w]: the most probable class;
        total [h, w]: the sum of what is above zero in the strongest map of `layer`, strongest without a square;
        score [h, w]: the score of the class; map [h', w']: that map itself on the clean image;
        attribution [H, W]: by how much the score falls, averaged over the squares that cover a pixel.
    With `data`, also what `top_patches` says about that map, behind its name.

    The answer is that of running each occluded image through the network, to rounding. Only what a square can reach is
    computed anew in the early layers, many squares at once, on a copy of the network made fast by `foveal.optimize`.

    Args:
        model: a network that can be traced; left as it was.
        image: one image [C, H, W] as the network takes it.
        target: the true class; by default the one that is most probable without a square.
        window: sides of the square in pixels, one number or [height, width]; by default about 2/9 of the image, as the
            50 pixels of 224.
        stride: its steps in pixels; by default a fifth of the window. 1 is the finest. The last square of a row or
            column may be cut off by the edge.
        fill: the square's value; 0 is the mean of normalised images, grey.
        layer: the «fifth layer»; by default the last convolution, together with a batch norm that follows it.
        data: images as `top_patches` takes them, in which the map's other strong activations are looked for.
        projections: whether these are projected, too (see `top_patches`).
        batch_size: squares that are computed together; by default as many as need little memory.
        dtype: of the computation: float32, bfloat16 (about three digits) or auto, as in `foveal.optimize`.
        classes: names for the captions.
        mean, std: how the image was normalised, for drawing it.
        progress: told (squares done, all).

    Raises:
        FovealError: as `saliency`; a network that cannot be traced, a square that is larger than the image or has no
            size, a batch of none, an unknown layer.
    """
    images = single(image, "occlusion")
    name = layer_of(model, layer)
    grid = images.shape[2], images.shape[3]
    window = _sides(window, tuple(max(1, round(n * 50 / 224)) for n in grid), "window")
    stride = _sides(stride, tuple(max(1, n // 5) for n in window), "stride")
    if any(w > n for w, n in zip(window, grid, strict=True)):
        raise FovealError(
            f"window={list(window)} is larger than the image of {grid[0]}x{grid[1]}", "give a smaller one"
        )
    if batch_size is not None and batch_size < 1:
        raise FovealError(f"batch_size={batch_size}: that is no number of squares", "leave it out, or give 1 or more")
    with evaluating(model):
        fast = optimize(model, tuple(images.shape[1:]), dtype, share=True)
        net = Occluded(fast.network, images.to(fast.dtype), fill, name)
        if net.output.ndim != 2 or net.maps.ndim != 4:
            raise FovealError(
                f"the network gives {list(net.output.shape)}, layer '{name}' {list(net.maps.shape)}",
                "a classifier and a layer with maps are needed",
            )
        tops, lefts = positions(grid, window, stride)
        size = batch_size or max(1, min(64, _MEMORY // (4 * max(images.numel(), net.maps.numel()))))
        number = int(_total(net.maps)[0].argmax())
        scores, totals = _answers(net, (tops, lefts), window, size, number=number, progress=progress)
    clean = net.output.float()
    chosen = int(targets(clean, target)[0])
    shape = (len(tops), len(lefts))
    probability = scores.softmax(1)
    arrays = {
        "probability": probability[:, chosen].view(shape),
        "best": probability.argmax(1).view(shape),
        "total": totals.view(shape),
        "score": scores[:, chosen].view(shape),
        "map": net.maps[0, number].float().clone(),
    }
    arrays["attribution"] = _covered(clean[0, chosen] - arrays["score"], (tops, lefts), window, grid)
    before = float(clean.softmax(1)[0, chosen])
    said = f"{named(chosen, classes)}: p = {before:.3f} whole, {float(probability[:, chosen].min()):.3f} at least"
    text = f"{said}; map {number} of {name} is the strongest; square {window[0]}x{window[1]}, steps {stride[0]}"
    picture = photograph(images[0], mean, std)
    pictures = {"occlusion": _views(picture, arrays, (before, chosen, number, name), classes)}
    if data is not None:
        found = top_patches(
            model, data=data, layer=name, units=[number], projections=projections, mean=mean, std=std
        )  # fmt: skip
        arrays |= dict(found.arrays)
        pictures["others"] = found.picture
    return Explanation(arrays, pictures, text)


def _sides(given: int | Sequence[int] | None, usual: tuple[int, ...], name: str) -> tuple[int, int]:
    sides = usual if given is None else (given, given) if isinstance(given, int) else tuple(given)
    if len(sides) != 2 or not all(isinstance(n, int) and n > 0 for n in sides):
        raise FovealError(
            f"{name}={given}: that is no size in pixels", f"give a number, or [height, width], as {usual[0]}"
        )
    return sides[0], sides[1]


def _answers(
    net: Occluded,
    edges: tuple[Tensor, Tensor],
    window: tuple[int, int],
    size: int,
    *,
    number: int,
    progress: Progress | None,
) -> tuple[Tensor, Tensor]:
    """Scores [places, classes] and the total of one map [places], the places row by row."""
    tops, lefts = edges
    count, done = len(tops) * len(lefts), 0
    scores, totals = torch.empty(count, net.output.shape[1]), torch.empty(count)
    waiting: list[tuple[Tensor, Tensor]] = []
    for rows, columns in in_groups(tops, lefts, size):
        found, seen = net(tops[rows], lefts[columns], window)
        assert seen is not None
        places = rows * len(lefts) + columns
        totals[places] = _total(seen[:, number : number + 1])[:, 0]
        waiting.append((places, found))
        done += len(rows)
        if len(waiting) * size >= _TOGETHER or done == count:
            where, vectors = (torch.cat(parts) for parts in zip(*waiting, strict=True))
            scores[where] = net.outputs(vectors).float()
            waiting.clear()
        if progress is not None:
            progress(done, count)
    return scores, totals


def _total(maps: Tensor) -> Tensor:
    """What is above zero in each map [B, C, h, w], summed: [B, C]."""
    return maps.float().clamp_min(0).sum((2, 3))


def _covered(drop: Tensor, edges: tuple[Tensor, Tensor], window: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """The mean over all squares that cover a pixel; 0 where none does. Rows and columns go one after the other."""
    rows = _coverage(edges[0], window[0], grid[0])
    columns = _coverage(edges[1], window[1], grid[1])
    counts = rows.sum(0)[:, None] * columns.sum(0)
    return (rows.T @ drop @ columns) / counts.clamp_min(1)


def _coverage(edges: Tensor, window: int, size: int) -> Tensor:
    """Which pixels each square covers along one side: float [places, size], 0 or 1."""
    pixels = torch.arange(size)
    return ((pixels >= edges[:, None]) & (pixels < edges[:, None] + window)).float()


def _views(
    picture: Tensor, arrays: dict[str, Tensor], found: tuple[float, int, int, str], classes: Sequence[str] | None
) -> Tensor:
    before, chosen, number, name = found
    image = enlarged(picture, _SIDE)
    size = image.shape[1], image.shape[2]

    def fitted(values: Tensor) -> Tensor:
        return F.interpolate(values[None, None].float(), size, mode="nearest-exact")[0, 0]

    kinds = torch.unique(arrays["best"]).tolist()
    where = {kind: place for place, kind in enumerate(kinds)}
    best = torch.tensor([where[kind] for kind in arrays["best"].flatten().tolist()]).view(arrays["best"].shape)
    share = arrays["best"].flatten().tolist()
    common = sorted(kinds, key=share.count, reverse=True)[:3]
    told = ", ".join(f"{named(kind, classes)} {100 * share.count(kind) / len(share):.0f} %" for kind in common)
    views = [
        (image, f"{named(chosen, classes)}, p = {before:.3f}"),
        (heat(fitted(arrays["probability"]), 0, 1), f"p({named(chosen, classes)}), dark 0, bright 1"),
        (categories(fitted(best).long()), told),
        (heat(fitted(arrays["total"])), f"total of map {number} of {name}"),
        (overlay(image, fitted(arrays["map"])), f"map {number} on the image"),
        (overlay(image, fitted(arrays["attribution"])), "fall of the score where covered"),
    ]
    return sheet(views, 3)
