"""What brings maps of different sizes onto one another: cutting, mirroring, resizing.

Networks for segmentation take images of any size, so that these sizes are known only when the network runs. The layers
here are leaves of every trace for that reason: no forward of a network computes with shapes.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Interpolation = Literal["bilinear", "nearest"]


class CropLike(nn.Module):
    """The part of a map that has another's size: [N, C, H, W], [M, D, h, w] → [N, C, h, w], rows offset … offset + h.

    `offset` None takes the centre (rounded up: to the left). Of the second input only the size counts. Raises
    ValueError where the part does not lie within the map, or for a negative offset.
    """

    def __init__(self, offset: int | None = 0) -> None:
        super().__init__()
        if offset is not None and offset < 0:
            raise ValueError(f"CropLike({offset}): an offset is 0 or more")
        self.offset = offset

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        for dim in (2, 3):
            size, wanted = x.shape[dim], like.shape[dim]
            start = (size - wanted) // 2 if self.offset is None else self.offset
            if start < 0 or start + wanted > size:
                raise ValueError(f"{wanted} rows or columns from {start} on cannot be cut out of {size}")
            x = x.narrow(dim, start, wanted)
        return x

    def extra_repr(self) -> str:
        return "centre" if self.offset is None else f"offset={self.offset}"


class ResizeLike(nn.Module):
    """A map at another's size: [N, C, H, W], [M, D, h, w] → [N, C, h, w]; of the second input only the size counts.

    Pixels are areas (align_corners=False): the borders of both maps lie on one another. Raises ValueError for an
    unknown mode.
    """

    def __init__(self, mode: Interpolation = "bilinear") -> None:
        super().__init__()
        if mode not in get_args(Interpolation):
            raise ValueError(f"ResizeLike({mode!r}): bilinear or nearest")
        self.mode = mode

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        corners = False if self.mode == "bilinear" else None
        return F.interpolate(x, size=like.shape[2:], mode=self.mode, align_corners=corners)

    def extra_repr(self) -> str:
        return self.mode


class MirrorPad(nn.Module):
    """The image continued by its mirror image: [N, C, H, W] → [N, C, border + H' + border, border + W' + border].

    Reflected about the border pixels, which are not repeated; an image smaller than the border is reflected again and
    again. H' is H, or with `multiple` the next size from H on that leaves `rest` when divided by it: what networks
    without padding need so that each of their poolings divides (Ronneberger et al. 2015, section 2; the rest is added
    on the right and below). Raises ValueError for numbers below 0, a multiple below 1 and a rest not below it.
    """

    def __init__(self, border: int, multiple: int = 1, rest: int = 0) -> None:
        super().__init__()
        if border < 0 or multiple < 1 or not 0 <= rest < multiple:
            raise ValueError(f"MirrorPad({border}, multiple={multiple}, rest={rest})")
        self.border, self.multiple, self.rest = border, multiple, rest

    def forward(self, x: Tensor) -> Tensor:
        for dim in (2, 3):
            x = x.index_select(dim, self._rows(x.shape[dim], x.device))
        return x

    def _rows(self, size: int, device: torch.device) -> Tensor:
        """Which row of the image stands at each place: 2 1 | 0 1 2 | 1 0 …"""
        length = size + (self.rest - size) % self.multiple
        places = torch.arange(-self.border, length + self.border, device=device)
        period = max(1, 2 * (size - 1))
        turned = places.remainder(period)
        return torch.minimum(turned, period - turned)

    def extra_repr(self) -> str:
        return f"{self.border}, multiple={self.multiple}, rest={self.rest}"
