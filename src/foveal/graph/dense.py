"""The map of a classifier's scores over a whole image, of any size, equal to patch by patch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError, unknown
from foveal.graph.convolutionalize import convolutionalize
from foveal.graph.dilate import dilate
from foveal.graph.modes import evaluating
from foveal.graph.patch_size import patch_size
from foveal.graph.receptive_field import Reach, fields
from foveal.graph.shapes import shapes, text
from foveal.graph.slide import Slider
from foveal.graph.swap import sharing
from foveal.graph.windows import Size

Span = tuple[int, int]
Progress = Callable[[int, int], None]
Borders = Literal["patch", "image"]


def dense(
    model: nn.Module,
    image: Tensor,
    stride: int = 1,
    *,
    input: Size | None = None,
    borders: Borders = "patch",
    fill: float = 0.0,
    memory: int = 2**30,
    channels_last: bool = False,
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """The network's scores at every `stride`-th pixel: image [C, H, W] → [classes, ceil(H/stride), ceil(W/stride)].

    Position (i, j) is, to rounding, `model` on the patch whose pixel (h//2, w//2) is the image's (i·stride, j·stride);
    patches at the edge reach beyond the image, into `fill`. `image` is what the network is to see: floating point,
    normalised, on any device. Sequences [C, L] and volumes likewise. The model is used in evaluation mode, on the
    device where it is, and left as it was; no gradient is kept (`foveal.graph.slide` is the differentiable form).

    input: the patch, (C, h, w); by default the smallest square one that the fully connected layers or windows allow.
    borders: "patch", where layers pad each patch as they do when it comes alone: always exact, and slow where a network
    pads in many layers, since patches then have little in common. "image": layers pad the whole image instead, which is
    cheap and another function, equal to `dilate(convolutionalize(model, input))` on the image filled up.
    memory: bytes of activations to stay below, about; larger images are computed in tiles, with equal results.
    channels_last, dtype: the layout of the maps, and the type of autocast (torch.bfloat16 or torch.float16).
    progress: called with (tiles done, tiles).

    Raises FovealError for a network that cannot be traced, a patch that must be named or does not fit, an image of
    another kind, layers that "image" cannot make sparse, and too little memory for one patch.
    """
    _check(image, stride, borders)
    dims = image.dim() - 1
    input = input or patch_size(model, image.shape[0], dims)
    if input[0] != image.shape[0] or len(input) != image.dim():
        raise FovealError(
            f"an image of shape {text(tuple(image.shape))} for patches of {text(input)}",
            "give [C, H, W] with as many channels as the network takes",
        )
    with evaluating(model):
        make = _Patchwise if borders == "patch" else _Whole
        way: _Way = make(model, input, stride)
        counts = tuple(-(-n // stride) for n in image.shape[1:])
        itemsize = max(4, image.element_size())
        tiles = list(_tiles(counts, _tile(way, counts, memory, itemsize)))
        parameter = next(model.parameters(), image)
        result: Tensor | None = None
        cast = nullcontext() if dtype is None else torch.autocast(parameter.device.type, dtype)
        with torch.no_grad(), cast:
            for done, tile in enumerate(tiles, start=1):
                piece = way.piece(image, tile, fill).to(parameter)[None]
                if channels_last and dims == 2:
                    piece = piece.contiguous(memory_format=torch.channels_last)
                scores = way.scores(piece, tile)[0].to(image)
                if result is None:
                    result = scores.new_empty((scores.shape[0], *counts))
                result[(slice(None), *(slice(a, b) for a, b in tile))] = scores
                if progress is not None:
                    progress(done, len(tiles))
    assert result is not None
    return result


class _Way(Protocol):
    """How a tile of outputs, one span per dimension, is computed."""

    def memory(self, tile: Sequence[Span], itemsize: int) -> int: ...

    def piece(self, image: Tensor, tile: Sequence[Span], fill: float) -> Tensor: ...

    def scores(self, piece: Tensor, tile: Sequence[Span]) -> Tensor: ...


class _Patchwise:
    """Each patch as if it came alone."""

    def __init__(self, model: nn.Module, input: Size, stride: int) -> None:
        self.size, self.stride = input[1:], stride
        self.slider = Slider(model, input, stride)

    def memory(self, tile: Sequence[Span], itemsize: int) -> int:
        grid = tuple((b - a - 1) * self.stride + n for (a, b), n in zip(tile, self.size, strict=True))
        return self.slider.memory(grid, itemsize)

    def piece(self, image: Tensor, tile: Sequence[Span], fill: float) -> Tensor:
        spans = [
            (a * self.stride - n // 2, (b - 1) * self.stride + n - n // 2)
            for (a, b), n in zip(tile, self.size, strict=True)
        ]
        return _cut(image, spans, fill)

    def scores(self, piece: Tensor, tile: Sequence[Span]) -> Tensor:
        return self.slider(piece)


class _Whole:
    """The sparse network on the image filled up; a tile sees as much around it as its outputs do."""

    def __init__(self, model: nn.Module, input: Size, stride: int) -> None:
        self.input, self.stride = input, stride
        self.network = sharing(model, self._sparse)
        self.reaches = self._reaches(self.network)

    def _sparse(self, model: nn.Module) -> nn.Module:
        sliding = convolutionalize(model, self.input)
        self.fine = tuple(math.gcd(self.stride, reach.shift) for reach in self._reaches(sliding))
        return dilate(sliding, self.fine).eval()

    def _reaches(self, network: nn.Module) -> tuple[Reach, ...]:
        layers = shapes(network, self.input)
        return fields(layers, self.input)[layers[-1].path].reaches

    def _spans(self, tile: Sequence[Span]) -> list[Span]:
        """What of the filled image the tile needs; it starts at a multiple of the network's stride."""
        spans = []
        for (a, b), reach, fine in zip(tile, self.reaches, self.fine, strict=True):
            first, last = a * self.stride // fine, (b - 1) * self.stride // fine
            spans.append((max(0, reach.first(first)) // fine * fine, reach.last(last) + 1))
        return spans

    def memory(self, tile: Sequence[Span], itemsize: int) -> int:
        grid = tuple(max(b - a, n) for (a, b), n in zip(self._spans(tile), self.input[1:], strict=True))
        layers = shapes(self.network, (self.input[0], *grid))
        return itemsize * max(2 * math.prod(x.output) + sum(map(math.prod, x.inputs)) for x in layers)

    def piece(self, image: Tensor, tile: Sequence[Span], fill: float) -> Tensor:
        spans = []
        for (a, b), n, size in zip(self._spans(tile), image.shape[1:], self.input[1:], strict=True):
            end = (-(-n // self.stride) - 1) * self.stride + size  # of the filled image, from its start
            spans.append((a - size // 2, min(b, end) - size // 2))
        return _cut(image, spans, fill)

    def scores(self, piece: Tensor, tile: Sequence[Span]) -> Tensor:
        scores: Tensor = self.network(piece)
        for dim, ((a, b), (start, _), fine) in enumerate(zip(tile, self._spans(tile), self.fine, strict=True), 2):
            first, step = (a * self.stride - start) // fine, self.stride // fine
            cut = slice(first, first + (b - a - 1) * step + 1, step)
            scores = scores[(slice(None),) * dim + (cut,)]
        return scores


def _cut(image: Tensor, spans: Sequence[Span], fill: float) -> Tensor:
    """A region of [C, *grid], which may reach beyond it."""
    inside = [slice(min(max(a, 0), n), max(min(b, n), 0)) for (a, b), n in zip(spans, image.shape[1:], strict=True)]
    sides = [
        n
        for (a, b), part in reversed(list(zip(spans, inside, strict=True)))
        for n in (min(part.start - a, b - a), b - max(part.stop, a))
    ]
    return F.pad(image[(slice(None), *inside)], sides, value=fill)


def _tile(way: _Way, counts: Size, memory: int, itemsize: int) -> Size:
    """The size of a tile, in outputs: halved along its longer side until it fits."""
    tile = list(counts)
    while way.memory([(0, n) for n in tile], itemsize) > memory:
        longest = max(range(len(tile)), key=lambda dim: tile[dim])
        if tile[longest] == 1:
            raise FovealError(
                f"one patch takes more than {memory / 2**20:,.0f} MiB",
                "give more: memory=… (bytes), or a smaller patch",
            )
        tile[longest] = -(-tile[longest] // 2)
    return tuple(tile)


def _tiles(counts: Size, tile: Size) -> Iterator[tuple[Span, ...]]:
    if not counts:
        yield ()
        return
    for start in range(0, counts[0], tile[0]):
        for rest in _tiles(counts[1:], tile[1:]):
            yield ((start, min(start + tile[0], counts[0])), *rest)


def _check(image: Tensor, stride: int, borders: str) -> None:
    if not isinstance(image, Tensor) or not 2 <= image.dim() <= 4 or not image.numel():
        raise FovealError(
            "the image is no tensor [C, H, W]", "read it with foveal.data.image.load_image, and normalise it"
        )
    if not image.is_floating_point():
        raise FovealError(
            f"the image holds {str(image.dtype).removeprefix('torch.')}, not what the network sees",
            "scale and normalise it as in training: foveal.data.pipeline.normalise",
        )
    if not isinstance(stride, int) or stride < 1:
        raise FovealError(f"stride={stride!r}", "give a whole number of pixels from 1")
    if borders not in ("patch", "image"):
        raise unknown("borders", str(borders), ("patch", "image"))
