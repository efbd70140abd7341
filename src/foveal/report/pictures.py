"""Pictures inside the page: small ones as PNG with every pixel kept, photographs as small JPEGs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Literal

from PIL import Image
from torch import Tensor

from foveal.data.dataset import LabelledSet
from foveal.data.image import ImageDecodeError
from foveal.report.html import Html, escape, tag

_PIXELATED = 64  # images up to this side are enlarged with visible pixels


class Album:
    """The images of a set by name, as thumbnails of at most `side` pixels."""

    def __init__(self, images: LabelledSet, side: int) -> None:
        self.images = images
        self.side = side
        self._number: dict[str, int] | None = None

    def find(self, name: str) -> int | None:
        """The place in the set of the image called `name`."""
        if self._number is None:
            self._number = {self.images.name(i): i for i in range(len(self.images))}
        return self._number.get(name)

    def thumbnail(self, index: int | None, description: str) -> Html:
        """The image as an element; where it cannot be had (any more), a tile that says so."""
        if index is None:
            return _missing("no longer in the set")
        try:
            image = self.images.load(index, min_side=self.side)
        except ImageDecodeError as error:
            return _missing(error.reason)
        return embed(image, description, self.side)


def embed(image: Tensor, description: str, side: int) -> Html:
    """A uint8 image [1 or 3, H, W] as an <img> whose data is in the page, at most `side` pixels wide and high."""
    picture = _pillow(image)
    small = max(picture.size) <= _PIXELATED
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _element(picture, description, "PNG" if small else "JPEG", "pixels" if small else "")


def embed_exact(image: Tensor, description: str) -> Html:
    """A uint8 image [1 or 3, H, W] as an <img> with every pixel kept."""
    return _element(_pillow(image), description, "PNG", "pixels")


def per_class(labels: Tensor, classes: int, most: int) -> Sequence[Sequence[int]]:
    """For each class up to `most` indices of its images, spread evenly over the set."""
    chosen = []
    for label in range(classes):
        members = (labels == label).nonzero().flatten().tolist()
        count = min(most, len(members))
        chosen.append([members[i * len(members) // count] for i in range(count)])
    return chosen


def _pillow(image: Tensor) -> Image.Image:
    array = image.cpu().permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _element(picture: Image.Image, description: str, kind: Literal["PNG", "JPEG"], class_: str) -> Html:
    buffer = io.BytesIO()
    if kind == "PNG":
        picture.save(buffer, kind, optimize=True)
    else:
        picture.save(buffer, kind, quality=82, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    width, height = picture.size
    classed = f' class="{class_}"' if class_ else ""
    return Html(
        f'<img src="data:image/{kind.lower()};base64,{data}" alt="{escape(description)}" title="{escape(description)}" '
        f'width="{width}" height="{height}"{classed}>'
    )


def _missing(reason: str) -> Html:
    return tag("span", escape(reason), class_="missing")
