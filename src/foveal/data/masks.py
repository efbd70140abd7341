"""Images with a mask each: the class of every pixel."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from foveal.data.boxset import Fault
from foveal.data.dataset import VisionSet
from foveal.data.image import load_image, verify
from foveal.data.resources import cores
from foveal.errors import FovealError
from foveal.types import IGNORED

Colours = Sequence[tuple[int, int, int]]
_FORMATS = ("PNG", "BMP", "TIFF", "GIF")


class MaskSet(VisionSet):
    """Images in files, each with a mask in another: `masks[i]` belongs to `paths[i]`.

    A mask is a PNG of class numbers (grey or palette), or, where `colours` are given, of the colour of each class.
    `ignore` are the values of pixels that have no class; `target(i)` gives them as 255 (`foveal.types.IGNORED`).
    colours: red, green, blue of each class, 0 to 255; other colours are an error, except that of `ignored_colours`.
    values: the number in the files of each class, where they are not 0, 1, 2 …
    faults: what was found wrong when the set was read; an error among them stops `settled`.
    """

    task: ClassVar[str] = "segment"

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        masks: Sequence[str | os.PathLike[str]],
        classes: Sequence[str],
        split: str,
        *,
        ignore: Sequence[int] = (IGNORED,),
        colours: Colours | None = None,
        ignored_colours: Colours = (),
        values: Sequence[int] | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        super().__init__(classes, split)
        if len(paths) != len(masks):
            raise ValueError(f"{len(paths)} images, but {len(masks)} masks")
        if not classes:
            raise FovealError(f"the masks of {split} have no classes", "list them, a name a line, in classes.txt")
        if len(classes) > IGNORED:
            raise FovealError(f"{len(classes)} classes", f"a mask of bytes tells at most {IGNORED}")
        if colours is not None and len(colours) != len(classes):
            raise FovealError(f"{len(colours)} colours for {len(classes)} classes", "give each class one colour")
        self.paths = tuple(os.fspath(path) for path in paths)
        self.masks = tuple(os.fspath(path) for path in masks)
        self.ignore, self.colours, self.ignored_colours = tuple(ignore), colours, ignored_colours
        self.values = tuple(range(len(classes)) if values is None else values)
        self.faults = tuple(faults)

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, i: int, min_side: int | None = None) -> Tensor:
        """Image i as uint8 [C, H, W]. Raises ImageDecodeError."""
        return load_image(self.paths[i], mode=None, min_side=min_side)

    def target(self, i: int) -> tv_tensors.Mask:
        """The mask of image i, uint8 [H, W]: class numbers, and 255 where there is none.

        Raises FovealError, naming the file, for one that cannot be read, and for a value or colour of no class.
        """
        values = _values(self.masks[i])
        numbers = self._by_number(i, values) if self.colours is None else self._by_colour(i, values)
        return tv_tensors.Mask(torch.from_numpy(numbers))

    def verify(self, i: int) -> str | None:
        """Why the image cannot be read, or None. Raises FovealError for a mask that is wrong, or of another size."""
        reason = verify(self.paths[i])
        if reason is None:
            mask, image = tuple(self.target(i).shape), self.load(i).shape[-2:]
            if mask != tuple(image):
                raise FovealError(
                    f"{self.masks[i]}: the mask is {mask[1]} x {mask[0]}, its image {image[1]} x {image[0]}",
                    "masks have their image's size; EXIF rotation counts",
                )
        return reason

    def size(self, i: int) -> tuple[int, int] | None:
        """Height and width of mask i from its file's head, or None where that cannot be read."""
        try:
            with Image.open(self.masks[i], formats=_FORMATS) as mask:
                return mask.height, mask.width
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None

    def name(self, i: int) -> str:
        """The image's path."""
        return self.paths[i]

    def select(self, indices: Sequence[int] | Tensor, split: str | None = None) -> Self:
        """The images and masks at `indices`."""
        index = torch.as_tensor(indices, dtype=torch.int64).tolist()
        paths, masks = [self.paths[i] for i in index], [self.masks[i] for i in index]
        options: dict[str, Any] = {
            "ignore": self.ignore,
            "colours": self.colours,
            "ignored_colours": self.ignored_colours,
            "values": self.values,
            "faults": self.faults,
        }
        return type(self)(paths, masks, self.classes, split or self.split, **options)

    def settled(self) -> Self:
        """The set itself, if no fault is an error: then the first is raised."""
        errors = [fault for fault in self.faults if fault.severity == "error"]
        if errors:
            more = f" (and {len(errors) - 1} more faults: `foveal data` lists them)" if len(errors) > 1 else ""
            raise FovealError(errors[0].where + more, errors[0].mend)
        return self

    @cached_property
    def census(self) -> tuple[Tensor, dict[int, FovealError]]:
        """Pixels of each value of `target` in each mask, int64 [N, 256], and of masks that are wrong why: by place."""
        pixels = torch.zeros(len(self), IGNORED + 1, dtype=torch.int64)
        wrong: dict[int, FovealError] = {}

        def one(i: int) -> None:
            try:
                pixels[i] = self.target(i).as_subclass(Tensor).flatten().bincount(minlength=IGNORED + 1)
            except FovealError as error:
                wrong[i] = error

        with ThreadPoolExecutor(min(8, cores())) as pool:
            list(pool.map(one, range(len(self))))
        return pixels, dict(sorted(wrong.items()))

    @property
    def strata(self) -> Tensor:
        """Zeros: a cut is random."""
        return torch.zeros(len(self), dtype=torch.int64)

    def signature(self) -> bytes:
        """A digest of the masks' files."""
        digest = hashlib.sha256()
        for mask in self.masks:
            digest.update(hashlib.sha256(Path(mask).read_bytes()).digest())
        return digest.digest()

    def _by_number(self, i: int, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if values.ndim != 2:
            raise FovealError(
                f"{self.masks[i]}: a mask in colours, but nothing says which colour is which class",
                "add a table of colours (colours.txt: red green blue name), or masks of class numbers",
            )
        table = np.full(256, IGNORED, np.uint8)
        table[list(self.values)] = np.arange(len(self.classes), dtype=np.uint8)
        table[list(self.ignore)] = IGNORED
        strange = sorted(set(np.unique(values).tolist()) - {*self.values, *self.ignore})
        if strange:
            known = f"{self.values[0]} to {self.values[-1]}" if len(self.values) > 1 else str(self.values[0])
            raise FovealError(
                f"{self.masks[i]}: value {strange[0]}, but the {len(self.classes)} classes are {known} and ignored is "
                f"{', '.join(map(str, self.ignore)) or 'nothing'}",
                "mend the mask, or add the class to classes.txt",
            )
        numbers: NDArray[np.uint8] = table[values]
        return numbers

    def _by_colour(self, i: int, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        assert self.colours is not None  # the caller looked
        if values.ndim == 2:
            values = np.repeat(values[..., None], 3, 2)
        codes = (values.astype(np.uint32) * np.array([1 << 16, 1 << 8, 1], np.uint32)).sum(2, dtype=np.uint32)
        known = {_code(c): n for n, c in enumerate(self.colours)} | {_code(c): IGNORED for c in self.ignored_colours}
        found, places = np.unique(codes, return_inverse=True)
        for code in found.tolist():
            if code not in known:
                colour = (code >> 16, code >> 8 & 255, code & 255)
                raise FovealError(
                    f"{self.masks[i]}: colour {colour} is that of no class",
                    "add it to the table of colours; JPEG blurs colours: masks must be PNG",
                )
        return np.array([known[code] for code in found.tolist()], np.uint8)[places.reshape(codes.shape)]


def _code(colour: tuple[int, int, int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _values(file: str) -> NDArray[np.uint8]:
    """A mask's file as it is: uint8 [H, W] of numbers or palette places, or [H, W, 3] of colours."""
    try:
        with Image.open(file, formats=_FORMATS) as image:
            if image.mode not in ("L", "P", "1", "RGB", "RGBA"):
                raise FovealError(f"{file}: a mask of mode {image.mode}", "save it as PNG of 8 bits")
            plain = image.convert("L" if image.mode == "1" else "RGB") if image.mode in ("1", "RGBA") else image
            return np.asarray(plain, np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FovealError(f"{file}: the mask cannot be read: {error}", "masks are PNG; save it again") from error
