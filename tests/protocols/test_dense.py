"""Dense evaluation is the sliding window, and several scales are the mean of single ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foveal.data.dataset import ArraySet
from foveal.errors import FovealError
from foveal.graph.convolutionalize import convolutionalize
from foveal.protocols._views import vgg_scales
from foveal.protocols.center_crop import center_crop
from foveal.protocols.dense import dense, multi_scale
from foveal.training.recogniser import Recogniser

Make = Callable[..., Recogniser]
Noise = Callable[..., ArraySet]
STRIDE = 4  # two poolings


class Exact:
    """A predictor in float64, which looks at images as they are."""

    input, classes, sides = (3, 16, 16), tuple("abcdefg"), (16, 16)

    def __init__(self, model: nn.Module) -> None:
        self.model = model.double()
        self.sliding = convolutionalize(self.model, self.input).double()

    def prepare(self, image: Tensor) -> Tensor:
        return image

    def scaled(self, image: Tensor, side: int) -> Tensor:
        raise NotImplementedError

    def scores(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            scores: Tensor = self.model(images.double() / 255 - 0.5)
        return scores

    def __call__(self, images: Tensor) -> Tensor:
        return self.scores(images).softmax(1)

    def maps(self, images: Tensor, *, offsets: bool = False) -> Tensor:
        assert not offsets
        with torch.inference_mode():
            maps: Tensor = self.sliding(images.double() / 255 - 0.5)
        return maps


def windows(predict: Exact, images: Tensor) -> Tensor:
    """The scores of every window of 16x16, one by one: [N, classes, h, w]."""
    rows = [
        torch.stack(
            [predict.scores(images[:, :, t : t + 16, w : w + 16]) for w in range(0, images.shape[3] - 15, STRIDE)], -1
        )
        for t in range(0, images.shape[2] - 15, STRIDE)
    ]
    return torch.stack(rows, -2)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 16), (28, 37)])
def test_dense_is_the_sliding_window(
    network: Callable[..., nn.Sequential], noise: Noise, height: int, width: int
) -> None:
    predict, dataset = Exact(network()), noise(5, height, width)
    by_hand = windows(predict, dataset.images)
    torch.testing.assert_close(predict.maps(dataset.images), by_hand, rtol=1e-12, atol=1e-12)
    straight = dict(dense(predict, dataset, flip=False))
    expected = by_hand.mean((2, 3)).softmax(1)
    torch.testing.assert_close(straight["probabilities"].double(), expected, rtol=0, atol=1e-7)
    mirrored = windows(predict, dataset.images.flip(-1)).mean((2, 3)).softmax(1)
    found = dict(dense(predict, dataset))["probabilities"]
    torch.testing.assert_close(found.double(), (expected + mirrored) / 2, rtol=0, atol=1e-7)


def test_images_of_many_sizes_at_once(recogniser: Make, sizes: Callable[..., Any]) -> None:
    generator = torch.manual_seed(0)
    shapes = [(20, 30), (30, 20), (20, 30), (16, 40), (20, 30)]
    images = [torch.randint(256, (3, *shape), dtype=torch.uint8, generator=generator) for shape in shapes]
    predict = recogniser()
    found = dict(dense(predict, sizes(images), batch_size=3))["probabilities"]
    for image, p in zip(images, found, strict=True):
        alone = [predict.maps(x[None]).mean((2, 3)).softmax(1) for x in (image, image.flip(-1))]
        torch.testing.assert_close(p, torch.cat(alone).mean(0))


def test_one_scale_is_the_single_one_and_several_are_their_mean(recogniser: Make, noise: Noise) -> None:
    predict, dataset = recogniser(prepare=("resize(20)",)), noise(6, 30, 40)
    single = {side: dict(dense(predict, dataset, scales=(side,)))["probabilities"] for side in (18, 20, 22)}
    assert torch.equal(dict(dense(predict, dataset))["probabilities"], single[20]), "as the recipe prepares it"
    assert torch.equal(dict(multi_scale(predict, dataset, scales=(18,)))["probabilities"], single[18])
    assert predict.sides == (20, 20) and vgg_scales(predict) == (18, 20, 22)
    mean = torch.stack(list(single.values())).mean(0)
    torch.testing.assert_close(dict(multi_scale(predict, dataset))["probabilities"], mean)


def test_at_the_inputs_own_size_it_is_the_single_crop(recogniser: Make, noise: Noise) -> None:
    predict, dataset = recogniser(), noise(6, 16, 16)
    found = dict(dense(predict, dataset, flip=False))
    torch.testing.assert_close(found["probabilities"], dict(center_crop(predict, dataset))["probabilities"])
    assert list(found) == ["probabilities", "labels", "top1_error", "top5_error", "cross_entropy"]


@pytest.mark.parametrize(
    ("settings", "scales"),
    [
        ({"prepare": ("resize(256)",)}, (224, 256, 288)),
        ({"prepare": ("resize(384)",), "augment": ("random_crop(224)", "flip")}, (352, 384, 416)),
        ({"augment": ("scale_jitter(256, 512)", "random_crop(224)"), "test": ("resize(384)",)}, (256, 384, 512)),
        ({"prepare": ("resize_exact(224, 224)",)}, (224, 256)),
        ({"input": (3, 32, 32), "augment": ("pad_crop(4)",)}, (32, 36)),
    ],
)
def test_the_scales_of_vgg(recogniser: Make, settings: dict[str, Any], scales: tuple[int, ...]) -> None:
    predict = recogniser(nn.Identity(), **{"input": (3, 224, 224), **settings})
    assert vgg_scales(predict) == scales


def test_what_cannot_slide_is_said(recogniser: Make, noise: Noise) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 7))
    with pytest.raises(FovealError, match="'1'"):
        dict(dense(recogniser(model), noise(2)))
    with pytest.raises(FovealError, match="3x12x12, but the network sees"):
        dict(dense(recogniser(), noise(1, 12, 12)))
