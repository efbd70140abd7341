"""Duplicates: the search finds every pair, copies are told from coincidences."""

from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from foveal.data.dataset import ArraySet
from foveal.data.duplicates import (
    Prints,
    _ones,
    digest,
    exact_groups,
    limit,
    near_pairs,
    pairs_within,
    prints,
    thumbnails,
)
from foveal.data.image import load_image
from foveal.data.open import open_data


def photos(count: int, side: int = 64) -> list[Tensor]:
    """Different tiles of two photographs, uint8 [3, side, side]."""
    big = [torch.from_numpy(photo.copy()).permute(2, 0, 1) for photo in load_sample_images().images]
    tiles = [
        photo[:, y : y + side, x : x + side] for photo in big for y in range(0, 360, 72) for x in range(0, 560, 72)
    ]
    lively = [tile for tile in tiles if tile.float().std() > 30]
    return lively[:count]


def prints_of(images: list[Tensor]) -> Prints:
    return prints([digest(image) for image in images], torch.cat([thumbnails(image[None]) for image in images]))


def saved(image: Tensor, kind: str, **options: int) -> Tensor:
    stream = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(stream, kind, **options)
    return load_image(stream.getvalue())


def resized(image: Tensor, side: int) -> Tensor:
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).resize(
        (side, side), Image.Resampling.LANCZOS
    )
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def brute_force(hashes: np.ndarray, radius: int) -> set[tuple[int, int]]:
    return {
        (i, j) for i, j in combinations(range(len(hashes)), 2) if bin(int(hashes[i] ^ hashes[j])).count("1") <= radius
    }


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 11), st.integers(2, 150))
def test_every_pair_within_the_radius_is_found_once(seed: int, radius: int, count: int) -> None:
    random = np.random.default_rng(seed)
    centres = random.integers(0, 2**64, 5, dtype=np.uint64)
    hashes = centres[random.integers(0, 5, count)]
    for _ in range(6):  # up to six flipped bits each: distances of 0 to 12 within a crowd, hundreds of pairs
        hashes = hashes ^ (np.uint64(1) << random.integers(0, 64, count, dtype=np.uint64))
    found = [pair for i, j in pairs_within(hashes, radius) for pair in zip(i.tolist(), j.tolist(), strict=True)]
    assert len(found) == len(set(found))
    assert set(found) == brute_force(hashes, radius)


def test_a_crowd_is_searched_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foveal.data.duplicates._CHUNK", 7)
    found = {p for i, j in pairs_within(np.zeros(40, np.uint64)) for p in zip(i.tolist(), j.tolist(), strict=True)}
    assert found == set(combinations(range(40), 2))


def test_bits_are_counted_the_same_by_old_and_new_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    counted = [bin(int(value)).count("1") for value in values]
    assert _ones(values).tolist() == counted
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert _ones(values).tolist() == counted


def test_a_radius_beyond_the_search_is_refused() -> None:
    with pytest.raises(ValueError, match="radius of 12"):
        list(pairs_within(np.zeros(2, np.uint64), 12))


def test_the_digest_is_of_the_pixels_not_of_the_file() -> None:
    tile = photos(1)[0]
    assert digest(saved(tile, "PNG")) == digest(saved(tile, "BMP")) == digest(tile)
    grey = tile[:1]
    assert digest(grey) == digest(grey.expand(3, -1, -1))
    assert digest(grey) != digest(grey.reshape(1, 32, 128))
    other = tile.clone()
    other[0, 0, 0] ^= 1
    assert digest(other) != digest(tile)
    assert exact_groups([b"a", b"b", b"a", b"c", b"b", b"a"]) == [[0, 2, 5], [1, 4]]


@pytest.mark.parametrize("copy", ["jpeg 50", "jpeg 85", "smaller", "larger", "brighter", "grey"])
def test_copies_of_photographs_are_found_and_nothing_else(copy: str) -> None:
    originals = photos(40)
    make = {
        "jpeg 50": lambda image: saved(image, "JPEG", quality=50),
        "jpeg 85": lambda image: saved(image, "JPEG", quality=85),
        "smaller": lambda image: resized(image, 40),
        "larger": lambda image: resized(image, 150),
        "brighter": lambda image: (image.float() * 0.8 + 40).byte(),
        "grey": lambda image: image.float().mean(0, keepdim=True).byte(),
    }[copy]
    count = len(originals)
    assert count == 40
    found = near_pairs(prints_of([*originals, *(make(image) for image in originals)]))
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs <= {(i, count + i) for i in range(count)}
    # at quality 50 the blocks of a smooth sky outweigh what is in the picture
    assert len(pairs) >= (0.95 * count if copy == "jpeg 50" else count)
    assert (np.diff(found.similarity) <= 0).all()


def test_plain_and_equal_images_are_no_near_duplicates() -> None:
    plain = [torch.full((3, 20, 20), value, dtype=torch.uint8) for value in range(100, 120)]
    noisy = [
        (image + torch.randint(0, 2, image.shape, generator=torch.Generator().manual_seed(i))).byte()
        for i, image in enumerate(plain)
    ]
    found = prints_of([*plain, *noisy, *photos(1), *photos(1)])
    assert found.blank.tolist() == [True] * 40 + [False] * 2
    assert len(near_pairs(found).first) == 0
    assert exact_groups(found.digests) == [[40, 41]]


def test_handwriting_that_looks_alike_is_not_called_a_copy() -> None:
    digits = open_data("digits")
    assert isinstance(digits, ArraySet)
    images = list(digits.images)
    assert len(near_pairs(prints_of(images), threshold=0.9).first) > 100  # coincidences abound
    assert len(near_pairs(prints_of(images)).first) <= 3
    retouched = [(image.float() * 0.97).byte() for image in images[:20]]
    found = near_pairs(prints_of([*images, *retouched]))
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert {(i, len(images) + i) for i in range(20)} <= pairs
    assert len(pairs) <= 23


def test_the_limit_is_where_pairs_begin_to_multiply() -> None:
    random = np.random.default_rng(0)
    copies = 1 - random.uniform(0, 0.02, 200)
    crowd = 1 - 0.4 * random.uniform(0, 1, 100_000) ** (1 / 5)  # pairs grow with the fifth power of the distance
    assert limit(copies) == pytest.approx(0.8)
    assert limit(np.zeros(0)) == pytest.approx(0.8)
    found = limit(np.concatenate([copies, crowd]))
    assert found is not None
    assert 0.9 < found <= 0.98
    assert (crowd >= found).sum() < 100
    assert limit(np.ones(100) - 0.004 * random.uniform(0.7, 1, 100)) is not None
    assert limit(1 - 0.4 * random.uniform(0, 1, 10**6) ** (1 / 2)) is None


def test_without_images_there_are_no_pairs() -> None:
    found = near_pairs(Prints.join([]))
    assert (len(found.first), len(found.second), len(found.similarity)) == (0, 0, 0)


@pytest.mark.slow
def test_mnist_has_no_near_duplicates_and_cifar10_some_hundred(real_data) -> None:  # type: ignore[no-untyped-def]
    counts = {}
    for name in ("mnist", "cifar10"):
        sets = [open_data(real_data(name), split) for split in ("train", "test")]
        parts = [prints([digest(i) for i in block], thumbnails(block)) for s in sets for block in s.images.split(1024)]  # type: ignore[attr-defined]
        counts[name] = len(near_pairs(Prints.join(parts)).first)
    assert counts["mnist"] <= 10
    assert 600 <= counts["cifar10"] <= 900
