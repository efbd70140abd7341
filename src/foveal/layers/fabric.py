"""The trellis of convolutional neural fabrics: nodes on a grid of scales and layers, joined by 3x3 convolutions.

S. Saxena, J. Verbeek, «Convolutional neural fabrics», NIPS 2016, section 3.1. A node sums its edges and applies batch
norm and a ReLU. In layer l and scale s (0 is the image's own, each further one has half the side) it reads layer l-1 at
the next finer scale (stride 2), its own, and the next coarser one (zeros between the positions, then the convolution).
The first layer hands the image down from scale to scale; the last one collects towards the coarsest.

What can be left out of a trellis, and what its weights can be set to compute, are `fabric_pruning` and
`fabric_constructions`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from foveal.errors import FovealError, unknown
from foveal.layers.table_conv import TableConv2d

Connectivity = Literal["sparse", "dense"]
Place = tuple[int, int]
"""(layer from 1, scale from 0)."""

_REACH: dict[str, tuple[int, int]] = {"finer": (-1, -1), "same": (-1, 0), "coarser": (-1, 1), "down": (0, -1)}
"""Where an edge of each name comes from: steps in layers and in scales."""


@dataclass(frozen=True)
class Edge:
    """One connection of a trellis: its path (`node2_1.finer`), the places it joins, and its convolution."""

    path: str
    source: Place
    target: Place
    conv: nn.Module

    @property
    def strength(self) -> float:
        """The mean square of its weights, by which the paper calls connections weak."""
        return float(next(self.conv.parameters()).detach().double().square().mean())


class Node(nn.Module):
    """Sum of the edges, batch norm, ReLU: maps by edge name, each [N, in, h, w] → [N, channels, H, W]."""

    def __init__(self, edges: OrderedDict[str, nn.Module], channels: int, normalise: bool) -> None:
        super().__init__()
        for name, edge in edges.items():
            self.add_module(name, edge)
        self.bn = nn.BatchNorm2d(channels) if normalise else nn.Identity()
        self.relu = nn.ReLU()

    def edges(self) -> list[tuple[str, nn.Module]]:
        """Its edges by name: image, finer, same, coarser, down; those that are left."""
        return [(name, child) for name, child in self.named_children() if name not in ("bn", "relu")]

    def forward(self, sources: dict[str, Tensor]) -> Tensor:
        total: Tensor | None = None
        for name, edge in self.edges():
            total = edge(sources[name]) if total is None else total + edge(sources[name])
        response: Tensor = self.relu(self.bn(total))
        return response


class Trellis(nn.Module):
    """All nodes: images [N, C, H, H] → the response of the last layer's coarsest node, [N, maps, 1, 1] at full depth.

    Children are called node{layer}_{scale}. `channels` are the maps of a node, with `doubling` those of the finest
    scale, twice as many at each coarser one. «dense» edges join all maps of two nodes; «sparse» ones join a map with
    its own number and the two beside it (with doubling: the numbers that lie at the same share of all maps). The
    image's maps are joined with all maps of its node in both. `normalise=False` leaves batch norm out.
    Raises FovealError for sizes that a trellis cannot have.
    """

    def __init__(
        self,
        in_channels: int,
        scales: int,
        layers: int,
        channels: int,
        *,
        connectivity: Connectivity = "dense",
        doubling: bool = False,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        if min(in_channels, scales, layers, channels) < 1:
            raise FovealError(f"a fabric of {layers} layers, {scales} scales, {channels} channels", "each is 1 or more")
        if connectivity not in ("sparse", "dense"):
            raise unknown("connectivity of a fabric", str(connectivity), ("sparse", "dense"))
        self.scales, self.layers = scales, layers
        self.maps = tuple(channels * 2**s if doubling else channels for s in range(scales))
        self.dense = connectivity == "dense"
        for layer in range(1, layers + 1):
            for scale in range(scales):
                edges: OrderedDict[str, nn.Module] = OrderedDict()
                if (layer, scale) == (1, 0):
                    edges["image"] = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
                for name in self._names(layer, scale):
                    edges[name] = self._edge(scale + _REACH[name][1], scale)
                self.add_module(f"node{layer}_{scale}", Node(edges, self.maps[scale], normalise))

    def _names(self, layer: int, scale: int) -> Iterator[str]:
        """The edges of a node from other nodes."""
        if layer > 1:
            if scale > 0:
                yield "finer"
            yield "same"
            if scale < self.scales - 1:
                yield "coarser"
        if scale > 0 and layer in (1, self.layers):
            yield "down"

    def _edge(self, source: int, target: int) -> nn.Module:
        maps_in, maps_out = self.maps[source], self.maps[target]
        stride = 1 if source == target else 2
        if self.dense and source > target:  # zeros between the positions, then the kernel, mirrored
            return nn.ConvTranspose2d(maps_in, maps_out, 3, 2, 1, output_padding=1, bias=False)
        if self.dense:
            return nn.Conv2d(maps_in, maps_out, 3, stride, 1, bias=False)
        near = [m * maps_in // maps_out for m in range(maps_out)]
        table = [[i for i in (n - 1, n, n + 1) if 0 <= i < maps_in] for n in near]
        return TableConv2d(maps_in, table, 3, stride, 1, transposed=source > target, bias=False)

    def nodes(self) -> Iterator[tuple[Place, Node]]:
        """The nodes that are left, in order of execution."""
        for name, child in self.named_children():
            if isinstance(child, Node):
                layer, _, scale = name.removeprefix("node").partition("_")
                yield (int(layer), int(scale)), child

    def edges(self) -> list[Edge]:
        """The edges that are left, but for the image's, in order of execution."""
        return [
            Edge(f"node{layer}_{scale}.{name}", _source((layer, scale), name), (layer, scale), conv)
            for (layer, scale), node in self.nodes()
            for name, conv in node.edges()
            if name != "image"
        ]

    def node(self, place: Place) -> Node:
        """The node at (layer, scale)."""
        found = self.get_submodule(f"node{place[0]}_{place[1]}")
        assert isinstance(found, Node)
        return found

    def responses(self, images: Tensor) -> dict[Place, Tensor]:
        """The response of every node to images [N, C, H, W], H and W multiples of 2^(scales - 1)."""
        found: dict[Place, Tensor] = {}
        for place, node in self.nodes():
            sources = {n: images if n == "image" else found[_source(place, n)] for n, _ in node.edges()}
            found[place] = node(sources)
        return found

    def forward(self, x: Tensor) -> Tensor:
        return self.responses(x)[self.layers, self.scales - 1]


class Fabric(nn.Module):
    """A trellis and a linear classifier on its coarsest node: images [N, C, H, H] → scores [N, num_classes]."""

    def __init__(self, trellis: Trellis, num_classes: int) -> None:
        super().__init__()
        self.trellis = trellis
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(trellis.maps[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.flatten(self.trellis(x)))
        return scores


def _source(target: Place, name: str) -> Place:
    return target[0] + _REACH[name][0], target[1] + _REACH[name][1]
