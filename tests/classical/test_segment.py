"""Clustering baselines on an image of three flat parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from foveal.classical.segment import gaussian_mixture, mean_shift, name_segments, ward
from foveal.errors import FovealError

CLASSES = torch.zeros(24, 32, dtype=torch.uint8)
CLASSES[:, 12:] = 1
CLASSES[14:, 20:] = 2


def picture() -> Tensor:
    colours = torch.tensor([[200, 40, 40], [40, 200, 60], [60, 60, 220]])
    noise = torch.randint(-12, 13, (24, 32, 3), generator=torch.Generator().manual_seed(0))
    return (colours[CLASSES.long()] + noise).permute(2, 0, 1).to(torch.uint8)


def same_parts(segments: Tensor) -> bool:
    pairs = {(int(s), int(c)) for s, c in zip(segments.flatten(), CLASSES.flatten(), strict=True)}
    return len(pairs) == len({s for s, _ in pairs}) == 3


@pytest.mark.parametrize(
    "segments",
    [
        lambda image: ward(image, 3),
        lambda image: gaussian_mixture(image, 3),
        lambda image: gaussian_mixture(image, 3, position=0.1),
        lambda image: mean_shift(image, spatial=60, colour=60),
    ],
    ids=["ward", "mixture", "mixture with places", "mean shift"],
)
def test_three_flat_parts_are_found(segments) -> None:  # type: ignore[no-untyped-def]
    found = segments(picture())
    assert found.shape == (24, 32)
    assert found.dtype == torch.int64
    assert same_parts(found)


def test_segments_are_named_by_the_majority_of_their_voters() -> None:
    segments = torch.tensor([[0, 0, 1], [0, 2, 1]])
    mask = torch.tensor([[1, 1, 2], [0, 255, 255]], dtype=torch.uint8)
    assert name_segments(segments, mask, 3).tolist() == [[1, 1, 2], [1, 255, 2]]
    with pytest.raises(FovealError, match="class 2 of 2"):
        name_segments(segments, mask, 2)
    with pytest.raises(FovealError, match="equal sizes"):
        name_segments(segments, mask[:1], 3)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(FovealError, match="0 segments of 768 pixels"):
        ward(picture(), 0)
    with pytest.raises(FovealError, match="uint8"):
        gaussian_mixture(picture().float())
    with pytest.raises(FovealError, match="positive"):
        mean_shift(picture(), colour=0)
