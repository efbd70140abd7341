"""What a segmenter sees in pictures: the class of every pixel, in the picture's own size."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from foveal.data import drawing
from foveal.data.image import load_image
from foveal.errors import FovealError
from foveal.prediction.files import viewer
from foveal.protocols._ahead import ahead
from foveal.training.segmenter import Progress, Segmenter
from foveal.training.tiles import Seams

_AHEAD = 2  # pictures decoded while one is being looked at
_TOLD = {
    "none": "",
    "exact": "{} tiles, whose seams are exact",
    "blended": "{} tiles, blended where they overlap, for the network sees further",
}


@dataclass(frozen=True)
class MaskPrediction:
    """The class of every pixel of one file, `labels` uint8 [H, W], or the reason why it could not be read.

    `tiles` pieces it was cut into, and what their `seams` are (see `foveal.training.tiles.Tiling`).
    """

    file: str
    classes: tuple[str, ...]
    labels: Tensor | None
    tiles: int = 1
    seams: Seams = "none"
    error: str | None = None

    def shares(self) -> list[tuple[str, float]]:
        """Each class with its share of the pixels, in 0 … 1, the largest first; of an unreadable file none."""
        if self.labels is None:
            return []
        counts = self.labels.flatten().bincount(minlength=len(self.classes)).tolist()
        pairs = zip(self.classes, counts, strict=True)
        return sorted(((name, n / self.labels.numel()) for name, n in pairs), key=lambda pair: -pair[1])

    def overlay(self) -> Image.Image:
        """The picture, read again, in grey under the colours of its classes, with a legend."""
        pixels = drawing.veiled(load_image(self.file, mode=None), self._found, len(self.classes))
        lines = [
            (f"{name}  {100 * share:.1f} %", drawing.class_colour(self.classes.index(name), len(self.classes)))
            for name, share in self.shares()
            if share > 0
        ]
        return drawing.with_legend(pixels, lines)

    def mask(self) -> Image.Image:
        """The class numbers as a picture of 8 bits whose palette has the classes' colours."""
        picture = Image.fromarray(self._found.numpy())  # of mode L
        palette = [value for i in range(len(self.classes)) for value in drawing.class_colour(i, len(self.classes))]
        picture.putpalette(palette)  # makes it mode P: the numbers stay
        return picture

    def save_overlay(self, file: str | os.PathLike[str]) -> Path:
        """Write the overlay as PNG. FovealError for another ending or a bad place."""
        return _written(self.overlay(), Path(file))

    def save_mask(self, file: str | os.PathLike[str]) -> Path:
        """Write the mask as PNG, as foveal's own sets of masks have them."""
        return _written(self.mask(), Path(file))

    def as_json(self) -> dict[str, Any]:
        """Plain values: file, size and the classes' shares, or the error."""
        if self.labels is None:
            return {"file": self.file, "error": self.error}
        height, width = self.labels.shape
        shares = [{"name": name, "share": share} for name, share in self.shares()]
        return {
            "file": self.file,
            "width": width,
            "height": height,
            "tiles": self.tiles,
            "seams": self.seams,
            "classes": shares,
        }

    def text(self) -> str:
        """One line for the terminal."""
        if self.labels is None:
            return f"{self.file}: not read: {self.error}"
        found = ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.shares() if share > 0)
        more = _TOLD[self.seams].format(self.tiles)
        return f"{self.file}: {found}" + (f" ({more})" if more else "")

    @property
    def _found(self) -> Tensor:
        if self.labels is None:
            raise FovealError(f"{self.file} was not read: {self.error}", "nothing can be drawn")
        return self.labels


def predict_masks(
    segmenter: Segmenter, paths: Sequence[str], *, strict: bool = False, progress: Progress | None = None
) -> Iterator[MaskPrediction]:
    """One MaskPrediction per file, in order. `strict` and `progress` are those of `foveal.prediction.predictions`."""
    done = 0
    for views in ahead(paths, viewer(lambda image, path: image, strict), _AHEAD):
        for path, view in zip(paths[done:], views, strict=False):
            if isinstance(view, str):
                yield MaskPrediction(path, segmenter.classes, None, error=view)
                continue
            yield _seen(segmenter, path, view, progress)
        done += len(views)


def _seen(segmenter: Segmenter, path: str, image: Tensor, progress: Progress | None) -> MaskPrediction:
    try:
        labels, cut = segmenter.classified(image, progress)
    except FovealError as error:
        raise FovealError(f"{path}: {error.what}", error.mend) from error
    return MaskPrediction(path, segmenter.classes, labels, cut.count, cut.seams)


def _written(picture: Image.Image, file: Path) -> Path:
    if file.suffix.lower() != ".png":
        raise FovealError(f"{file}: masks and overlays are written as .png", "give such a name")
    drawing.save(picture, file)
    return file
