"""Parameters, multiply-adds and activations of any network, without running it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from foveal.graph.shapes import LayerShape, check_input, shapes
from foveal.graph.windows import Size, macs


@dataclass(frozen=True)
class LayerCount:
    """One executed layer or join. Parameters of a layer that is called twice are counted at its first call."""

    path: str
    parameters: int
    trainable: int
    macs: int
    activations: int


@dataclass(frozen=True)
class Count:
    """The totals of a network for one image.

    `parameters` and `trainable` are scalars of the whole model, layers that forward does not use (auxiliary heads)
    included; `macs` multiply-adds of convolutions and linear layers (half of what counters of FLOPs say; zeros of the
    padding count, biases, norms and activations do not); `activations` the outputs of layers with multiply-adds, which
    is what papers call neurons; `bytes` the memory of parameters and buffers.
    """

    parameters: int
    trainable: int
    macs: int
    activations: int
    bytes: int
    layers: tuple[LayerCount, ...]


def count(model: nn.Module, input: Size) -> Count:
    """Count a network for one image of shape `input` = (C, H, W), on any device, meta included.

    Raises FovealError for a layer whose multiply-adds are unknown and for what `shapes` refuses.
    """
    check_input(input)
    return counts(model, shapes(model, input))


def counts(model: nn.Module, layers: list[LayerShape]) -> Count:
    """The same from shapes that are known already."""
    seen: set[int] = set()
    rows = tuple(_layer(layer, seen) for layer in layers)
    parameters = list(model.parameters())
    stored = parameters + list(model.buffers())
    return Count(
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        macs=sum(row.macs for row in rows),
        activations=sum(row.activations for row in rows if row.macs),
        bytes=sum(t.numel() * t.element_size() for t in stored),
        layers=rows,
    )


def _layer(layer: LayerShape, seen: set[int]) -> LayerCount:
    activations = math.prod(layer.output)
    if layer.module is None:
        return LayerCount(layer.path, 0, 0, 0, activations)
    fresh = [p for p in layer.module.parameters() if id(p) not in seen]
    seen.update(map(id, fresh))
    return LayerCount(
        layer.path,
        sum(p.numel() for p in fresh),
        sum(p.numel() for p in fresh if p.requires_grad),
        macs(layer.module, layer.inputs[0], layer.output, path=layer.path),
        activations,
    )
