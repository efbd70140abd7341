"""Drawings of boxes, lines, words and pictures, written as SVG or, with every second pixel between, as PNG."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw

from foveal.data import drawing
from foveal.errors import FovealError
from foveal.report.html import escape

Colour = tuple[int, int, int]
Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]
FORMATS = (".svg", ".png")
_SCALE = 2  # pixels of a PNG per unit
_LARGEST = 60_000_000  # pixels of a PNG
_ARROW = 4.0
_FACES = "DejaVu Sans, Verdana, sans-serif"  # of one width


@dataclass(frozen=True)
class _Box:
    at: Point
    size: Point
    fill: Colour | None
    edge: Colour | None
    radius: float
    opacity: float


@dataclass(frozen=True)
class _Line:
    points: tuple[Point, ...]
    colour: Colour
    width: float
    arrow: bool


@dataclass(frozen=True)
class _Words:
    at: Point
    text: str
    size: int
    colour: Colour
    anchor: Anchor


@dataclass(frozen=True)
class _Picture:
    at: Point
    size: Point
    image: Image.Image


@dataclass
class Sketch:
    """A drawing of `width` x `height` units, to which things are added from back to front."""

    width: float
    height: float
    things: list[_Box | _Line | _Words | _Picture] = field(default_factory=list)

    def box(
        self,
        at: Point,
        size: Point,
        *,
        fill: Colour | None = None,
        edge: Colour | None = None,
        radius: float = 0,
        opacity: float = 1,
    ) -> None:
        """A rectangle; `opacity` is that of its filling."""
        self.things.append(_Box(at, size, fill, edge, radius, opacity))

    def line(self, *points: Point, colour: Colour = drawing.FAINT, width: float = 1, arrow: bool = False) -> None:
        """Straight from point to point; an arrow's head points downwards or along the last piece."""
        self.things.append(_Line(points, colour, width, arrow))

    def words(
        self, at: Point, text: str, size: int = 12, *, colour: Colour = drawing.INK, anchor: Anchor = "start"
    ) -> None:
        """One line of text whose foot is at `at`."""
        self.things.append(_Words(at, text, size, colour, anchor))

    def picture(self, at: Point, size: Point, image: Image.Image) -> None:
        """An RGB picture, stretched to `size`, with its pixels kept visible where it is enlarged."""
        self.things.append(_Picture(at, size, image))

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Write .svg or .png. FovealError for another ending, a bad place, and a PNG that would be too large."""
        path = Path(file)
        kind = path.suffix.lower()
        if kind not in FORMATS:
            raise FovealError(f"{path}: a drawing is written as {' or '.join(FORMATS)}", "give such a name")
        if kind == ".png":
            drawing.save(self.image(path.name), path)
            return path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.svg(), encoding="utf-8")
        except OSError as error:
            raise FovealError(
                f"{path}: cannot be written ({error.strerror or error})", "choose another place"
            ) from error
        return path

    def svg(self) -> str:
        """The drawing as the text of an SVG file."""
        body = "\n".join(_svg(thing) for thing in self.things)
        size = f'width="{_n(self.width)}" height="{_n(self.height)}" viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
        paper = f'<rect width="100%" height="100%" fill="{_hex(drawing.PAPER)}"/>'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FACES}">\n{paper}\n{body}\n</svg>\n'

    def image(self, name: str = "the picture") -> Image.Image:
        """The drawing as pixels, two for a unit."""
        size = round(self.width * _SCALE), round(self.height * _SCALE)
        if size[0] * size[1] > _LARGEST:
            raise FovealError(f"{name} would have {size[0]:,} x {size[1]:,} pixels", "write .svg")
        sheet = Image.new("RGB", size, drawing.PAPER)
        for thing in self.things:
            _paint(sheet, thing)
        return sheet


def wide(text: str, size: int) -> float:
    """The width of a text in units."""
    return float(drawing.font(size).getlength(text))


def _svg(thing: _Box | _Line | _Words | _Picture) -> str:
    place = f'x="{_n(thing.at[0])}" y="{_n(thing.at[1])}"' if not isinstance(thing, _Line) else ""
    if isinstance(thing, _Words):
        anchor = f' text-anchor="{thing.anchor}"' if thing.anchor != "start" else ""
        look = f'font-size="{thing.size}" fill="{_hex(thing.colour)}"{anchor}'
        return f"<text {place} {look}>{escape(thing.text)}</text>"
    if isinstance(thing, _Line):
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in thing.points)
        head = (
            f'<polygon points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in _head(thing))}" fill="{_hex(thing.colour)}"/>'
        )
        stroke = f'stroke="{_hex(thing.colour)}" stroke-width="{_n(thing.width)}"'
        return f'<polyline points="{points}" fill="none" {stroke}/>' + (head if thing.arrow else "")
    size = f'width="{_n(thing.size[0])}" height="{_n(thing.size[1])}"'
    if isinstance(thing, _Picture):
        data = io.BytesIO()
        thing.image.save(data, "PNG", optimize=True)
        source = base64.b64encode(data.getvalue()).decode()
        look = 'preserveAspectRatio="none" style="image-rendering:pixelated"'
        return f'<image {place} {size} {look} href="data:image/png;base64,{source}"/>'
    fill = f'fill="{_hex(thing.fill)}"' if thing.fill else 'fill="none"'
    fill += f' fill-opacity="{_n(thing.opacity)}"' if thing.opacity < 1 else ""
    edge = f' stroke="{_hex(thing.edge)}"' if thing.edge else ""
    return f'<rect {place} {size} rx="{_n(thing.radius)}" {fill}{edge}/>'


def _paint(sheet: Image.Image, thing: _Box | _Line | _Words | _Picture) -> None:
    draw = ImageDraw.Draw(sheet)
    if isinstance(thing, _Words):
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[thing.anchor]
        face = drawing.font(thing.size * _SCALE)
        draw.text(_times(thing.at), thing.text, fill=thing.colour, font=face, anchor=anchor)
    elif isinstance(thing, _Line):
        width = max(1, round(thing.width * _SCALE))
        draw.line([_times(point) for point in thing.points], fill=thing.colour, width=width, joint="curve")
        if thing.arrow:
            draw.polygon([_times(point) for point in _head(thing)], fill=thing.colour)
    else:
        x, y = _times(thing.at)
        corner = _times((thing.at[0] + thing.size[0], thing.at[1] + thing.size[1]))
        if isinstance(thing, _Picture):
            size = round(corner[0]) - round(x), round(corner[1]) - round(y)
            way = Image.Resampling.NEAREST if size[0] >= thing.image.width else Image.Resampling.LANCZOS
            sheet.paste(thing.image.convert("RGB").resize(size, way), (round(x), round(y)))
            return
        fill: tuple[int, ...] | None = thing.fill
        if fill and thing.opacity < 1:
            draw = ImageDraw.Draw(sheet, "RGBA")
            fill = (*fill, round(255 * thing.opacity))
        width = _SCALE if thing.edge else 0
        draw.rounded_rectangle((x, y, *corner), thing.radius * _SCALE, fill, thing.edge, width)


def _head(line: _Line) -> list[Point]:
    """The triangle at the end of an arrow."""
    (x0, y0), (x, y) = line.points[-2:]
    length = max(((x - x0) ** 2 + (y - y0) ** 2) ** 0.5, 1e-9)
    dx, dy = (x - x0) / length, (y - y0) / length
    back = x - 2 * _ARROW * dx, y - 2 * _ARROW * dy
    return [(x, y), (back[0] - _ARROW * dy, back[1] + _ARROW * dx), (back[0] + _ARROW * dy, back[1] - _ARROW * dx)]


def _times(point: Point) -> Point:
    return point[0] * _SCALE, point[1] * _SCALE


def _n(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _hex(colour: Colour) -> str:
    return f"#{colour[0]:02x}{colour[1]:02x}{colour[2]:02x}"
