"""How much each pixel of the receptive field really matters: the gradient of a unit, averaged over images.

W. Luo, Y. Li, R. Urtasun, R. Zemel: Understanding the effective receptive field in deep convolutional neural networks,
NIPS 2016: the gradient is spread like a Gaussian over a part of the field that grows with the root of the depth.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foveal.errors import FovealError, unknown
from foveal.graph.modes import evaluating
from foveal.graph.receptive_field import Field, fields
from foveal.graph.shapes import LayerShape, shapes, text
from foveal.graph.taps import taps
from foveal.graph.windows import Size

_BATCH = 4  # images at once: deep networks keep all their maps for the gradient


@dataclass(frozen=True)
class EffectiveField:
    """Where the gradient of a layer's unit at `position` lies: `mass` float32 over the image's grid, which sums to 1.

    `field` is the theoretical field of the layer, outside of which the mass is nought.
    """

    layer: str
    position: Size
    mass: Tensor
    field: Field

    def square(self, share: float = 0.95) -> tuple[int, Size]:
        """Side and first position of the smallest square (cube) of pixels that holds `share` of the mass.

        Where several do, that which holds most. A grid's shorter sides are not exceeded: there it is a rectangle.
        FovealError for a share that is not between 0 and 1.
        """
        if not 0 < share <= 1:
            raise FovealError(f"a share of {share:g}", "give one above 0 and up to 1, such as 0.95")
        sums = _sums(self.mass.double())
        low, high = 1, max(self.mass.shape)
        while low < high:
            middle = (low + high) // 2
            if float(_held(sums, self._sides(middle)).max()) >= share - 1e-9:
                high = middle
            else:
                low = middle + 1
        held = _held(sums, self._sides(low))
        place = int(held.argmax())
        return low, tuple(int(i) for i in torch.unravel_index(torch.tensor(place), held.shape))

    def _sides(self, side: int) -> Size:
        return tuple(min(side, n) for n in self.mass.shape)


def effective_field(
    model: nn.Module,
    input: Size,
    layer: str | None = None,
    *,
    position: Size | None = None,
    images: Tensor | None = None,
    count: int = 8,
    seed: int = 0,
) -> EffectiveField:
    """Mean |gradient| of a layer's units at one place with respect to the pixels, summed over the colours.

    layer: a layer or join as `foveal show` lists it; by default the last that is still a map. position: of the unit in
    its map; by default the middle. images: [N, *input], as the network is to see them; by default `count` of
    independent normal numbers drawn from `seed`. Each image is asked for the gradient of another channel. The network
    is used in evaluation mode with the weights it has, and left as it was.

    Raises FovealError for an unknown layer («did you mean»), one that is a vector, a position outside its map, images
    of another shape, units without any gradient (behind a ReLU that lets nothing through), and what `shapes` refuses.
    """
    layers = shapes(model, input)
    chosen = _chosen(layers, layer)
    grid = chosen.output[1:]
    position = tuple(n // 2 for n in grid) if position is None else tuple(position)
    if len(position) != len(grid) or any(not 0 <= p < n for p, n in zip(position, grid, strict=True)):
        raise FovealError(f"position {position} in a map of {text(grid)}", "counting starts at 0")
    if images is None:
        images = torch.randn((count, *input), generator=torch.Generator().manual_seed(seed))
    if tuple(images.shape[1:]) != input or not len(images):
        raise FovealError(
            f"images of shape {text(tuple(images.shape))} for an input of {text(input)}", "give [N, C, …]"
        )
    mass = _gradient(model, images, chosen, position)
    if not float(mass.sum()) > 0:
        raise FovealError(
            f"no unit of layer '{chosen.path}' at {text(position)} has a gradient",
            "give more images, or name the layer before its ReLU",
        )
    return EffectiveField(chosen.path, position, (mass / mass.sum()).float(), fields(layers, input)[chosen.path])


def _chosen(layers: list[LayerShape], name: str | None) -> LayerShape:
    maps = {layer.path: layer for layer in layers if len(layer.output) > 1 and max(layer.output[1:]) > 1}
    if name is None:
        if not maps:
            raise FovealError("no layer of the network is a map", "give a convolutional network, or a larger input")
        return list(maps.values())[-1]
    if name in maps:
        return maps[name]
    known = {layer.path: layer for layer in layers}
    if name in known:
        raise FovealError(
            f"layer '{name}' is no map but {text(known[name].output)}: each of its values sees the whole input",
            f"name a layer before it: {', '.join(list(maps)[-3:])}",
        )
    raise unknown("layer", name, maps)


def _gradient(model: nn.Module, images: Tensor, layer: LayerShape, position: Size) -> Tensor:
    """The sum over images and colours of |gradient|, float64 [*grid]."""
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    parameter = next(model.parameters(), images)
    listen = taps(model, layer.path)
    channels = itertools.cycle(range(0, layer.output[0], max(1, layer.output[0] // len(images))))
    with evaluating(model), torch.enable_grad():
        for start in range(0, len(images), _BATCH):
            part = images[start : start + _BATCH].detach()
            seen = part.to(parameter.device, parameter.dtype).requires_grad_()
            values = listen(seen)[layer.path]
            units = [values[(n, next(channels), *position)] for n in range(len(part))]
            (gradient,) = torch.autograd.grad(torch.stack(units).sum(), seen)
            total += gradient.abs().sum((0, 1)).double().cpu()
    return total


def _sums(mass: Tensor) -> Tensor:
    """Sums over all boxes that begin at the first corner, with a nought before: [*(n + 1)]."""
    padded = mass.new_zeros([n + 1 for n in mass.shape])
    padded[(slice(1, None),) * mass.dim()] = mass
    for dim in range(mass.dim()):
        padded = padded.cumsum(dim)
    return padded


def _held(sums: Tensor, sides: Size) -> Tensor:
    """What each box of `sides` holds: inclusion and exclusion of its corners."""
    held = sums.new_zeros([n - side for n, side in zip(sums.shape, sides, strict=True)])
    for corner in itertools.product((0, 1), repeat=sums.dim()):
        starts = zip(corner, sides, held.shape, strict=True)
        cut = tuple(slice(side * c, side * c + n) for c, side, n in starts)
        held = held + math.prod(2 * c - 1 for c in corner) * sums[cut]
    return held
