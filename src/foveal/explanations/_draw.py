"""From numbers to pictures, uint8 [3, H, W]: photographs, signed values, heat, tiles with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from foveal.data import drawing

PAPER = 255  # grey level between tiles
_CAPTION = 18  # pixels of a line of text
_GAP = 8  # pixels between tiles with captions
_LEAST = 1e-12  # below it a picture is taken for constant

Spread = Sequence[float] | Tensor | None
"""Means or deviations of the pixels in 0 … 1, one per channel or an image [C, H, W]; None: not known."""


def photograph(image: Tensor, mean: Spread = None, std: Spread = None) -> Tensor:
    """An image [C, H, W] as the network takes it → uint8 [3, H, W].

    With `mean` and `std` as it looked before it was normalised, without them stretched to the whole range.
    """
    values = image.detach().cpu().float()
    if mean is not None and std is not None:
        values = values * channelwise(std) + channelwise(mean)
    else:
        values = (values - values.min()) / (values.max() - values.min()).clamp_min(_LEAST)
    return _colour((255 * values.clamp(0, 1)).round().to(torch.uint8))


def channelwise(values: Sequence[float] | Tensor) -> Tensor:
    """One number per channel as [C, 1, 1]; an image stays one."""
    found = torch.as_tensor(values, dtype=torch.float32)
    return found if found.ndim == 3 else found.view(-1, 1, 1)


def signed(values: Tensor, largest: float | None = None) -> Tensor:
    """Values [C, H, W] around zero → uint8 [3, H, W]: mid-grey is 0, brighter positive. By default of full contrast."""
    values = values.detach().cpu().float()
    scale = float(values.abs().max()) if largest is None else largest
    return _colour((values / max(scale, _LEAST) * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8))


def heat(values: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Values [H, W] → uint8 [3, H, W], dark to bright yellow over low … high (their own range without these)."""
    from matplotlib import colormaps  # half a second, only for who draws

    values = values.detach().cpu().float()
    least, most = float(values.min()) if low is None else low, float(values.max()) if high is None else high
    part = ((values - least) / max(most - least, _LEAST)).clamp(0, 1)
    colours = colormaps["inferno"](part.numpy(), bytes=True)[..., :3]
    return torch.from_numpy(np.ascontiguousarray(colours)).movedim(-1, 0)


def categories(labels: Tensor) -> Tensor:
    """Class numbers [H, W] → uint8 [3, H, W], a colour each (twenty, then again)."""
    from matplotlib import colormaps

    colours = colormaps["tab20"](labels.cpu().numpy() % 20, bytes=True)[..., :3]
    return torch.from_numpy(np.ascontiguousarray(colours)).movedim(-1, 0)


def overlay(picture: Tensor, values: Tensor) -> Tensor:
    """Heat [H, W] over a picture uint8 [3, H, W] in grey."""
    grey = picture.float().mean(0, keepdim=True)
    return (0.4 * grey + 0.6 * heat(values).float()).round().clamp(0, 255).to(torch.uint8)


def enlarged(picture: Tensor, side: int, *, smooth: bool = False) -> Tensor:
    """uint8 [3, h, w], its longer side brought to about `side`: where that is larger by a whole factor, pixels kept."""
    h, w = picture.shape[1:]
    factor = side / max(h, w)
    if factor >= 2 and not smooth:
        return picture.repeat_interleave(int(factor), 1).repeat_interleave(int(factor), 2)
    size = (max(1, round(h * factor)), max(1, round(w * factor)))
    scaled = F.interpolate(picture[None].float(), size, mode="bilinear", antialias=True, align_corners=False)
    return scaled[0].round().clamp(0, 255).to(torch.uint8)


def grid(tiles: Tensor, columns: int, zoom: int = 1, gap: int = 2) -> Tensor:
    """Tiles uint8 [N, 3, h, w] side by side, row by row, each pixel enlarged: uint8 [3, H, W]."""
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    large = tiles.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    framed = F.pad(large, (0, gap, 0, gap), value=PAPER)
    h, w = framed.shape[2:]
    whole = torch.full((rows * columns, 3, h, w), PAPER, dtype=torch.uint8)
    whole[: len(tiles)] = framed
    picture = whole.reshape(rows, columns, 3, h, w).permute(2, 0, 3, 1, 4).reshape(3, rows * h, columns * w)
    return picture[:, : rows * h - gap, : columns * w - gap].contiguous()


def columns_for(count: int) -> int:
    """Columns of a grid that is about square."""
    return math.ceil(math.sqrt(count))


def sheet(tiles: Sequence[tuple[Tensor, str]], columns: int | None = None) -> Tensor:
    """Pictures uint8 [3, h, w] with a caption below each, in cells of one size: uint8 [3, H, W]."""
    columns = min(columns or len(tiles), len(tiles))
    rows = -(-len(tiles) // columns)
    width = max(tile.shape[2] for tile, _ in tiles) + _GAP
    height = max(tile.shape[1] for tile, _ in tiles) + _CAPTION + _GAP
    page = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), drawing.PAPER)
    draw = ImageDraw.Draw(page)
    for number, (tile, caption) in enumerate(tiles):
        left, top = number % columns * width + _GAP, number // columns * height + _GAP
        page.paste(Image.fromarray(tile.movedim(0, -1).contiguous().numpy()), (left, top))
        drawing.text(draw, (left, top + tile.shape[1] + 2), caption, width - _GAP, 12)
    return torch.from_numpy(np.array(page)).movedim(-1, 0).contiguous()


def _colour(pixels: Tensor) -> Tensor:
    """uint8 [C, H, W] as [3, H, W]; of other than three channels the mean, in grey."""
    if pixels.shape[0] == 3:
        return pixels.contiguous()
    return pixels.float().mean(0, keepdim=True).round().to(torch.uint8).expand(3, -1, -1).contiguous()
