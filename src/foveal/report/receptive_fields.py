"""Receptive fields drawn on an image: what the layers see in theory, and how much of it matters to one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from foveal.data.drawing import FAINT, LINE
from foveal.errors import FovealError, unknown
from foveal.graph.effective_field import EffectiveField
from foveal.graph.receptive_field import Field, fields
from foveal.graph.shapes import LayerShape, text
from foveal.graph.windows import Size
from foveal.report.sketch import Colour, Sketch, wide

_PANEL, _MARGIN, _ROW = 380.0, 26.0, 20.0
_MOST = 8  # fields in one drawing
_COLOURS: tuple[Colour, ...] = (
    (214, 69, 65), (230, 138, 30), (196, 170, 20), (66, 150, 72),
    (32, 150, 160), (52, 108, 184), (122, 84, 180), (190, 74, 146),
)  # fmt: skip
_SHADE = (20, 24, 32)


def field_rows(layers: Sequence[LayerShape], input: Size) -> list[dict[str, Any]]:
    """Size, stride, first position and centre of every layer's field, as plain values.

    `start` and `centre` are those of the first unit, in pixels from 0; negative ones lie in the padding.
    """
    found = fields(list(layers), input)
    return [
        {
            "name": layer.path,
            "output": list(layer.output),
            "size": list(found[layer.path].size),
            "stride": [_plain(s) for s in found[layer.path].stride] if len(layer.output) > 1 else None,
            "start": list(found[layer.path].start),
            "centre": list(found[layer.path].centre),
        }
        for layer in layers
    ]


def draw_fields(
    layers: Sequence[LayerShape],
    input: Size,
    *,
    image: Tensor | None = None,
    chosen: Sequence[str] = (),
    effective: EffectiveField | None = None,
    share: float = 0.95,
    title: str = "",
) -> Sketch:
    """The fields of the middle units of some layers, on an image of shape `input` = (C, H, W).

    layers: of the network, from `shapes`. image: uint8 [1 or 3, H, W]; grey paper without it. chosen: names of layers;
    by default the last map at each stride, up to eight. effective: drawn beside them, the darker the more, with the
    smallest square that holds `share` of it.

    Raises FovealError for an input that is no image, an unknown layer or a vector, and more than eight layers.
    """
    if len(input) != 3:
        raise FovealError(f"fields in an input of {text(input)} cannot be drawn", "give images: --input 3x224x224")
    maps = {layer.path: layer for layer in layers if len(layer.output) > 1}
    names = list(chosen) or _stages(layers)
    for name in names:
        if name not in maps:
            raise unknown("map", name, maps)
    if len(names) > _MOST:
        raise FovealError(f"{len(names)} fields in one drawing", f"name {_MOST} at most")
    found = fields(list(layers), input)
    spans = {name: found[name].interval(tuple(n // 2 for n in maps[name].output[1:])) for name in names}
    panels = 1 if effective is None else 2
    frame = _Frame(input, list(spans.values()))
    top = _MARGIN + (30 if title else 0)
    rows = len(names) + (2 if effective else 0)
    legend = max(wide(_said(name, found[name]), 12) for name in names) + 30
    width = max(panels * (_PANEL + _MARGIN) + _MARGIN, legend + 2 * _MARGIN)
    sketch = Sketch(width, top + frame.height + 24 + _ROW * rows + _MARGIN)
    if title:
        sketch.words((_MARGIN, _MARGIN + 12), title, 16)
    frame.draw(sketch, (_MARGIN, top), image)
    for name, colour in zip(names, _COLOURS, strict=False):
        frame.rectangle(sketch, (_MARGIN, top), spans[name], colour)
    y = top + frame.height + 24
    for name, colour in zip(names, _COLOURS, strict=False):
        sketch.box((_MARGIN, y), (12, 12), edge=colour)
        sketch.words((_MARGIN + 20, y + 11), _said(name, found[name]), 12)
        y += _ROW
    if effective is not None:
        _draw_effective(sketch, frame, (2 * _MARGIN + _PANEL, top), effective, share)
        for line in effective_words(effective, share):
            sketch.words((_MARGIN, y + 14), line, 12, colour=FAINT)
            y += _ROW
    return sketch


def effective_words(found: EffectiveField, share: float = 0.95) -> tuple[str, str]:
    """What was measured, in two lines."""
    side, _ = found.square(share)
    half, _ = found.square(0.5)
    place = text(found.position)
    return (
        f"{100 * share:g} % of the gradient of {found.layer} at {place} lies in {side}x{side} pixels,",
        f"half of it in {half}x{half}; the field is {text(found.field.size)}",
    )


class _Frame:
    """Pixels of the image and its surroundings, brought to the panel."""

    def __init__(self, input: Size, spans: Sequence[Sequence[tuple[int, int]]]) -> None:
        _, self.rows, self.columns = input
        self.top = min(0, *(span[0][0] for span in spans))
        self.left = min(0, *(span[1][0] for span in spans))
        bottom = max(self.rows, *(span[0][1] + 1 for span in spans))
        right = max(self.columns, *(span[1][1] + 1 for span in spans))
        self.scale = _PANEL / max(right - self.left, bottom - self.top)
        self.height = (bottom - self.top) * self.scale

    def draw(self, sketch: Sketch, at: tuple[float, float], image: Tensor | None) -> None:
        """The image, or paper in its place."""
        corner = self._place(at, 0, 0)
        size = self.columns * self.scale, self.rows * self.scale
        if image is None:
            sketch.box(corner, size, fill=(243, 245, 248), edge=LINE)
            return
        colour = image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
        sketch.picture(corner, size, Image.fromarray(colour))

    def rectangle(
        self, sketch: Sketch, at: tuple[float, float], span: Sequence[tuple[int, int]], colour: Colour
    ) -> None:
        """The pixels first … last of both dimensions, framed."""
        (y0, y1), (x0, x1) = span
        size = (x1 - x0 + 1) * self.scale, (y1 - y0 + 1) * self.scale
        sketch.box(self._place(at, y0, x0), size, edge=colour)

    def _place(self, at: tuple[float, float], y: int, x: int) -> tuple[float, float]:
        return at[0] + (x - self.left) * self.scale, at[1] + (y - self.top) * self.scale


def _draw_effective(
    sketch: Sketch, frame: _Frame, at: tuple[float, float], found: EffectiveField, share: float
) -> None:
    strength = (found.mass / found.mass.max()).sqrt()[..., None]  # the root: the faint parts are seen as well
    paper, ink = torch.tensor((255.0, 255.0, 255.0)), torch.tensor(_SHADE, dtype=torch.float32)
    frame.draw(sketch, at, (paper + (ink - paper) * strength).round().to(torch.uint8).permute(2, 0, 1))
    frame.rectangle(sketch, at, ((0, frame.rows - 1), (0, frame.columns - 1)), LINE)
    frame.rectangle(sketch, at, found.field.interval(found.position), FAINT)
    side, (y, x) = found.square(share)
    frame.rectangle(
        sketch, at, ((y, y + min(side, frame.rows) - 1), (x, x + min(side, frame.columns) - 1)), _COLOURS[0]
    )


def _stages(layers: Sequence[LayerShape]) -> list[str]:
    """The last map before each change of the grid, and the last of all."""
    maps = [layer for layer in layers if len(layer.output) > 1 and max(layer.output[1:]) > 1]
    if not maps:
        raise FovealError("no layer of the network is a map", "give a convolutional network, or a larger input")
    last = {layer.output[1:]: layer.path for layer in maps}  # later ones take the place of earlier ones
    return list(last.values())[-_MOST:]


def _said(name: str, field: Field) -> str:
    stride = "x".join(map(str, dict.fromkeys(field.stride)))
    return f"{name}   {text(field.size)}, stride {stride}"


def _plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)


def fields_text(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of `field_rows` for a table: name, output, field, stride, first, centre."""

    def same(numbers: Sequence[float] | None) -> str:
        if numbers is None:
            return ""
        return "x".join(f"{n:g}" for n in (numbers[:1] if len(set(numbers)) == 1 else numbers))

    return [
        (row["name"], text(row["output"]), *(same(row[key]) for key in ("size", "stride", "start", "centre")))
        for row in rows
    ]
