"""Lanes: the same training as without them, to the bit whatever the number of cores; and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_networks import plain, recipe, small
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.tasks import classify
from foveal.training.console import Console
from foveal.training.device import Placement
from foveal.training.lanes import Lanes
from foveal.training.loop import fit
from foveal.training.optim import make_optimizer
from foveal.training.train import resume, train
from foveal.types import Batch

CPU = Placement(torch.device("cpu"))


def batches(count: int) -> Iterator[Batch]:
    """Random pictures, always the same, 16 at a time."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        images = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8, generator=generator)
        yield Batch(images, torch.randint(0, 10, (16,), generator=generator), torch.arange(16))


def run(count: int, factory: Any = plain, **options: Any) -> tuple[list[float], list[Tensor]]:
    """The losses of five updates in `count` lanes (0: without), and the weights after them."""
    torch.manual_seed(0)
    model: nn.Module = factory()
    settings, lanes = recipe(lr=0.1), Lanes(count) if count else None
    try:
        steps = fit(
            model,
            batches(5),
            make_optimizer(model, settings),
            losses=classify.losses,
            prepare_batch=lambda images: CPU.images(images, settings),
            schedule=lambda step: 0.1,
            precision=CPU,
            lanes=lanes,
            **options,
        )
        return [step.loss for step in steps], [p.detach() for p in model.parameters()]
    finally:
        if lanes:
            lanes.close()


@pytest.mark.parametrize(("count", "options"), [(1, {}), (3, {}), (2, {"accumulate": 3}), (40, {})])
def test_lanes_add_up_to_the_batch(count: int, options: dict[str, int]) -> None:
    losses, weights = run(count, **options)
    expected_losses, expected = run(0)
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    torch.testing.assert_close(weights, expected, rtol=1e-4, atol=1e-6)


def test_the_number_of_threads_changes_nothing() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run(2)
        torch.set_num_threads(2)
        two = run(2)
        assert torch.get_num_threads() == 2  # as it was
    finally:
        torch.set_num_threads(threads)
    assert one[0] == two[0] and all(map(torch.equal, one[1], two[1]))


def test_a_resumed_run_is_the_whole_one(tmp_path: Path) -> None:
    settings = recipe(model="small_networks:plain", lanes=2, length=3, ema=0.0)
    whole = train(settings, out=tmp_path / "whole", console=Console(silent=True))
    part = train(settings.with_settings(time_budget=1e-5), out=tmp_path / "part", console=Console(silent=True))
    assert not part.finished
    part = resume(part, console=Console(silent=True), time_budget=0)
    assert whole.steps() == part.steps() and whole.metrics() == part.metrics()
    for name, value in whole.model("last").state_dict().items():
        assert torch.equal(value, part.model("last").state_dict()[name]), name
    assert "on cpu, float32, 2 lanes: " in (whole.path / "log.txt").read_text()


def test_layers_that_lanes_would_change_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=r"layer 1 \(BatchNorm2d\) does not treat each image by itself") as caught:
        train(recipe(lanes=2), out=tmp_path / "run", console=Console(silent=True))
    assert caught.value.mend == "set lanes=1"


def test_random_numbers_are_noticed() -> None:
    class Noisy(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input.flatten(1)) + 0.1 * torch.randn(10)

    with pytest.raises(FovealError, match="the network draws random numbers, which lanes cannot share"):
        run(2, lambda: Noisy(64, 10))
    assert len(run(0, lambda: Noisy(64, 10))[0]) == 5


def test_an_error_of_a_lane_is_the_loops() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(2, lambda: nn.Sequential(nn.Flatten(), nn.Linear(63, 10)))
    assert len(run(0, small)[0]) == 5
