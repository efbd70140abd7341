"""Deep Image's and Chatfield's augmentations do what a lens, a light and a crop would do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from foveal.data.draws import uniforms
from foveal.data.pipeline import Pipeline, convert_channels
from foveal.data.transforms import ColourCast, CornerCrop, Grey, LensDistortion, Rotation, Vignette
from foveal.data.transforms.base import BatchTransform
from foveal.data.transforms.geometry import Motion, warp
from foveal.data.transforms.lens import KINDS
from foveal.errors import FovealError


def draws(step: BatchTransform, count: int) -> Tensor:
    return uniforms(0, 0, torch.arange(count), step.draws)


def flat(count: int, value: int = 128, channels: int = 3, side: int = 8) -> Tensor:
    return torch.full((count, channels, side, side), value, dtype=torch.uint8)


def kind(name: str, degree: float) -> Tensor:
    return torch.tensor([[(KINDS.index(name) + 0.5) / len(KINDS), degree]])


def test_colour_cast_shifts_whole_channels_by_all_values_up_to_20() -> None:
    step = ColourCast()
    shift = step.batch(flat(40_000, side=1), draws(step, 40_000)).int()[:, :, 0, 0] - 128
    assert shift.min() == -20 and shift.max() == 20
    assert set(shift.unique().tolist()) == set(range(-20, 21))
    changed = (shift != 0).float().mean(0)
    assert (changed - 0.5 * 40 / 41).abs().max() < 0.01  # one value in 41 changes nothing
    pattern = (shift != 0).long() @ torch.tensor([4, 2, 1])
    assert pattern.bincount(minlength=8).min() > 4000  # none, each alone, each pair, all
    big = step.batch(torch.randint(0, 256, (9, 3, 6, 6), dtype=torch.uint8), draws(step, 9))
    assert big.shape == (9, 3, 6, 6)
    x = torch.tensor([[3, 128, 250]], dtype=torch.uint8).view(1, 3, 1, 1).expand(-1, -1, 4, 5)
    u = torch.tensor([[0.1, 0.9, 0.1, 0.0, 0.0, 0.999]])  # red -20, green as it is, blue +20
    assert step.batch(x, u)[0, :, 2, 3].tolist() == [0, 128, 255]
    with pytest.raises(FovealError, match="needs colour images"):
        step.batch(flat(1, channels=1), draws(step, 1))


def test_deep_images_counts_of_changes() -> None:
    """The paper's table: 68,920 casts, 20 rotations."""
    assert (2 * ColourCast().most + 1) ** 3 - 1 == 68_920
    assert len({motion.degrees for motion in Rotation()._motions(draws(Rotation(), 2000))}) == 20


def test_rotation_turns_by_whole_degrees_as_the_affine_warp() -> None:
    x = torch.randint(0, 256, (40, 3, 21, 25), dtype=torch.uint8)
    step = Rotation(10)
    u = draws(step, 40)
    angles = [motion.degrees for motion in step._motions(u)]
    assert all(angle == int(angle) and 1 <= abs(angle) <= 10 for angle in angles)
    assert torch.equal(step.batch(x, u), warp(x, [Motion(angle, 0, 0, 1, 0) for angle in angles]))


def test_vignette_darkens_towards_the_corners_alone() -> None:
    step = Vignette(strength=0.8, start=0.2)
    out = step.batch(flat(1, 200, side=101), torch.tensor([[0.75, 0.0]]))[0, 0].float()
    assert out[50, 50] == 200 and out[50, 60] == 200  # within a fifth of the half diagonal nothing changes
    corner = 200 * (1 - 0.6)
    assert abs(float(out[0, 0]) - corner) <= 1.5
    radius = 50 / math.hypot(50.5, 50.5)  # the middle of a side
    t = (radius - 0.2) / 0.8
    assert abs(float(out[50, 0]) - 200 * (1 - 0.6 * t * t * (3 - 2 * t))) <= 1
    assert (out[50, :51].diff() >= 0).all() and torch.equal(out, out.flip(0)) and torch.equal(out, out.T)
    many = step.batch(flat(500, 200, side=9), draws(step, 500))[:, 0].float()
    assert (many[:, 4, 4] == 200).all()
    light = many[:, 0, 0] / 200
    assert light.min() < 0.35 and light.max() > 0.95 and light.min() > 0.2


def test_lens_keeps_what_each_kind_must_keep() -> None:
    """Barrel: the corners stay, the centre grows. Pincushion: the centre stays, the corners grow. No border appears."""
    white = flat(1, 255, side=64)
    for name in KINDS:
        assert (LensDistortion().batch(white, kind(name, 0.9)) == 255).all(), name
    ramp = torch.arange(101, dtype=torch.uint8).mul(2).expand(1, 1, 101, -1).contiguous()  # x = 50 is the centre
    step = LensDistortion(strength=0.25, stretch=0.5)
    rows = {name: step.batch(ramp, kind(name, 0.999999))[0, 0].float() / 2 - 50 for name in KINDS}
    for name, out in rows.items():
        assert abs(float(out[50, 50])) < 0.1, name
    slope = {name: float(out[50, 53] - out[50, 47]) / 6 for name, out in rows.items()}
    assert slope["barrel"] == pytest.approx(1 / 1.25, abs=0.1)
    assert slope["pincushion"] == pytest.approx(1, abs=0.1)
    assert slope["horizontal"] == pytest.approx(1 / 1.5, abs=0.1)
    assert slope["vertical"] == pytest.approx(1, abs=0.01)
    assert float(rows["barrel"][0, 0]) == pytest.approx(-50, abs=1)
    assert float(rows["pincushion"][0, 0]) == pytest.approx(-50 * 0.75, abs=1)
    assert float(rows["horizontal"][0, 0]) == pytest.approx(-50 / 1.5, abs=1)


def test_straight_lines_bend_outwards_in_a_barrel_and_inwards_in_a_pincushion() -> None:
    line = torch.zeros(1, 1, 101, 101, dtype=torch.uint8)
    line[:, :, :, 20] = 255  # a vertical line left of the centre

    def place(out: Tensor, row: int) -> float:
        values = out[0, 0, row].float()
        return float((values * torch.arange(101)).sum() / values.sum())

    for name, sign in (("barrel", 1), ("pincushion", -1)):
        out = LensDistortion().batch(line, kind(name, 0.8))
        assert sign * (place(out, 5) - place(out, 50)) > 1.5, name
    for name in ("horizontal", "vertical"):
        out = LensDistortion().batch(line, kind(name, 0.8))
        assert place(out, 5) == pytest.approx(place(out, 50)), name


def test_every_kind_of_lens_comes_equally_often() -> None:
    rows = draws(LensDistortion(), 4000)
    kinds = (rows[:, 0] * 4).long().bincount(minlength=4)
    assert (kinds - 1000).abs().max() < 120
    step = LensDistortion(0.2, 0.4)
    coefficients = [step.coefficients(row) for row in rows.tolist()]
    assert max(b for _, _, b in coefficients) < 0.2 / 1.2 and min(b for _, _, b in coefficients) > -0.2
    assert min(min(ax, ay) for ax, ay, _ in coefficients) > 1 / 1.4


def test_corner_crop_takes_five_places_evenly() -> None:
    x = torch.arange(6 * 8, dtype=torch.uint8).view(1, 1, 6, 8).expand(5000, -1, -1, -1)
    step = CornerCrop((3, 4))
    first = step.batch(x, draws(step, 5000))[:, 0, 0, 0].long().bincount(minlength=48)
    assert first.nonzero().flatten().tolist() == [0, 4, 10, 24, 28]  # corners, and (1, 2) in the centre
    assert (first[first > 0] - 1000).abs().max() < 120
    assert step.batch(x[:1], torch.zeros(1, 1)).shape == (1, 1, 3, 4)


def test_grey_is_luma_in_as_many_channels() -> None:
    x = torch.randint(0, 256, (64, 3, 5, 6), dtype=torch.uint8)
    grey = Grey().batch(x, torch.empty(64, 0))
    assert torch.equal(grey, convert_channels(x, 1).expand(-1, 3, -1, -1))
    some = Grey(p=0.25)
    u = draws(some, 64)
    out = some.batch(x, u)
    for n in range(64):
        assert torch.equal(out[n], grey[n] if u[n, 0] < 0.25 else x[n])
    one = flat(2, channels=1)
    assert torch.equal(Grey().batch(one, torch.empty(2, 0)), one)


def test_grey_may_stand_in_prepare_and_random_grey_may_not() -> None:
    assert Pipeline(("grey",), (), (3, 8, 8)).prepare(flat(1)[0]).shape == (3, 8, 8)
    with pytest.raises(FovealError, match="is random and stands in prepare"):
        Pipeline(("grey(p=0.5)",), (), (3, 8, 8))
