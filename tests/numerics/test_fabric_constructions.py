"""Fabrics whose weights are set by hand compute exactly what the layers of other networks do (section 3.2)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.errors import FovealError
from foveal.layers.fabric_constructions import (
    average_pooling,
    interpolation,
    larger_filter,
    max_pooling,
    strided_convolution,
)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_average_pooling(images: Tensor) -> None:
    same(average_pooling(3)(images), F.avg_pool2d(images, 2))
    same(average_pooling(3, window=3)(images), F.avg_pool2d(images, 3, 2, 1))
    with pytest.raises(FovealError, match="window of average pooling '4'"):
        average_pooling(3, window=4)  # type: ignore[arg-type]


def test_max_pooling(images: Tensor) -> None:
    same(max_pooling(3)(images), F.max_pool2d(images, 2))


def test_strided_convolution(images: Tensor) -> None:
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    same(strided_convolution(weight)(images), F.conv2d(images, weight, stride=2, padding=1).relu())
    with pytest.raises(FovealError, match=r"\[out, in, 3, 3\]"):
        strided_convolution(torch.zeros(5, 3, 5, 5))


def test_nearest_interpolation(images: Tensor) -> None:
    small = images[:, :, ::2, ::2]
    same(interpolation("nearest", 3)(images), F.interpolate(small, scale_factor=2, mode="nearest"))


def test_bilinear_interpolation(images: Tensor) -> None:
    small = images[:, :, ::2, ::2]
    found = interpolation("bilinear", 3)(images)
    same(found[:, :, :-1, :-1], F.interpolate(small, size=(7, 7), mode="bilinear", align_corners=True))
    same(found[:, :, -1, ::2], small[:, :, -1] / 2)  # behind the last row there are zeros
    with pytest.raises(FovealError, match="did you mean bilinear"):
        interpolation("bilinea")  # type: ignore[arg-type]


def test_larger_filter(images: Tensor) -> None:
    weight = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    same(larger_filter(weight)(images), F.conv2d(images, weight, padding=2).relu())
