"""Transforms equal torchvision's for the same parameters, and treat a batch as its images one by one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from foveal.data.draws import uniforms
from foveal.data.transforms import (
    Affine,
    BatchTransform,
    CenterCrop,
    ColorJitter,
    Flip,
    Pad,
    PadCrop,
    PcaColour,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    ResizeExact,
    ScaleJitter,
    parse_transforms,
    transforms,
)
from foveal.data.transforms.geometry import Motion, warp
from foveal.errors import FovealError

ALL = (
    "pad(2)",
    "pad(3, fill=(1, 2, 3))",
    "center_crop(24)",
    "random_crop((20, 24))",
    "pad_crop(4)",
    "flip",
    "affine(degrees=20, shift=0.1, scale=0.2, shear=10)",
    "affine(degrees=5, scale=(0.5, 0.6), fill=255)",
    "resize(20)",
    "resize(60)",
    "resize_exact(17, 50)",
    "random_resized_crop(16)",
    "pca_colour(0.5)",
    "color_jitter(0.4, 0.4, 0.4)",
    "corner_crop((20, 24))",
    "rotation(10)",
    "lens_distortion",
    "colour_cast",
    "vignette",
    "grey",
    "grey(p=0.5)",
    "letterbox(40, 32)",
    "random_view((20, 24), degrees=20, shear=5)",
)


def images(count: int = 33, channels: int = 3, height: int = 29, width: int = 37, seed: int = 0) -> Tensor:
    """Smooth random pictures, so that interpolation matters, and one with all extremes."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (count, channels, 6, 7), dtype=torch.uint8, generator=g)
    result: Tensor = functional.resize(coarse, [height, width], antialias=True)
    result[-1] = torch.randint(0, 2, result[-1].shape, generator=g) * 255
    return result


def draws(step: BatchTransform, count: int = 33, seed: int = 0) -> Tensor:
    return uniforms(seed, 0, torch.arange(count), step.draws)


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_is_its_images_one_by_one(text: str, threads: int) -> None:
    (step,) = parse_transforms([text])
    x, u = images(), draws(step)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        kept = x.clone()
        together = step.batch(x, u)
        single = torch.cat([step.batch(x[n : n + 1], u[n : n + 1]) for n in range(len(x))])
        strided = step.batch(x.to(memory_format=torch.channels_last), u)
    finally:
        torch.set_num_threads(before)
    assert together.dtype == torch.uint8 and torch.equal(x, kept)
    assert torch.equal(together, single)
    assert torch.equal(together, strided)


def test_every_transform_is_covered() -> None:
    ragged = {"scale_jitter", "zoom_out"}  # have tests of their own
    named = {text.partition("(")[0] for text in ALL} | ragged
    assert named == set(transforms())


def test_pad_crop_and_flip_equal_torchvision() -> None:
    x = images()
    assert torch.equal(Pad(3, fill=9).batch(x, torch.empty(33, 0)), functional.pad(x, [3], fill=9))
    assert torch.equal(CenterCrop((21, 30)).batch(x, torch.empty(33, 0)), functional.center_crop(x, [21, 31])[..., :30])
    assert torch.equal(CenterCrop(25).batch(x, torch.empty(33, 0)), functional.center_crop(x, [25, 25]))
    flip = Flip()
    u = draws(flip)
    for n in range(33):
        expected = functional.horizontal_flip(x[n]) if u[n, 0] < 0.5 else x[n]
        assert torch.equal(flip.batch(x, u)[n], expected)
    crop, padded = PadCrop(4), functional.pad(x, [4])
    u = draws(crop)
    for n in range(33):
        top, left = int(u[n, 0].double() * 9), int(u[n, 1].double() * 9)
        assert torch.equal(crop.batch(x, u)[n], functional.crop(padded[n], top, left, 29, 37))


def test_crops_reach_every_place_evenly() -> None:
    x = torch.arange(5 * 7, dtype=torch.uint8).view(1, 1, 5, 7).expand(9000, -1, -1, -1)
    step = RandomCrop(3)
    places = step.batch(x, draws(step, 9000))[:, 0, 0, 0].long().bincount(minlength=35)
    expected = torch.zeros(5, 7)
    expected[:3, :5] = 600
    assert torch.equal(places > 0, expected.flatten() > 0)
    assert (places[places > 0] - 600).abs().max() < 100  # four standard deviations


@pytest.mark.parametrize(
    "motion",
    [
        Motion(0, 0, 0, 1, 0),
        Motion(25, 0, 0, 1, 0),
        Motion(0, 3, -2, 1, 0),
        Motion(0, 1.5, 0.25, 1, 0),
        Motion(0, 0, 0, 1.3, 0),
        Motion(0, 0, 0, 1, 20),
        Motion(-17, 2.5, -4, 0.8, -12),
    ],
)
def test_affine_equals_torchvision(motion: Motion) -> None:
    """Within 1 of 255 everywhere (rounding of the grid in float32), and equal on all but 3 % of pixels (ties)."""
    x = images()[:-1]  # without the extremes, where the last bit of a coordinate is amplified
    ours = warp(x, [motion] * len(x)).int()
    theirs = torchvisions_affine(x, motion).int()
    assert (ours - theirs).abs().max() <= 1
    assert (ours != theirs).float().mean() < 0.03
    # A fill shines through the edge in proportion. (torchvision's own `fill` counts the edge's coverage twice.)
    coverage = torchvisions_affine(torch.full_like(x, 255, dtype=torch.float32), motion) / 255
    expected = torchvisions_affine(x.float(), motion) + 200 * (1 - coverage)
    assert (warp(x, [motion] * len(x), fill=200) - expected).abs().max() <= 0.51 + 0.02


def torchvisions_affine(x: Tensor, motion: Motion) -> Tensor:
    result: Tensor = functional.affine(
        x,
        angle=motion.degrees,
        translate=[motion.right, motion.down],
        scale=motion.factor,
        shear=[motion.shear, 0.0],
        interpolation=v2.InterpolationMode.BILINEAR,
        fill=None,
    )
    return result


def test_affine_stays_in_its_ranges() -> None:
    """A bright dot right of the centre shows the motion: here shift alone, then turn alone."""
    x = torch.zeros(400, 1, 41, 41, dtype=torch.uint8)
    x[:, :, 20, 30] = 255
    step = Affine(shift=0.1)
    moved = step.batch(x, draws(step, 400)).float()
    grid = torch.arange(41.0)
    right = (moved.sum((1, 2)) * grid).sum(1) / moved.sum((1, 2, 3)) - 30
    assert right.abs().max() <= 4.1 + 0.05 and right.min() < -3.5 and right.max() > 3.5
    step = Affine(degrees=30)
    turned = step.batch(x, draws(step, 400)).float()
    down = (turned.sum((1, 3)) * grid).sum(1) / turned.sum((1, 2, 3)) - 20
    reach = 10 * math.sin(math.radians(30))
    assert down.abs().max() <= reach + 0.2 and down.min() < -0.8 * reach and down.max() > 0.8 * reach


@pytest.mark.parametrize("side", [16, 29, 64])
@pytest.mark.parametrize("shape", [(29, 37), (37, 29), (29, 29)])
def test_resize_equals_torchvision(side: int, shape: tuple[int, int]) -> None:
    x = images(4, height=shape[0], width=shape[1])
    expected = functional.resize(x, [side], antialias=True)
    assert torch.equal(Resize(side).batch(x, torch.empty(4, 0)), expected)
    expected = functional.resize(x, [side, 20], antialias=True)
    assert torch.equal(ResizeExact(side, 20).batch(x, torch.empty(4, 0)), expected)


def test_scale_jitter_takes_every_side_in_its_range_evenly() -> None:
    step = ScaleJitter(24, 28)
    sides = [step.batch(images(1), u[None]).shape[2:] for u in draws(step, 500)]
    assert {min(side) for side in sides} == {24, 25, 26, 27, 28}
    assert all(side == (h := side[0], h * 37 // 29) for side in sides)
    assert min(torch.tensor([min(side) for side in sides]).bincount()[24:]) > 65


def test_random_resized_crop_windows() -> None:
    step = RandomResizedCrop(16)
    windows = [step.window(120, 160, row) for row in draws(step, 3000).tolist()]
    for top, left, h, w in windows:
        assert top >= 0 and left >= 0 and top + h <= 120 and left + w <= 160
        assert 0.07 < h * w / (120 * 160) <= 1
        assert 0.70 < w / h < 1.40  # 3/4 to 4/3, rounded to pixels
    shares = torch.tensor([h * w / (120 * 160) for _, _, h, w in windows])
    assert shares.min() < 0.1 and shares.max() > 0.95
    window = step.window(120, 160, draws(step)[5].tolist())
    expected = functional.resized_crop(images(height=120, width=160)[5], *window, [16, 16], antialias=True)
    assert torch.equal(step.batch(images(height=120, width=160), draws(step))[5], expected)


def test_random_resized_crop_falls_back_to_the_centre_as_torchvision() -> None:
    """A strip in which no window of the wanted area and proportions fits."""
    step = RandomResizedCrop(8, scale=(0.9, 1.0))
    assert step.window(10, 100, [0.5] * step.draws) == (0, 43, 10, 13)
    assert step.window(100, 10, [0.5] * step.draws) == (43, 0, 13, 10)


def test_pca_colour_is_alexnets() -> None:
    """Shifts lie along the principal components, with the published spread, the same for every pixel."""
    step = PcaColour(0.1)
    shifts = torch.tensor([step.shift(row) for row in draws(step, 20_000).tolist()])
    covariance = torch.cov(shifts.T / 255)
    variances, vectors = torch.linalg.eigh(covariance)
    assert torch.allclose(variances.sqrt().flip(0), 0.1 * torch.tensor([0.2175, 0.0188, 0.0045]), rtol=0.03)
    assert abs(vectors[:, -1] @ torch.tensor([-0.5675, -0.5808, -0.5836])) > 0.999
    assert shifts.mean(0).abs().max() < 0.1
    x = torch.full((1, 3, 4, 4), 128, dtype=torch.uint8)
    u = draws(step)[:1]
    expected = (128 + torch.tensor(step.shift(u[0].tolist()))).round()
    assert torch.equal(step.batch(x, u)[0, :, 2, 3].float(), expected)
    bright = PcaColour(9).batch(images(), draws(step))
    assert bright.min() == 0 and bright.max() == 255  # cut, not wrapped around
    with pytest.raises(FovealError, match="needs colour images"):
        step.batch(images(channels=1), draws(step))


def test_color_jitter_is_torchvisions_in_the_drawn_order() -> None:
    x = images(1)
    u = torch.tensor([[0.25, 0.75, 0.1, 0.99]])  # order 2, 1, 0: saturation, contrast, brightness
    expected = functional.adjust_saturation(x[0], 0.5 + 1.0 * 0.1)
    expected = functional.adjust_contrast(expected, 0.8 + 0.4 * 0.75)
    expected = functional.adjust_brightness(expected, 0.9 + 0.2 * 0.25)
    jittered = ColorJitter(brightness=0.1, contrast=0.2, saturation=0.5).batch(x, u)[0]
    assert (jittered.int() - expected.int()).abs().max() <= 1  # factors come as float32


def test_v2_way_draws_from_torchs_rng_and_keeps_the_type() -> None:
    x = tv_tensors.Image(images(1)[0])
    step = PadCrop(4)
    torch.manual_seed(3)
    result, label = step(x, 7)
    torch.manual_seed(3)
    expected = step.batch(images(1), torch.rand(1, 2))[0]
    assert isinstance(result, tv_tensors.Image) and label == 7
    assert torch.equal(result, expected)
    composed = v2.Compose([Flip(1.0), v2.ToDtype(torch.float32, scale=True)])
    assert torch.equal(composed(images(1)[0]), images(1)[0].flip(-1) / 255)
    with pytest.raises(FovealError, match="not Video"):
        step(tv_tensors.Video(x[None]))
    with pytest.raises(FovealError, match="takes uint8"):
        step(torch.rand(3, 8, 8))


def test_parse_reads_names_options_and_foreign_transforms() -> None:
    steps = parse_transforms(
        ("pad_crop(4, fill=7)", " flip ", "v2.ColorJitter(brightness=0.2)", "torchvision.transforms.v2:GaussianBlur(3)")
    )
    assert [type(step).__name__ for step in steps] == ["PadCrop", "Flip", "ColorJitter", "GaussianBlur"]
    assert str(steps[0]) == "pad_crop(padding=4, fill=7)"
    assert parse_transforms(steps) == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("padcrop(4)", "unknown transform 'padcrop'\ndid you mean pad_crop"),
        ("pad_crop(paddin=4)", "unknown option of pad_crop 'paddin'\ndid you mean padding"),
        ("pad_crop", "missing a required argument: 'padding'"),
        ("pad_crop(4", "the bracket is not closed"),
        ("pad_crop(__import__('os').getcwd())", "cannot be read"),
        ("pad_crop(*[4])", "cannot be read"),
        ("pad_crop(4)(5)", "cannot be read"),
        ("pad_crop(0)", "moves nothing"),
        ("pad('4')", "pad"),
        ("pad(2, fill=300)", "pixels go from 0 to 255"),
        ("affine(scale=1)", "give a share like 0.1"),
        ("rotation(2.5)", "use affine(degrees=…)"),
        ("lens_distortion(0.5)", "the corners would fold"),
        ("lens_distortion(stretch=-0.1)", "give a share above 0"),
        ("colour_cast(most=0)", "whole number of 1 to 255"),
        ("vignette(2)", "give shares"),
        ("grey(p=7)", "a chance lies between"),
        ("scale_jitter(480, 256)", "smaller side first"),
        ("random_resized_crop(8, scale=(0, 1))", "within 0..1"),
        ("v2.ColorJiter(0.1)", "did you mean v2.ColorJitter"),
        ("v2.ColorJitter(brightness=-1)", "brightness"),
        ("v2.InterpolationMode('bilinear')", "not a transform"),
        ("nowhere.at_all:Thing()", "cannot import 'nowhere.at_all'"),
        ("torchvision.transforms.v2:Flop()", "unknown transform in torchvision"),
    ],
)
def test_parse_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(FovealError) as error:
        parse_transforms((text,))
    assert message in str(error.value)


def test_parse_wants_a_list() -> None:
    with pytest.raises(FovealError, match="are a list"):
        parse_transforms("flip")


@pytest.mark.parametrize("text", ["random_crop(40)", "center_crop((20, 40))"])
def test_a_crop_larger_than_the_image_names_both_sizes(text: str) -> None:
    (step,) = parse_transforms((text,))
    with pytest.raises(FovealError, match="the image is only 29x37"):
        step.batch(images(), draws(step))
