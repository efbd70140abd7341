"""What drawings share: the colours of classes, the veil over a picture, a typeface, pictures in cells, the file."""

from __future__ import annotations

import colorsys
import io
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from foveal.errors import FovealError

PAPER, INK, FAINT, LINE = (255, 255, 255), (32, 36, 44), (122, 128, 140), (228, 231, 236)
CELL_PAPER = (243, 245, 248)
BAD = (190, 60, 60)
VEIL = 0.65  # how much of a pixel is the colour of its class
Colour = tuple[int, int, int]

_LEGEND, _SWATCH = 18, 12  # pixels: a line, its square


def class_colour(index: int, count: int) -> Colour:
    """The colour of class `index` of `count`: hues around the circle, light and dark in turn."""
    red, green, blue = colorsys.hsv_to_rgb(index / count, 0.85, (0.95, 0.7)[index % 2])
    return round(255 * red), round(255 * green), round(255 * blue)


def veiled(image: Tensor, labels: Tensor, count: int, strength: float | Tensor = VEIL) -> Tensor:
    """A picture in grey under the colours of its pixels' classes: uint8 [C, H, W] and [H, W] → uint8 [3, H, W].

    `strength`, 0 to 1, one for all or float [H, W], says how much of a pixel is colour. Pixels whose label is none of
    the `count` classes stay grey.
    """
    colours = torch.tensor([class_colour(i, count) for i in range(count)], dtype=torch.float32)
    known = labels < count
    coloured = colours[labels.long() * known].movedim(-1, 0)  # [3, H, W]
    share = strength * known
    grey = image.float().mean(0)
    return (grey * (1 - share) + coloured * share).round().clamp(0, 255).to(torch.uint8)


def boxed(image: Tensor, marks: Sequence[tuple[Sequence[float], Colour, str]]) -> Image.Image:
    """A picture, uint8 [C, H, W], with rectangles: x1, y1, x2, y2 in pixels, colour, and words at the upper edge.

    Later ones lie on top. Lines and letters grow with the picture.
    """
    picture = Image.fromarray(np.ascontiguousarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy()))
    draw = ImageDraw.Draw(picture)
    line, letters = max(2, round(min(picture.size) / 240)), max(11, round(min(picture.size) / 36))
    for (x1, y1, x2, y2), colour, words in marks:
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=line)
        if words:
            wide = draw.textlength(words, font(letters)) + 6
            left = max(0, min(x1, picture.width - wide))
            top = y1 - letters - 5 if y1 >= letters + 5 else y1
            draw.rectangle((left, top, left + wide, top + letters + 4), fill=colour)
            draw.text((left + 3, top), words, fill=_readable_on(colour), font=font(letters))
    return picture


def tinted(image: Tensor, masks: Sequence[tuple[Tensor, Colour]]) -> Tensor:
    """A picture, uint8 [C, H, W], whose objects have colours, half and half: bool [H, W] each → uint8 [3, H, W].

    Later ones lie on top.
    """
    result = image.expand(3, -1, -1).clone()
    for mask, colour in masks:
        inside = mask.to(result.device)
        result[:, inside] = (image.expand(3, -1, -1)[:, inside].float() / 2 + torch.tensor(colour)[:, None] / 2).byte()
    return result


def posed(
    picture: Image.Image, poses: Sequence[tuple[Tensor, Colour]], edges: Sequence[tuple[int, int]], least: float
) -> Image.Image:
    """The picture with keypoints and the lines between them drawn on it: float32 [J, 3] each, x, y in pixels, and how
    sure; those below `least` are left out with their lines."""
    draw = ImageDraw.Draw(picture)
    line = max(1, round(min(picture.size) / 240))
    for points, colour in poses:
        places = [(x, y) if sure >= least else None for x, y, sure in points.tolist()]
        for a, b in edges:
            if (start := places[a]) is not None and (end := places[b]) is not None:
                draw.line((start, end), fill=colour, width=line)
        for place in places:
            if place is not None:
                x, y = place
                radius = 1.5 * line
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=PAPER)
    return picture


def _readable_on(colour: Colour) -> Colour:
    """Ink or paper, whichever stands out."""
    red, green, blue = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else PAPER


def with_legend(pixels: Tensor, lines: Sequence[tuple[str, Colour]]) -> Image.Image:
    """A picture, uint8 [3, H, W], above one line of text with a coloured square for each of `lines`."""
    picture = Image.fromarray(pixels.movedim(0, -1).contiguous().numpy())
    width = max(picture.width, 240)
    sheet = Image.new("RGB", (width, picture.height + _LEGEND * len(lines) + 6), PAPER)
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for line, (words, colour) in enumerate(lines):
        top = picture.height + 6 + line * _LEGEND
        draw.rectangle((4, top, 4 + _SWATCH, top + _SWATCH), fill=colour)
        text(draw, (4 + _SWATCH + 6, top - 1), words, width - 30, 12)
    return sheet


def paste(sheet: Image.Image, at: tuple[int, int], pixels: Tensor, cell: int) -> tuple[int, int, int, int]:
    """Draw uint8 [C, H, W] in the middle of the square cell of `cell` pixels whose upper left corner is `at`.

    Returns left, top, width and height of what was drawn.
    """
    array = pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array)).convert("RGB")
    picture = _fitted(picture, cell)
    left, top = at[0] + (cell - picture.width) // 2, at[1] + (cell - picture.height) // 2
    sheet.paste(picture, (left, top))
    return left, top, picture.width, picture.height


def _fitted(picture: Image.Image, cell: int) -> Image.Image:
    """As large as the cell takes: by a whole factor when that enlarges it, smoothly when it must shrink."""
    longest = max(picture.size)
    if longest <= cell:
        factor = cell // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    sides = [max(round(side * cell / longest), 1) for side in picture.size]
    return picture.resize((sides[0], sides[1]), Image.Resampling.LANCZOS, reducing_gap=3.0)


def text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    words: str,
    wide: float,
    size: int,
    *,
    colour: tuple[int, int, int] = INK,
) -> None:
    """One line, cut with an ellipsis to `wide` pixels."""
    face = font(size)
    words = " ".join(words.split())
    if draw.textlength(words, face) > wide:
        while words and draw.textlength(words + "…", face) > wide:
            words = words[:-1]
        words = words.rstrip() + "…"
    draw.text(at, words, fill=colour, font=face)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows Latin, Greek, Cyrillic and Arabic letters."""
    from matplotlib import get_data_path  # half a second, only for who draws

    return ImageFont.truetype(os.fspath(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def save(sheet: Image.Image, file: Path) -> None:
    """Write the sheet as PNG. FovealError when the file cannot be made."""
    data = io.BytesIO()
    sheet.save(data, "PNG", optimize=True)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.getvalue())
    except OSError as error:
        raise FovealError(f"{file}: cannot be written ({error.strerror or error})", "choose another place") from error
