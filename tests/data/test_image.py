"""load_image: every kind of picture file, and every kind of bad one, made here."""

import io
import pickle
import random
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from foveal.data.image import ImageDecodeError, load_image, verify

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def quadrants(height: int = 32, width: int = 48) -> Image.Image:
    """Red, green / blue, white: shows every turn and mirror."""
    pixels = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    pixels[:h, :w], pixels[:h, w:], pixels[h:, :w], pixels[h:, w:] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(pixels)


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.RandomState(3).randint(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def grey_tiff(rows: np.ndarray, bits: int, extra: tuple[tuple[int, int, int], ...] = (), white_is: int = 1) -> bytes:
    """A little-endian uncompressed TIFF of one strip, written by hand: Pillow writes no 12-bit and no huge ones."""
    height, width = rows.shape
    if bits == 12:
        left, right = rows[:, ::2].astype(int), rows[:, 1::2].astype(int)
        data = np.stack([left >> 4, (left & 15) << 4 | right >> 8, right & 255], -1).astype(np.uint8).tobytes()
    else:
        data = rows.tobytes()
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, white_is),
        (277, 3, 1),
        (278, 4, height),
    ]
    tags += [(279, 4, len(data)), *extra]
    entries = len(tags) + 1
    tags.append((273, 4, 8 + 2 + 12 * entries + 4))
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(tags))
    return b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", entries) + body + struct.pack("<I", 0) + data


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, *chunks: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + b"".join(chunks)


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_colour_is_exact_in_lossless_formats(format_name: str) -> None:
    options = {"lossless": True} if format_name == "WEBP" else {}
    expected = np.asarray(quadrants())
    found = load_image(encoded(quadrants(), format_name, **options))
    assert found.dtype == torch.uint8
    assert found.shape == (3, 32, 48)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("format_name", ["JPEG", pytest.param("AVIF", marks=pytest.mark.skipif(
    not features.check("avif"), reason="this Pillow was built without AVIF"))])  # fmt: skip
def test_lossy_formats(format_name: str) -> None:
    found = load_image(encoded(quadrants(), format_name, quality=95))
    expected = torch.from_numpy(np.array(quadrants())).permute(2, 0, 1)
    assert (found.int() - expected.int()).abs().float().mean() < 6


def test_grey_stays_one_channel_only_when_asked() -> None:
    data = encoded(Image.fromarray(noise(9, 7)), "PNG")
    assert torch.equal(load_image(data, mode=None), torch.from_numpy(noise(9, 7))[None])
    assert torch.equal(load_image(data, mode="L"), load_image(data, mode=None))
    assert torch.equal(load_image(data), load_image(data, mode=None).expand(3, -1, -1))
    assert load_image(encoded(quadrants(), "PNG"), mode=None).shape[0] == 3
    assert load_image(encoded(quadrants(), "PNG"), mode="L").shape[0] == 1


def test_black_and_white() -> None:
    pixels = noise(5, 11) > 127
    for format_name in ("PNG", "TIFF", "PPM", "BMP"):
        found = load_image(encoded(Image.fromarray(pixels), format_name), mode=None)
        assert torch.equal(found[0], torch.from_numpy(pixels).to(torch.uint8) * 255), format_name


def test_palette_with_and_without_transparency() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLUE])
    palette.putdata([0, 1])
    assert load_image(encoded(palette, "PNG"))[:, 0].T.tolist() == [list(RED), list(BLUE)]
    for transparency in (1, b"\xff\x00"):  # one index, or an alpha per index
        found = load_image(encoded(palette, "PNG", transparency=transparency))
        assert found[:, 0].T.tolist() == [list(RED), list(WHITE)]
    assert load_image(encoded(palette, "GIF", transparency=1))[:, 0].T.tolist() == [list(RED), list(WHITE)]


def test_alpha_is_laid_over_white() -> None:
    pixels = np.array([[(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 128)]], np.uint8)
    found = load_image(encoded(Image.fromarray(pixels, "RGBA"), "PNG"))
    assert found[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255], [127, 127, 127]]
    grey = Image.fromarray(np.array([[(0, 255), (0, 0)]], np.uint8), "LA")
    assert load_image(encoded(grey, "PNG"), mode=None).tolist() == [[[0, 255]]]


def test_colour_that_a_png_calls_transparent_is_white() -> None:
    data = encoded(Image.new("RGB", (2, 2), RED), "PNG", transparency=RED)
    assert load_image(data).unique().tolist() == [255]


def test_cmyk() -> None:
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for data in (encoded(inks, "JPEG", quality=95), encoded(inks, "TIFF")):
        red, green, blue = load_image(data).float().mean(dim=(1, 2)).tolist()
        assert red > 240
        assert max(green, blue) < 15


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_gives_its_high_byte(format_name: str) -> None:
    pixels = noise(6, 4, dtype=np.uint16)
    found = load_image(encoded(Image.fromarray(pixels), format_name), mode=None)
    assert torch.equal(found, torch.from_numpy((pixels >> 8).astype(np.uint8))[None])


def test_16_bit_grey_of_the_other_byte_order_and_12_bits() -> None:
    pixels = noise(6, 4, dtype=np.uint16)
    big = encoded(Image.frombytes("I;16B", (4, 6), pixels.astype(">u2").tobytes()), "TIFF")
    assert load_image(big, mode=None)[0].tolist() == (pixels >> 8).tolist()
    assert load_image(grey_tiff(pixels, 16), mode=None)[0].tolist() == (pixels >> 8).tolist()
    assert load_image(grey_tiff(pixels >> 4, 12), mode=None)[0].tolist() == (pixels >> 8).tolist()


def test_grey_tiff_whose_zero_is_white() -> None:
    deep, flat = noise(6, 4, dtype=np.uint16), noise(6, 4)
    assert load_image(grey_tiff(deep, 16, white_is=0), mode=None)[0].tolist() == (255 - (deep >> 8)).tolist()
    turned = grey_tiff(deep, 16, ((274, 3, 3),), white_is=0)
    assert load_image(turned, mode=None)[0].tolist() == (255 - (deep >> 8))[::-1, ::-1].tolist()
    assert load_image(grey_tiff(flat, 8, white_is=0), mode=None)[0].tolist() == (255 - flat).tolist()


def test_16_bit_transparent_grey_is_white() -> None:
    pixels = np.array([[0, 40_000]], np.uint16)
    data = encoded(Image.fromarray(pixels), "PNG")
    at = data.index(b"IDAT") - 4
    data = data[:at] + png_chunk(b"tRNS", struct.pack(">H", 0)) + data[at:]
    assert load_image(data, mode=None).tolist() == [[[255, 40_000 >> 8]]]


def test_16_bit_colour_gives_its_high_byte() -> None:
    row = b"\x00" + struct.pack(">3H", 0xFF12, 0x8034, 0x0056)
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(row)) + png_chunk(b"IEND", b"")
    assert load_image(data).flatten().tolist() == [0xFF, 0x80, 0x00]


@pytest.mark.parametrize("array", [noise(3, 3).astype(np.float32), noise(3, 3).astype(np.int32)])
def test_pixels_without_an_agreed_range_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageDecodeError, match="no agreed range"):
        load_image(encoded(Image.fromarray(array), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation: int, format_name: str) -> None:
    upright = quadrants()
    undo = {  # what a camera held that way would store
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if undo is None else upright.transpose(undo)
    found = load_image(encoded(stored, format_name, exif=exif.tobytes()))
    assert found.shape == (3, 32, 48)
    corners = [found[:, y, x].tolist() for y, x in ((4, 4), (4, 43), (27, 4), (27, 43))]
    for corner, colour in zip(corners, (RED, GREEN, BLUE, WHITE), strict=True):
        assert max(abs(a - b) for a, b in zip(corner, colour, strict=True)) < 40, orientation


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_spoil_a_whole_picture() -> None:
    data = encoded(quadrants(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert load_image(data).shape == (3, 32, 48)


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(format_name: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if format_name == "WEBP" else {}
    data = encoded(frames[0], format_name, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3  # type: ignore[attr-defined]
    assert load_image(data)[:, 4, 4].tolist() == list(RED)


@pytest.mark.parametrize(
    ("min_side", "size"), [(None, (600, 800)), (300, (300, 400)), (301, (600, 800)), (70, (75, 100)), (1, (75, 100))]
)
def test_draft_decodes_no_smaller_than_asked(min_side: int | None, size: tuple[int, int]) -> None:
    data = encoded(quadrants(600, 800), "JPEG")
    assert load_image(data, min_side=min_side).shape == (3, *size)


def test_draft_leaves_other_formats_alone() -> None:
    assert load_image(encoded(quadrants(64, 64), "PNG"), min_side=8).shape == (3, 64, 64)


def test_extension_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "picture.txt"
    path.write_bytes(encoded(quadrants(), "PNG"))
    assert load_image(path).shape == (3, 32, 48)
    assert load_image(str(path)).shape == (3, 32, 48)
    assert verify(path) is None


LOSSLESS = ("PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
WHOLE = {name: encoded(Image.fromarray(noise(64, 64, 3)), name) for name in (*LOSSLESS, "JPEG")}


@pytest.mark.parametrize("format_name", WHOLE)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated(format_name: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / "cut.img"
    path.write_bytes(WHOLE[format_name][: int(len(WHOLE[format_name]) * share)])
    with pytest.raises(ImageDecodeError) as caught:
        load_image(path)
    assert str(path) in caught.value.what
    assert caught.value.mend
    assert "\n" not in caught.value.what
    assert verify(path) == caught.value.reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, world", "is no picture"),
        (b"<!DOCTYPE html><html>", "text or HTML"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (encoded(quadrants(), "PNG")[:40], "truncated|damaged"),
    ],
)
def test_bad_files_say_why(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageDecodeError, match=reason) as caught:
        load_image(path)
    assert caught.value.file == str(path)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (workers send errors to the main process)
    assert (again.what, again.mend, again.reason) == (caught.value.what, caught.value.mend, caught.value.reason)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageDecodeError, match="no such file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ImageDecodeError, match="is not a file"):
        load_image(tmp_path)


def jpeg_header(width: int, height: int) -> bytes:
    data = encoded(Image.new("RGB", (8, 8)), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def webp_header(width: int, height: int, kind: bytes) -> bytes:
    if kind == b"VP8X":
        body = b"\x00" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif kind == b"VP8L":
        body = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(8)
    else:
        body = b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(8)
    chunk = kind + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def gif_header(width: int, height: int) -> bytes:
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00\x3b"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + image


def bmp_header(width: int, height: int) -> bytes:
    return (
        b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)
    )


SMALL = np.zeros((1, 8), np.uint16)
BOMBS = {
    "png": png_header(30_000, 30_000, png_chunk(b"IDAT", zlib.compress(bytes(1 << 20)))),
    "png-over-pillow's-warning": png_header(14_000, 14_000, png_chunk(b"IDAT", zlib.compress(bytes(1 << 20)))),
    "png-widest": png_header(2**31 - 1, 2**31 - 1, png_chunk(b"IDAT", b"")),
    "jpeg": jpeg_header(65_000, 65_000),
    "gif": gif_header(65_535, 65_535),
    "gif-frame": b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + gif_header(65_535, 65_535)[13:],
    "bmp": bmp_header(60_000, 60_000),
    "bmp-negative": bmp_header(60_000, -60_000),
    "webp-vp8x": webp_header(1 << 24, 1 << 24, b"VP8X"),
    "webp-vp8l": webp_header(16_384, 16_384, b"VP8L"),
    "webp-vp8": webp_header(16_383, 16_383, b"VP8 "),
    "ppm": b"P6\n90000 90000\n255\n" + bytes(100),
    "tiff": grey_tiff(SMALL, 16).replace(struct.pack("<HHII", 256, 4, 1, 8), struct.pack("<HHII", 256, 4, 1, 2**30)),
    "tiff-tile": grey_tiff(SMALL, 16, ((322, 4, 60_000), (323, 4, 60_000))),
    "png-iccp": png_header(8, 8, png_chunk(b"iCCP", b"x\x00\x00" + zlib.compress(bytes(1 << 26)))),
    "png-ztxt": png_header(8, 8, *[png_chunk(b"zTXt", b"x\x00\x00" + zlib.compress(bytes(1 << 26)))] * 4),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bomb", BOMBS)
def test_decompression_bombs_are_refused_at_once(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # the limit does not hang on Pillow's own
    times = []
    for _ in range(5):
        start = time.perf_counter()
        with pytest.raises(ImageDecodeError) as caught:
            load_image(BOMBS[bomb])
        times.append(time.perf_counter() - start)
    if not bomb.startswith("png-i") and not bomb.startswith("png-z"):
        assert "more than the limit" in caught.value.reason
    assert min(times) < 0.05


def test_limit_is_configurable_and_exact() -> None:
    data = encoded(Image.new("L", (100, 100)), "PNG")
    assert load_image(data, max_pixels=10_000).shape == (3, 100, 100)
    with pytest.raises(ImageDecodeError, match="100 × 100 pixels"):
        load_image(data, max_pixels=9_999)


MEASURE = """
import pickle, resource, sys
from foveal.data.image import ImageDecodeError, load_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for data in pickle.load(sys.stdin.buffer):
    try:
        load_image(data)
    except ImageDecodeError:
        continue
    raise SystemExit("a bomb was opened")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured in the units of Linux")
def test_bombs_take_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=pickle.dumps(list(BOMBS.values())), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) <= 64


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format_name", WHOLE)
def test_mutated_files_raise_nothing_else(format_name: str) -> None:
    chance = random.Random(format_name)
    slowest = 0.0
    for _ in range(150):
        data = bytearray(WHOLE[format_name])
        for _ in range(chance.choice((1, 3, 20))):
            data[chance.randrange(min(len(data), chance.choice((64, len(data)))))] = chance.randrange(256)
        start = time.perf_counter()
        try:
            found = load_image(bytes(data), max_pixels=4_000_000)
        except ImageDecodeError as error:
            assert error.reason
        else:
            assert found.dtype == torch.uint8
            assert found.shape[0] == 3
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 1
