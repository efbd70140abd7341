"""The pipeline: channels, sizes, foreign transforms, the centre, normalisation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from foveal.data.pipeline import Pipeline, convert_channels, normalise
from foveal.errors import FovealError


def images(count: int = 9, channels: int = 3, height: int = 40, width: int = 50) -> Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=g)


class Halver(nn.Module):
    """A foreign transform: random, and written for one image [C, H, W]."""

    def forward(self, image: Tensor) -> Tensor:
        return image // 2 if torch.rand(()) < 0.5 else image


class ToFloat(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image / 255


AUGMENT = ("scale_jitter(30, 45)", "random_crop(24)", "v2.ColorJitter(brightness=0.5)", "flip", "pca_colour(0.3)")


def test_mixed_sizes_and_one_size_give_the_same_bytes() -> None:
    """Together, one by one, in another order: the sample's own numbers decide."""
    pipeline = Pipeline((), AUGMENT, (3, 24, 24), seed=5)
    x, indices = images(), torch.tensor([4, 90, 7, 31, 2, 55, 12, 0, 6])
    together = pipeline.augment(x, indices, epoch=2)
    assert together.shape == (9, 3, 24, 24)
    company = [*x[:5], images(1, height=61)[0], *x[5:]]
    mixed = pipeline.augment(company, torch.cat([indices[:5], torch.tensor([1]), indices[5:]]), epoch=2)
    assert torch.equal(torch.cat([mixed[:5], mixed[6:]]), together)
    backwards = pipeline.augment(x.flip(0), indices.flip(0), epoch=2)
    assert torch.equal(backwards.flip(0), together)
    for other in (pipeline.augment(x, indices, 3), Pipeline((), AUGMENT, (3, 24, 24), seed=6).augment(x, indices, 2)):
        assert all(not torch.equal(a, b) for a, b in zip(other, together, strict=True))


def test_foreign_transforms_leave_torchs_rng_alone() -> None:
    pipeline = Pipeline((Halver(),), (Halver(), "v2.RandomGrayscale(p=0.5)"), (3, 40, 50))
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    prepared = pipeline.prepare_batch(images())
    result = pipeline.augment(prepared, torch.arange(9), 0)
    assert torch.equal(torch.rand(4), expected)
    assert not torch.equal(result, prepared)
    assert torch.equal(pipeline.prepare(images()[3]), prepared[3])
    assert not pipeline.thread_safe and Pipeline(("pad(1)",), (), (3, 8, 8)).thread_safe


def test_prepare_is_for_both_and_test_for_test() -> None:
    pipeline = Pipeline(("pad(2)",), ("random_crop(20)",), (3, 20, 20), test=("resize(22)",))
    image = images(1)[0]
    assert pipeline.prepare(image, train=True).shape == (3, 44, 54)
    assert pipeline.prepare(image).shape == (3, 22, 27)
    assert pipeline.min_side(train=True) is None
    pipeline = Pipeline((), ("scale_jitter(256, 480)", "random_crop(224)"), (3, 224, 224), test=("resize(256)",))
    assert (pipeline.min_side(train=True), pipeline.min_side(train=False)) == (480, 256)
    assert pipeline.describe() == (
        "augment scale_jitter(low=256, high=480) → random_crop(size=(224, 224)), test resize(side=256), input 3x224x224"
    )


def test_channels() -> None:
    colour, grey = images(), images(channels=1)
    assert torch.equal(convert_channels(colour, 1), functional.rgb_to_grayscale(colour))
    assert torch.equal(convert_channels(grey, 3), grey.repeat(1, 3, 1, 1))
    assert convert_channels(colour, 3) is colour
    with pytest.raises(FovealError, match="4 channels, the network takes 3"):
        Pipeline((), (), (3, 8, 8)).prepare(torch.zeros(4, 8, 8, dtype=torch.uint8))


def test_the_centre() -> None:
    pipeline = Pipeline((), (), (3, 31, 20))
    expected = functional.center_crop(images(height=41), [31, 20])
    assert torch.equal(pipeline.centre(images(height=41)), expected)
    assert torch.equal(pipeline.centre(list(images(height=41))), expected)
    assert pipeline.centre([images(1)[0], images(1, height=60)[0]]).shape == (2, 3, 31, 20)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (Pipeline((), (), (3, 64, 48)), "an image of 40x50, smaller than the network's 64x48\nadd resize(64)"),
        (Pipeline((), (), (3, 12, 12)), "an image of 40x50, of which the network would see only 12x12"),
        (Pipeline((), (ToFloat(),), (3, 32, 32)), "float32 images of 3 channels, the network takes uint8 of 3"),
        (Pipeline((), ("v2.ToPILImage()",), (3, 32, 32)), "turns an image into Image"),
    ],
)
def test_what_does_not_fit_names_the_sizes(pipeline: Pipeline, message: str) -> None:
    with pytest.raises(FovealError) as error:
        pipeline.augment(images(), torch.arange(9), 0)
    assert message in str(error.value)


def test_random_steps_have_no_place_in_prepare() -> None:
    with pytest.raises(FovealError, match="is random and stands in prepare"):
        Pipeline(("flip",), (), (3, 32, 32))
    with pytest.raises(FovealError, match="is random and stands in test"):
        Pipeline((), (), (3, 32, 32), test=("pad_crop(2)",))


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalise_equals_torchvision(channels_last: bool) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = functional.normalize(images() / 255, mean, std)
    result = normalise(images(), mean, std, channels_last=channels_last)
    assert torch.allclose(result, expected, atol=2e-6)
    assert result.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert torch.equal(normalise(images(), mean, std, torch.bfloat16), result.bfloat16())
    assert torch.allclose(normalise(images(), (0.5,), (0.5,)), images() / 127.5 - 1, atol=1e-6)
