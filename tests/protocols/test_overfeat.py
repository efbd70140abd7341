"""OverFeat's protocol against the same steps by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from foveal.data.dataset import ArraySet
from foveal.errors import FovealError
from foveal.protocols.overfeat import SCALES, _covering, _proportional, overfeat
from foveal.training.recogniser import Recogniser

Make = Callable[..., Recogniser]
Noise = Callable[..., ArraySet]


def test_the_steps_by_hand(recogniser: Make, noise: Noise) -> None:
    predict, dataset = recogniser(prepare=("resize(20)",)), noise(3, 20, 30)
    found = dict(overfeat(predict, dataset, scales=((20, 24), (24, 28))))["probabilities"]
    for image, p in zip(dataset.images, found, strict=True):
        first, second = predict.scaled(image, 20)[:, :, 3:27], predict.scaled(image, 24)[:, :, 4:32]
        largest = [
            predict.maps(x[None], offsets=True).softmax(1).amax((2, 3))
            for one in (first, second)
            for x in (one, one.flip(-1))
        ]
        mean = torch.cat(largest).mean(0)
        torch.testing.assert_close(p, mean / mean.sum())


def test_maps_at_offsets_hold_the_plain_ones(recogniser: Make, noise: Noise) -> None:
    predict, images = recogniser(), noise(2, 28, 32).images
    fine, coarse = predict.maps(images, offsets=True), predict.maps(images)
    assert fine.shape[2:] == (7, 9) and coarse.shape[2:] == (4, 5)
    torch.testing.assert_close(fine[:, :, ::2, ::2], coarse)


@pytest.mark.parametrize(("height", "width", "cut"), [(60, 80, (20, 24)), (80, 60, (24, 20)), (60, 60, (20, 24))])
def test_the_image_covers_the_size(recogniser: Make, height: int, width: int, cut: tuple[int, int]) -> None:
    image = torch.randint(256, (3, height, width), dtype=torch.uint8)
    for prepare in ((), ("resize(18)",), ("resize(32)", "center_crop(27)"), ("resize_exact(16, 16)",)):
        shown = _covering(recogniser(prepare=prepare), image, (20, 24))
        square = "center_crop(27)" in prepare or "resize_exact(16, 16)" in prepare
        assert tuple(shown.shape[1:]) == ((20, 24) if square else cut)


def test_the_papers_scales_in_proportion(recogniser: Make) -> None:
    assert _proportional(recogniser(torch.nn.Identity(), input=(3, 221, 221))) == list(SCALES)
    assert _proportional(recogniser(torch.nn.Identity(), input=(3, 32, 32)))[0] == (35, 35)


@pytest.mark.parametrize("scales", [245, ((8, 8),), (), ("large",)])
def test_sizes_that_cannot_be(recogniser: Make, noise: Noise, scales: Any) -> None:
    with pytest.raises(FovealError, match="scales="):
        dict(overfeat(recogniser(), noise(1), scales=scales))
