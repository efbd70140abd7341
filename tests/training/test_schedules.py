"""Rates against torch's schedulers and the papers' tables."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_networks import recipe
from torch.optim import lr_scheduler as torch_schedules

from foveal.training.schedules import Progress, Schedule


def schedule(total: int = 100, unit: int = 1, **settings: Any) -> Schedule:
    """A schedule counted in updates."""
    base = {"unit": "iterations", "length": total, "warmup": 0, "lr": 0.1, "evaluate_every": 10}
    return Schedule(recipe(**{**base, **settings}), unit, total * unit)


def rates(make: Any, steps: int) -> list[float]:
    """What one of torch's schedulers gives."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_onecycle_is_torchs() -> None:
    ours = schedule(schedule="onecycle")
    theirs = rates(lambda o: torch_schedules.OneCycleLR(o, 0.1, total_steps=100, cycle_momentum=False), 99)
    assert [ours(s) for s in range(99)] == pytest.approx(theirs, rel=1e-9)


def test_onecycle_rises_during_the_warmup_when_there_is_one() -> None:
    ours = schedule(schedule="onecycle", warmup=10)
    theirs = rates(
        lambda o: torch_schedules.OneCycleLR(o, 0.1, total_steps=100, pct_start=0.1, cycle_momentum=False), 99
    )
    assert [ours(s) for s in range(99)] == pytest.approx(theirs, rel=1e-9)


def test_cosine_is_torchs() -> None:
    ours = schedule(schedule="cosine")
    theirs = rates(lambda o: torch_schedules.CosineAnnealingLR(o, 100), 100)
    assert [ours(s) for s in range(100)] == pytest.approx(theirs, rel=1e-6)


def test_exponential_is_torchs_per_unit() -> None:
    per_epoch = Schedule(recipe(length=5, lr=0.1, schedule="exponential", gamma=0.5), 10, 50)
    theirs = rates(lambda o: torch_schedules.ExponentialLR(o, 0.5), 5)
    assert [per_epoch(10 * epoch) for epoch in range(5)] == pytest.approx(theirs, rel=1e-12)
    assert per_epoch(5) == pytest.approx(0.1 * math.sqrt(0.5))


def test_steps_fall_after_32k_and_48k_iterations() -> None:
    ours = schedule(total=64_000, schedule="step", milestones=(32_000, 48_000))
    assert [ours(s) for s in (0, 31_999, 32_000, 47_999, 48_000, 63_999)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_milestones_in_epochs_count_their_updates() -> None:
    ours = Schedule(recipe(length=4, lr=1.0, schedule="step", milestones=(2,), gamma=0.5), 7, 28)
    assert [ours(13), ours(14)] == [1.0, 0.5]


def test_the_warm_up_of_resnet_110() -> None:
    settings = {"schedule": "step", "milestones": (32_000, 48_000), "warmup": 400, "warmup_lr": 0.01}
    ours = schedule(total=64_000, warmup_shape="constant", **settings)
    assert [ours(s) for s in (0, 399, 400, 31_999, 32_000)] == pytest.approx([0.01, 0.01, 0.1, 0.1, 0.01])


def test_a_linear_warm_up_ends_at_the_peak() -> None:
    ours = schedule(schedule="constant", warmup=10, warmup_lr=0.02)
    assert [ours(0), ours(5), ours(10), ours(99)] == pytest.approx([0.02, 0.06, 0.1, 0.1])


def test_plateau_multiplies_once_a_drop() -> None:
    ours = schedule(schedule="plateau", gamma=0.1)
    assert ours(50) == 0.1
    ours.drops = 2
    assert ours(50) == pytest.approx(0.001)


def test_every_schedule_is_finite_and_positive_to_the_end() -> None:
    for name in ("constant", "plateau", "exponential", "cosine", "onecycle"):
        for total in (1, 2, 3, 50):
            ours = schedule(total=total, schedule=name, gamma=0.9)
            assert all(math.isfinite(ours(s)) and ours(s) > 0 for s in range(total)), (name, total)


def test_progress() -> None:
    progress = Progress()
    assert progress.add(1, 5.0, 0.3)
    assert not progress.add(2, 5.0, 0.3)  # equal is none
    assert progress.add(3, 5.0, 0.2)  # the second figure settles ties
    assert not progress.add(4, float("nan"), 0.0)
    assert not progress.add(5, 6.0, 0.0)
    assert (progress.best, progress.step, progress.since) == ((5.0, 0.2), 3, 2)
