"""The protocol that puts a CRF behind a segmenter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.protocols.crf import crf
from foveal.protocols.whole_image import whole_image


class Noisy:
    """Knows both halves of an image, but errs here and there."""

    classes = ("left", "right")

    def probabilities(self, image: Tensor) -> Tensor:
        noise = torch.rand(image.shape[1:], generator=torch.Generator().manual_seed(0))
        right = torch.where((noise < 0.15) ^ (image[0] > 100), 0.8, 0.2)
        return torch.stack((1 - right, right))

    def labels(self, image: Tensor) -> Tensor:
        return self.probabilities(image).argmax(0).to(torch.uint8)


def scene() -> list[tuple[Tensor, Tensor]]:
    mask = torch.zeros(24, 32, dtype=torch.uint8)
    mask[:, 16:] = 1
    return [((60 + 120 * mask).expand(3, -1, -1), mask)]


def test_it_removes_what_stands_alone() -> None:
    before, after = dict(whole_image(Noisy(), scene())), dict(crf(Noisy(), scene(), boundary=0.0075))
    assert float(before["mean_iu"]) < 80
    assert after["mean_iu"] == 100
    assert set(after) - set(before) == {"class_boundary_f1", "boundary_f1"}


def test_without_weights_it_changes_nothing() -> None:
    before, after = (
        dict(whole_image(Noisy(), scene())),
        dict(crf(Noisy(), scene(), weight_spatial=0, weight_bilateral=0)),
    )
    assert all(torch.equal(torch.as_tensor(before[name]), torch.as_tensor(after[name])) for name in before)


def test_numbers_that_are_not_positive_are_refused() -> None:
    for wrong in ({"iterations": 0}, {"colour": 0.0}):
        with pytest.raises(FovealError, match="are positive"):
            dict(crf(Noisy(), scene(), **wrong))
