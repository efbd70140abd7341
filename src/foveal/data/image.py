"""Any picture file as a uint8 tensor, safely: the one place where foveal decodes images.

Formats are told by their first bytes, never by the file's name, and each is opened by its own Pillow plug-in: so the
pixel limit is ours, holds for every file and does not depend on Pillow's global setting or on a warning filter.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Literal, SupportsIndex

import numpy as np
import torch
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from torch import Tensor

from foveal.errors import FovealError

MAX_PIXELS = 178_000_000
SUFFIXES = frozenset(
    f".{name}"
    for names in ("jpg jpeg jpe jfif", "png apng", "gif", "webp", "avif", "bmp dib", "tif tiff", "ppm pgm pbm pnm")
    for name in names.split()
)
"""Names that say «picture»: what a folder is searched for. `load_image` itself goes by the first bytes."""

_Opener = Callable[[IO[bytes], str], ImageFile.ImageFile]
_SIGNATURES: tuple[tuple[int, bytes, _Opener], ...] = (
    (0, b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (0, b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (0, b"GIF87a", GifImagePlugin.GifImageFile),
    (0, b"GIF89a", GifImagePlugin.GifImageFile),
    (8, b"WEBP", WebPImagePlugin.WebPImageFile),
    (0, b"BM", BmpImagePlugin.BmpImageFile),
    (0, b"II*\x00", TiffImagePlugin.TiffImageFile),
    (0, b"MM\x00*", TiffImagePlugin.TiffImageFile),
    (0, b"II+\x00", TiffImagePlugin.TiffImageFile),
    (0, b"MM\x00+", TiffImagePlugin.TiffImageFile),
    (4, b"ftypavif", AvifImagePlugin.AvifImageFile),
    (4, b"ftypavis", AvifImagePlugin.AvifImageFile),
    *((0, b"P%d" % kind, PpmImagePlugin.PpmImageFile) for kind in range(1, 7)),
)
_FOREIGN = (
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"<", "text or HTML"),
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CONVERT = "convert it to JPEG or PNG, or take it out of the set"


class ImageDecodeError(FovealError):
    """A file that is no readable picture: `file`, `reason` and the mend."""

    def __init__(self, file: str, reason: str, mend: str) -> None:
        self.file = file
        self.reason = reason
        super().__init__(f"{file}: {reason}", mend)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[type[FovealError], tuple[str, ...]]:
        return type(self), (self.file, self.reason, self.mend)


class _RefusedError(Exception):
    """A reason of our own (not Pillow's) why a picture is not taken, with its mend."""


def load_image(
    source: str | os.PathLike[str] | bytes,
    mode: Literal["RGB", "L"] | None = "RGB",
    min_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """Decode one picture to a uint8 tensor [C, H, W], upright, C = 3 for "RGB", 1 for "L".

    `mode` None keeps what the file holds: 1 channel for grey and black-and-white files, 3 for all others. EXIF rotation
    is applied, transparency is laid over white, 16-bit values give their high byte, of an animation the first frame is
    taken. With `min_side` a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, no side below `min_side` pixels. The
    tensor is a view with the decoder's strides (channels last).

    Raises ImageDecodeError for whatever cannot be decoded, and from the header alone for more than `max_pixels`.
    """
    name = f"<{len(source)} bytes>" if isinstance(source, bytes) else os.fspath(source)
    try:
        with _stream(source) as stream:
            image = _open(stream, max_pixels)
            if min_side is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
                image.draft(None, (min_side, min_side))
            image.load()
            array = _pixels(image, mode)
    except _RefusedError as refused:
        reason, mend = refused.args
        raise ImageDecodeError(name, reason, mend) from refused
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, struct.error, KeyError, … on bad bytes
        raise ImageDecodeError(name, _plain(error), "save or download it again, or take it out of the set") from error
    tensor = torch.from_numpy(array)
    return tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)


def verify(path: str | os.PathLike[str]) -> str | None:
    """The reason why a file cannot be loaded, or None. All its data is read, a JPEG's at 1/8 of its size."""
    try:
        load_image(path, mode=None, min_side=1)
    except ImageDecodeError as error:
        return error.reason
    return None


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height in pixels as `load_image` gives the picture, from the header alone. Raises ImageDecodeError."""
    name = os.fspath(path)
    try:
        with _stream(path) as stream:
            image = _open(stream, MAX_PIXELS)
            turned = _orientation(image) >= 5
            return (image.height, image.width) if turned else (image.width, image.height)
    except _RefusedError as refused:
        reason, mend = refused.args
        raise ImageDecodeError(name, reason, mend) from refused
    except Exception as error:  # as in load_image
        raise ImageDecodeError(name, _plain(error), "save or download it again, or take it out of the set") from error


def _stream(source: str | os.PathLike[str] | bytes) -> IO[bytes]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = Path(source)
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would hang
        raise _RefusedError("is not a file", "give the path of a picture")
    return path.open("rb")


def _open(stream: IO[bytes], max_pixels: int) -> ImageFile.ImageFile:
    """Read the header only. Refuses unknown formats and too many pixels."""
    head = stream.read(32)
    stream.seek(0)
    if not head:
        raise _RefusedError("the file is empty", "save or download it again, or take it out of the set")
    opener = next((opener for at, bytes_, opener in _SIGNATURES if head.startswith(bytes_, at)), None)
    if opener is None:
        kind = next((kind for at, bytes_, kind in _FOREIGN if head.startswith(bytes_, at)), None)
        raise _RefusedError(f"is {kind}" if kind else f"is no picture (it starts with {head[:8]!r})", _CONVERT)
    if opener is WebPImagePlugin.WebPImageFile:
        _limit(*_webp_size(head), max_pixels)  # Pillow's plug-in allocates the canvas when it opens the file
    image = opener(stream, "")
    _limit(*image.size, max_pixels)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width, height = (int(image.tag_v2.get(tag, 1)) for tag in (322, 323))
        _limit(width, height, max_pixels)  # of a tile: it is decoded as a whole
    return image


def _limit(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise _RefusedError(
            f"{width} × {height} pixels are more than the limit of {max_pixels:,}",
            "a decompression bomb? If it is a picture of yours, make it smaller",
        )


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height of a WebP's canvas, from its first 30 bytes (RFC 9649, sections 2.4 to 2.7)."""
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation 1 … 8 (Exif 3.0, tag 274); 1 without any."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # unreadable EXIF data in a picture whose pixels are whole: shown unturned by every viewer
        return 1


def _pixels(image: Image.Image, mode: Literal["RGB", "L"] | None) -> np.ndarray:
    """uint8 [H, W, 3] or [H, W] of any Pillow mode that has an agreed range."""
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith("I"):
        image = _from_16_bits(image)
    elif image.mode == "F":
        raise _RefusedError("its pixels are floating-point numbers, which have no agreed range", _CONVERT)
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
    wanted = mode or ("L" if grey else "RGB")
    if image.mode != wanted:
        image = image.convert(wanted)
    return np.array(image if turn is None else image.transpose(turn))


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 9 to 16 bits a pixel to 8: the high byte, as Pillow itself does for 16-bit colour."""
    bits = 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = int(image.tag_v2.get(258, (16,))[0])
        if image.mode == "I":
            raise _RefusedError("its pixels are signed or 32-bit integers, which have no agreed range", _CONVERT)
    values = np.array(image).astype(np.uint16)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(262) == 0:
        values = 65535 - values  # zero is white: Pillow heeds that up to 8 bits only
    grey = (values >> (bits - 8)).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _plain(error: Exception) -> str:
    """Pillow's reason in one line of plain words."""
    text = " ".join(str(error).split())
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "the file may not be read (permission denied)"
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return "the file is truncated"
    return f"the file is damaged ({text or type(error).__name__})"
