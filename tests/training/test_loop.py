"""fit() against a loop written out in plain torch, and its promises one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_networks import plain, recipe, small, two_terms
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.tasks import classify
from foveal.training.device import Placement
from foveal.training.ema import Average
from foveal.training.loop import fit
from foveal.training.optim import make_optimizer
from foveal.types import Batch, Step

CPU = Placement(torch.device("cpu"))


def batches(count: int, size: int = 16) -> Iterator[Batch]:
    """Random pictures, always the same."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        images = torch.randint(0, 256, (size, 1, 8, 8), dtype=torch.uint8, generator=generator)
        yield Batch(images, torch.randint(0, 10, (size,), generator=generator), torch.arange(size))


def network(factory: Any = plain) -> nn.Module:
    """Freshly initialised, always the same."""
    torch.manual_seed(0)
    made: nn.Module = factory()
    return made


def run(model: nn.Module, count: int = 5, **options: Any) -> list[Step]:
    """Train for `count` updates."""
    settings = options.pop("recipe", recipe(lr=0.1))
    given: dict[str, Any] = {
        "losses": classify.losses,
        "prepare_batch": lambda images: CPU.images(images, settings),
        "schedule": lambda step: 0.1 / (step + 1),
        "precision": CPU,
        **options,
    }
    return list(fit(model, given.pop("batches", batches(count)), make_optimizer(model, settings), **given))


def test_the_loop_is_the_plain_one() -> None:
    ours, theirs = network(), network()
    steps = run(ours)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    losses = []
    for step, batch in enumerate(batches(5)):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (step + 1)
        loss = nn.functional.cross_entropy(theirs((batch.images / 255 - 0.5) / 0.5), batch.targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert [s.loss for s in steps] == pytest.approx(losses, rel=1e-5)
    assert [s.step for s in steps] == [1, 2, 3, 4, 5]
    assert [s.lr for s in steps] == [0.1 / s for s in range(1, 6)]
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_parts_add_up_to_the_batch() -> None:
    whole, parts = network(), network()
    one, three = run(whole), run(parts, accumulate=3)  # 16 images in parts of 6, 6 and 4
    assert [s.loss for s in three] == pytest.approx([s.loss for s in one], rel=1e-5)
    for mine, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_dropout_depends_on_seed_and_step_alone() -> None:
    first, disturbed, other = network(small), network(small), network(small)

    def noisy() -> Iterator[Batch]:
        for batch in batches(5):
            torch.rand(100)  # somebody else draws from torch's generator
            yield batch

    whole = run(first, seed=7)
    assert [s.loss for s in run(disturbed, seed=7, batches=noisy())] == [s.loss for s in whole]
    assert [s.loss for s in run(other, seed=8)] != [s.loss for s in whole]


def test_a_later_start_continues_the_numbers() -> None:
    model, resumed = network(small), network(small)
    whole = run(model, 4, seed=7)
    settings = recipe(lr=0.1)
    optimizer = make_optimizer(resumed, settings)
    common: dict[str, Any] = {
        "losses": classify.losses,
        "prepare_batch": lambda images: CPU.images(images, settings),
        "schedule": lambda step: 0.1 / (step + 1),
        "precision": CPU,
        "seed": 7,
    }
    every = list(batches(4))
    halves = [*fit(resumed, every[:2], optimizer, **common), *fit(resumed, every[2:], optimizer, start=2, **common)]
    assert [(s.step, s.loss, s.lr) for s in halves] == [(s.step, s.loss, s.lr) for s in whole]


def test_clipping_bounds_the_whole_gradient() -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    settings = recipe(lr=1.0, momentum=0.0, weight_decay=0.0)
    run(model, 1, clip=0.01, schedule=lambda step: 1.0, recipe=settings)
    moved = math.sqrt(
        sum(float((p - q).detach().pow(2).sum()) for p, q in zip(model.parameters(), before, strict=True))
    )
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_terms_are_named_and_their_sum_is_minimised() -> None:
    step = run(network(two_terms), 1)[0]
    assert set(step.losses) == {"main", "size"}
    assert step.loss == pytest.approx(step.losses["main"] + step.losses["size"])


def bad_from(step: int) -> Any:
    """Loss terms of which `size` is infinite from update `step` on."""
    calls = 0

    def losses(model: nn.Module, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        terms: dict[str, Tensor] = model.losses(images, targets)  # type: ignore[operator]
        return {**terms, "size": terms["size"] * (float("inf") if calls >= step else 1)}

    return losses


def test_a_loss_that_is_not_finite_is_named_before_the_update() -> None:
    model = network(two_terms)
    taken = []
    settings = recipe()
    with pytest.raises(FovealError, match=r"loss term 'size' is inf at update 3, learning rate 0\.0333") as caught:
        for step in fit(
            model,
            batches(5),
            make_optimizer(model, settings),
            losses=bad_from(3),
            prepare_batch=lambda images: CPU.images(images, settings),
            schedule=lambda step: 0.1 / (step + 1),
            precision=CPU,
        ):
            taken.append(step.step)
    assert taken == [1, 2]
    assert "lower lr" in caught.value.mend
    assert all(bool(p.isfinite().all()) for p in model.parameters())  # the bad update was not made


def test_losses_read_late_are_the_same_and_still_name_the_step() -> None:
    prompt, late = network(), network()
    assert [s.loss for s in run(late, read_every=4)] == [s.loss for s in run(prompt)]
    with pytest.raises(FovealError, match=r"'size' is (inf|nan) at update 2, .*noticed at update 4: .* every 4"):
        run(network(two_terms), losses=bad_from(2), read_every=4)


def test_the_average_follows_the_weights() -> None:
    model = network(small)
    average = Average(model, 0.5)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    settings = recipe()
    steps = fit(
        model,
        batches(4),
        make_optimizer(model, settings),
        losses=classify.losses,
        prepare_batch=lambda images: CPU.images(images, settings),
        schedule=lambda step: 0.1,
        precision=CPU,
        ema=average,
    )
    for step in steps:
        decay = min(0.5, (1 + step.step) / (10 + step.step))
        for name, value in model.state_dict().items():
            share = 1 - decay if value.is_floating_point() else 1
            expected[name] = (1 - share) * expected[name] + share * value
    for name, value in average.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)
    assert not average.model.training


def test_decay_spares_vectors_when_asked() -> None:
    groups = make_optimizer(network(small), recipe(decay_all=False)).param_groups
    assert [group["weight_decay"] for group in groups] == [1e-3, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"]) and all(p.ndim <= 1 for p in groups[1]["params"])


def test_frozen_networks_are_refused() -> None:
    with pytest.raises(FovealError, match="no parameter that can be trained"):
        make_optimizer(network().requires_grad_(False), recipe())


def test_adamw() -> None:
    model = network()
    steps = run(model, 5, recipe=recipe(optimizer="adamw", lr=1e-3), schedule=lambda step: 1e-3)
    theirs = network()
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-3, weight_decay=1e-3)
    for batch in batches(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(theirs(batch.images / 127.5 - 1), batch.targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert len(steps) == 5
    for mine, other in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)
