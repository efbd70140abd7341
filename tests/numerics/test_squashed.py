"""LeNet-5's way through blocks of pixels: the modules' values and gradients, and taken only where nobody could tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from foveal.layers import squashed
from foveal.models.classify.lenet5 import LeNet5, lenet5


def made() -> LeNet5:
    """With parameters that are no rounder than after training, one coefficient 0."""
    torch.manual_seed(0)
    model = lenet5()
    assert isinstance(model, LeNet5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        model.get_parameter("S2.weight")[2] = 0
    return model


def gradients(scores: Tensor, model: nn.Module, images: Tensor) -> list[Tensor]:
    """Of a sum with weights, for all parameters and the images."""
    weights = torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype).view(scores.shape)
    return list(torch.autograd.grad((scores * weights).sum(), [*model.parameters(), images]))


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way through blocks ends in an error."""

    def end(*given: object) -> Tensor:
        raise LookupError

    monkeypatch.setattr(squashed, "_blocks", end)


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_values_and_gradients_are_the_modules(count: int, dtype: torch.dtype, tolerance: float) -> None:
    model = made().to(dtype)
    images = torch.randn(count, 1, 32, 32, dtype=dtype, requires_grad=True)
    expected, found = model(images), squashed.run(model, images)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(gradients(found, model, images), gradients(expected, model, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * float(theirs.abs().max()))


def test_the_same_batch_gives_the_same_bits() -> None:
    model, images, targets = made(), torch.randn(64, 1, 32, 32), torch.arange(64) % 10
    first, second = (
        [*torch.autograd.grad(sum(model.losses(images, targets).values()), [*model.parameters()])] for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.usefixtures("unreachable")
def test_training_goes_through_blocks() -> None:
    with pytest.raises(LookupError):
        made().losses(torch.randn(2, 1, 32, 32), torch.tensor([0, 1]))


def _evaluated(model: LeNet5) -> None:
    model.eval()


def _hooked(model: LeNet5) -> None:
    model.get_submodule("tanh1").register_forward_hook(lambda *_: None)


def _hooked_backward(model: LeNet5) -> None:
    model.get_submodule("C3").register_full_backward_hook(lambda *_: None)


def _watched(model: LeNet5) -> None:
    model.register_forward_pre_hook(lambda *_: None)


def _padded(model: LeNet5) -> None:
    model.get_submodule("C1").padding = (2, 2)
    model.get_submodule("C3").padding = 2
    model.get_submodule("S4").kernel_size = 4
    model.set_submodule("C5", nn.Linear(16 * 7 * 7, 120))


def _replaced(model: LeNet5) -> None:
    model.set_submodule("tanh3", nn.Tanh())


def _unbiased(model: LeNet5) -> None:
    model.set_submodule("C1", nn.Conv2d(1, 6, 5, bias=False))


@pytest.mark.usefixtures("unreachable")
@pytest.mark.parametrize("change", [_evaluated, _hooked, _hooked_backward, _watched, _padded, _replaced, _unbiased])
def test_a_network_that_is_watched_or_changed_runs_its_modules(change: Callable[[LeNet5], None]) -> None:
    model, images = made(), torch.randn(2, 1, 32, 32)
    change(model)
    assert torch.equal(squashed.run(model, images), model(images))


@pytest.mark.usefixtures("unreachable")
def test_without_gradients_or_in_half_precision_the_modules_run() -> None:
    model, images = made(), torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        squashed.run(model, images)
    with torch.autocast("cpu", torch.bfloat16):
        squashed.run(model, images)
    squashed.run(model.bfloat16(), images.bfloat16())


@pytest.mark.usefixtures("unreachable")
def test_a_hook_on_every_module_of_the_process_is_heard() -> None:
    heard: list[nn.Module] = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: heard.append(module))
    try:
        model = made()
        squashed.run(model, torch.randn(2, 1, 32, 32))
    finally:
        handle.remove()
    assert len(heard) == 1 + len(model)
