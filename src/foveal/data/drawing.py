"""What the sheets of pictures share: colours, a typeface, pictures fitted into cells, the file."""

from __future__ import annotations

import io
import os
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from foveal.errors import FovealError

PAPER, INK, FAINT, LINE = (255, 255, 255), (32, 36, 44), (122, 128, 140), (228, 231, 236)
CELL_PAPER = (243, 245, 248)
BAD = (190, 60, 60)


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
