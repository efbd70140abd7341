"""Pictures that occur twice: exactly, whatever the file format, or nearly, recompressed, resized or retouched.

Every image becomes three prints: a digest of its decoded pixels, a hash of 64 bits, and 256 numbers for its detail, in
all about 1 kB. Equal digests are exact duplicates. Near ones are searched in two steps. The hash says which of the
64 lowest frequencies of the picture at 32 × 32 are clearly positive (a perceptual hash by the discrete cosine
transform, after C. Zauner, 2010; not the bare signs, for those of weak frequencies, of a sky, are noise), and *all*
pairs that differ in at most 8 bits are found without comparing all with all: of four bands of 16 bits one must differ
in 2 bits at most, so only the 137 neighbouring buckets of each band are looked into (multi-index hashing, M. Norouzi,
A. Punjani, D. Fleet, CVPR 2012, section 3). Then each pair's details are correlated.

What correlation makes a duplicate depends on the set: two strangers' handwritten ones agree better than two copies of a
photograph that were cropped by different hands. But copies and coincidences grow differently. Within distance d of each
other there are about as many copies as within 2 d, while coincidences in a set whose pictures vary in k directions grow
by 2^(k/2). So the limit is put where the pairs begin to multiply (`limit`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_RADIUS, _RADIUS_FEW, _FEW = 8, 11, 10_000  # coincidences and time grow with the square of the number of images
_SIDE = 32
_KEPT = 16  # frequencies per direction that the detail holds
_BANDS = 4
_BAND_BITS = 16
_CHUNK = 1 << 21  # pairs looked at together: 16 MB a column
_WIDEST = 0.2  # distance (1 - correlation) beyond which two pictures are never called duplicates
_GRID = (*(0.0025 * 2 ** (step / 2) for step in range(13)), _WIDEST)
_WEAK = 0.02  # share of the detail's length below which a frequency's sign is a matter of noise
_BLANK = 2.0  # grey levels of standard deviation below which a picture has nothing to compare
_GREY = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Prints:
    """The prints of N images: digests (16 bytes each), hashes uint64 [N], details float32 [N, 256], blank bool [N].

    `details` are unit vectors; those of blank images, which have no detail to speak of, are zero.
    """

    digests: Sequence[bytes]
    hashes: Array
    details: Array
    blank: Array

    @staticmethod
    def join(parts: Sequence[Prints]) -> Prints:
        """The prints of several groups of images as one."""
        return Prints(
            [digest for part in parts for digest in part.digests],
            np.concatenate([part.hashes for part in parts] or [np.zeros(0, np.uint64)]),
            np.concatenate([part.details for part in parts] or [np.zeros((0, _KEPT * _KEPT), np.float32)]),
            np.concatenate([part.blank for part in parts] or [np.zeros(0, bool)]),
        )


@dataclass(frozen=True)
class NearPairs:
    """Near duplicates: first and second int64 [P], first < second, similarity float32 [P] in [-1, 1], descending.

    `limit` is the least similarity that was called a duplicate, None when the set offers none.
    """

    first: Array
    second: Array
    similarity: Array
    limit: float | None


def digest(image: Tensor) -> bytes:
    """16 bytes that are equal for equal pixels of uint8 [C, H, W]; grey stored as colour counts as grey."""
    if image.shape[0] == 3 and torch.equal(image[0], image[1]) and torch.equal(image[0], image[2]):
        image = image[:1]
    made = hashlib.blake2b(repr(tuple(image.shape)).encode(), digest_size=16)
    made.update(image.contiguous().numpy().data)
    return made.digest()


def thumbnails(images: Tensor) -> Tensor:
    """Pictures uint8 [N, C, H, W] at 32 × 32, grey, float32 [N, 32, 32]: what the perceptual prints are made of."""
    small = functional.interpolate(images, size=(_SIDE, _SIDE), mode="bilinear", antialias=True).float()
    return small[:, 0] if small.shape[1] == 1 else torch.einsum("nchw,c->nhw", small, _GREY)


def prints(digests: Sequence[bytes], small: Tensor) -> Prints:
    """The prints of N images from their digests and their thumbnails float32 [N, 32, 32]."""
    frequency, place = torch.arange(_KEPT)[:, None], torch.arange(_SIDE)[None]
    cosines = torch.cos(torch.pi * frequency * (2 * place + 1) / (2 * _SIDE))
    spectrum = (cosines @ small @ cosines.T).flatten(1)  # [N, 256]
    row = torch.arange(_KEPT, dtype=torch.float32)
    radius = torch.hypot(row[:, None], row[None]).flatten()
    # Natural pictures have amplitudes of 1/frequency (D. J. Field, 1987): the weight makes all scales count alike.
    detail = spectrum * torch.where(radius < _KEPT, radius, 0)
    lowest = detail[:, torch.argsort(radius, stable=True)[1:65]]  # without the mean
    bits = np.packbits((lowest > _WEAK * lowest.norm(dim=1, keepdim=True)).numpy(), axis=1)
    blank = small.flatten(1).std(1) < _BLANK
    detail = detail / detail.norm(dim=1, keepdim=True).clamp_min(1e-12) * ~blank[:, None]
    return Prints(list(digests), bits.view(np.uint64).ravel(), detail.numpy(), blank.numpy())


def exact_groups(digests: Sequence[bytes]) -> list[list[int]]:
    """The images with equal pixels: groups of two or more ascending indices, in the order of their first."""
    groups: dict[bytes, list[int]] = {}
    for i, value in enumerate(digests):
        groups.setdefault(value, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def near_pairs(found: Prints, threshold: float | None = None, radius: int | None = None) -> NearPairs:
    """The near duplicates among images whose pixels are not equal; blank images have none.

    Of exact duplicates the first stands for all. `threshold` is the least similarity (correlation of details); None
    lets the set decide, see `limit`. `radius` is the number of the hash's bits in which a pair may differ: 8, and 11
    among 10,000 images or fewer, where coincidences are rare.
    """
    if radius is None:
        radius = _RADIUS_FEW if len(found.digests) <= _FEW else _RADIUS
    firsts_of: dict[bytes, int] = {}
    for at, value in enumerate(found.digests):
        firsts_of.setdefault(value, at)
    chosen: Array = np.array(list(firsts_of.values()), np.int64)
    chosen = np.asarray(chosen[~found.blank[chosen]])
    least = threshold if threshold is not None else 1 - 2 * _WIDEST
    firsts, seconds, similarities = [], [], []
    for i, j in pairs_within(found.hashes[chosen], radius):
        first, second = chosen[i], chosen[j]
        similarity = _similarity(found.details, first, second)
        keep = similarity >= least
        firsts.append(first[keep])
        seconds.append(second[keep])
        similarities.append(similarity[keep])
    first, second = (np.concatenate([*part, np.zeros(0, np.int64)]).astype(np.int64) for part in (firsts, seconds))
    similarity = np.concatenate([*similarities, np.zeros(0, np.float32)])
    bound = threshold if threshold is not None else limit(similarity)
    kept: Array = np.flatnonzero(similarity >= bound) if bound is not None else np.zeros(0, np.int64)
    kept = kept[np.lexsort((second[kept], first[kept], -similarity[kept]))]
    return NearPairs(first[kept], second[kept], similarity[kept], bound)


def limit(similarity: Array) -> float | None:
    """The least similarity that still tells copies from coincidences, judged by how pairs multiply with distance.

    If f of the n pairs within distance d are coincidences, and these grow at least eightfold when d doubles (pictures
    that vary in six directions or more), then 7 f ≤ n(2 d) - n(d). d grows as long as this holds f below a third of n,
    one step that fails by chance excepted; three pairs more are always allowed, or sets with a handful of pairs could
    have none. None when no d will do.
    """
    distance = np.sort(1 - similarity)
    best: float | None = None
    failed = 0
    for d in _GRID:
        within, doubled = np.searchsorted(distance, (d, 2 * d), side="right")
        if doubled - within <= 7 * within / 3 + 3:
            best, failed = 1 - d, 0
        else:
            failed += 1
            if failed == 2:
                break
    return best


def pairs_within(hashes: Array, radius: int = _RADIUS) -> Iterator[tuple[Array, Array]]:
    """All pairs i < j of uint64 hashes [N] that differ in at most `radius` bits (0 to 11), each once, in chunks."""
    if not 0 <= radius < 3 * _BANDS:
        raise ValueError(f"a radius of {radius} bits: 0 to {3 * _BANDS - 1} are searched")
    # bit k goes to band k mod 4, so that each band has high and low frequencies and its buckets fill evenly
    bits = np.unpackbits(hashes.reshape(-1, 1).view(np.uint8), axis=1)
    bands = [np.packbits(bits[:, band::_BANDS], axis=1).view(np.uint16).ravel() for band in range(_BANDS)]
    reach = radius // _BANDS  # by the pigeonhole principle one band differs in no more bits
    masks = [sum(1 << bit for bit in chosen) for n in range(reach + 1) for chosen in combinations(range(16), n)]
    for band, keys in enumerate(bands):
        order = np.argsort(keys, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << _BAND_BITS))])
        for mask in masks:
            for i, j in _neighbours(keys[order], starts, mask):
                first, second = order[i], order[j]
                near = _ones(hashes[first] ^ hashes[second]) <= radius
                first, second = first[near], second[near]
                for earlier in bands[:band]:  # found there already?
                    new = _ones((earlier[first] ^ earlier[second]).astype(np.uint64)) > reach
                    first, second = first[new], second[new]
                if len(first):
                    yield np.minimum(first, second), np.maximum(first, second)


def _neighbours(keys: Array, starts: Array, mask: int) -> Iterator[tuple[Array, Array]]:
    """Positions (i, j) in sorted keys with key[j] = key[i] ^ mask, each pair once, in chunks."""
    here = np.arange(len(keys))
    partner = keys ^ np.uint16(mask)
    low, high = starts[partner], starts[partner.astype(np.int64) + 1]
    low = np.maximum(low, here + 1)  # a partner further on; the pair's other half has it before itself
    many = np.maximum(high - low, 0)
    here, low, many = here[many > 0], low[many > 0], many[many > 0]
    ends = np.cumsum(many)
    start = 0
    while start < len(here):
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + _CHUNK, side="right")), start + 1)
        count = many[start:stop]
        offset = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        yield np.repeat(here[start:stop], count), np.repeat(low[start:stop], count) + offset
        start = stop


def _ones(values: Array) -> Array:
    """The number of one bits in each uint64."""
    if hasattr(np, "bitwise_count"):  # NumPy 2; the arithmetic below is four times slower
        return np.asarray(np.bitwise_count(values))
    v = values - ((values >> np.uint64(1)) & np.uint64(0x5555555555555555))
    v = (v & np.uint64(0x3333333333333333)) + ((v >> np.uint64(2)) & np.uint64(0x3333333333333333))
    v = (v + (v >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.asarray((v * np.uint64(0x0101010101010101)) >> np.uint64(56))


def _similarity(details: Array, first: Array, second: Array) -> Array:
    """The correlation of each pair's details, float32 [P]."""
    out = np.empty(len(first), np.float32)
    for start in range(0, len(first), 1024):  # both operands of 1024 pairs stay in the cache
        part = slice(start, start + 1024)
        np.einsum("nd,nd->n", details[first[part]], details[second[part]], out=out[part])
    return out
