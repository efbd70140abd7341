"""The other contracts: over the whole catalogue, and that each finds what it is there to find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from foveal import catalog
from foveal.contracts import Report, check_format, check_method, check_protocol
from foveal.data.dataset import ArraySet, ImageSet


def failed(report: Report) -> set[str]:
    return {check.name for check in report.failed}


@pytest.mark.parametrize("name", catalog.names("format"))
def test_formats(name: str) -> None:
    report = check_format(name)
    assert report.passed, report.text()
    assert all(check.verdict == "passed" for check in report.checks), report.text()


@pytest.mark.parametrize("name", catalog.names("protocol"))
def test_protocols(name: str) -> None:
    report = check_protocol(name)
    assert report.passed, report.text()


def protocol(
    error: Callable[[Tensor, Tensor], float], batch_size: int = 4, forgets_last: bool = False
) -> Callable[..., Iterator[tuple[str, Any]]]:
    def function(predict: Any, dataset: Any, *, batch_size: int = batch_size) -> Iterator[tuple[str, Any]]:
        starts = range(0, len(dataset) - (batch_size - 1 if forgets_last else 0), batch_size)
        chosen = [range(i, min(i + batch_size, len(dataset))) for i in starts]
        p = torch.cat([predict(torch.stack([torch.as_tensor(dataset[i][0]) for i in part])) for part in chosen])
        yield "top1_error", error(p.argmax(1), dataset.labels[: len(p)])

    return function


def right(found: Tensor, labels: Tensor) -> float:
    return float((found != labels).float().mean() * 100)


@pytest.mark.parametrize(
    ("function", "rules"),
    [
        (protocol(right), {"empty"}),
        (protocol(lambda p, y: 100 - right(p, y)), {"perfect", "all wrong", "empty"}),
        (protocol(lambda p, y: right(p, y) / 2), {"all wrong", "empty"}),
        (protocol(lambda p, y: right(p[:5], y.sort().values[:5])), {"perfect", "order", "empty"}),
        (protocol(right, forgets_last=True), {"batches", "empty"}),
    ],
)
def test_faults_of_protocols_are_found(function: Any, rules: set[str]) -> None:
    report = check_protocol(function)
    assert failed(report) == rules, report.text()


def _runs(model: nn.Module, image: Tensor, target: int) -> Tensor:
    return cast(Tensor, model(image[None]))


def _clean(model: nn.Module, image: Tensor, target: int) -> Tensor:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        pixels = image.detach().clone().requires_grad_()
        return torch.autograd.grad(model(pixels[None])[0, target], pixels)[0]
    finally:
        for module, mode in modes.items():
            module.training = mode


def _leaves_gradients(model: nn.Module, image: Tensor, target: int) -> Tensor:
    score = _clean(model, image, target)
    model.zero_grad()
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    return score


def _leaves_hook(model: nn.Module, image: Tensor, target: int) -> Tensor:
    next(iter(model.children())).register_forward_hook(lambda *_: None)
    return _clean(model, image, target)


def _leaves_hook_after_error(model: nn.Module, image: Tensor, target: int) -> Tensor:
    handle = next(iter(model.children())).register_forward_hook(lambda *_: None)
    result = _clean(model, image, target)
    handle.remove()
    return result


def _leaves_eval(model: nn.Module, image: Tensor, target: int) -> Tensor:
    model.eval()
    return _clean(model, image, target)


def _exchanges_layers(model: nn.Module, image: Tensor, target: int) -> Tensor:
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.ReLU):
            model.set_submodule(path, nn.ReLU())
    return _clean(model, image, target)


def _sets_inplace(model: nn.Module, image: Tensor, target: int) -> Tensor:
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    return _clean(model, image, target)


def _writes_weights(model: nn.Module, image: Tensor, target: int) -> Tensor:
    with torch.no_grad():
        next(model.parameters()).mul_(1 + 1e-6)
    return _clean(model, image, target)


def _freezes(model: nn.Module, image: Tensor, target: int) -> Tensor:
    result = _clean(model, image, target)
    model.requires_grad_(False)
    return result


def _draws(model: nn.Module, image: Tensor, target: int) -> Tensor:
    return _clean(model, image + torch.rand(1), target)


def _writes_image(model: nn.Module, image: Tensor, target: int) -> Tensor:
    image.add_(1)
    return _clean(model, image, target)


@pytest.mark.parametrize(
    ("function", "rules"),
    [
        (_clean, set()),
        (_runs, {"values"}),  # in training mode: batch norm's statistics move
        (_leaves_gradients, {"gradients"}),
        (_leaves_hook, {"hooks"}),
        (_leaves_hook_after_error, {"after an error"}),
        (_leaves_eval, {"modes"}),
        (_exchanges_layers, {"modules"}),
        (_sets_inplace, {"modules"}),
        (_writes_weights, {"values"}),
        (_freezes, {"gradients"}),
        (_draws, {"runs"}),
        (_writes_image, {"values"}),
    ],
)
def test_faults_of_methods_are_found(function: Any, rules: set[str]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).train()
    report = check_method(function, model, torch.rand(3, 8, 8))
    assert rules <= failed(report), report.text()
    assert failed(report) <= rules | ({"repeats", "after an error"} if rules else set()), report.text()


def own_format(**changed: Any) -> ModuleType:
    """A format that keeps a set in one tensor file, with some of its functions exchanged."""

    def sniff(root: Path) -> bool:
        return (root / "set.npy").is_file()

    def splits(root: Path) -> tuple[str, ...]:
        return ("train",)

    def open(root: Path, split: str, *, seed: int = 0) -> ImageSet:
        import numpy as np

        from foveal.errors import FovealError

        if split != "train":
            raise FovealError(f"no split {split}")
        try:
            values = torch.from_numpy(np.load(root / "set.npy", allow_pickle=False))
            return ArraySet(values[:, None].repeat(1, 1, 2, 2), values[:, 0, 0].long(), ("a", "b", "c"), split)
        except (ValueError, EOFError, OSError, IndexError) as error:
            raise FovealError(f"{root}: {error}") from error

    def write(sets: Mapping[str, ImageSet], root: Path) -> None:
        import numpy as np

        root.mkdir(parents=True, exist_ok=True)
        np.save(root / "set.npy", torch.stack([torch.as_tensor(i) for i, _ in sets["train"]])[:, 0, :2, :2].numpy())

    def example(root: Path) -> None:
        labels = torch.tensor([0, 1, 2, 1])
        images = labels.to(torch.uint8)[:, None, None, None].repeat(1, 1, 4, 4)
        write({"train": ArraySet(images, labels, ("a", "b", "c"), "train")}, root)

    functions = {"sniff": sniff, "splits": splits, "open": open, "write": write, "example": example, **changed}
    return cast(ModuleType, SimpleNamespace(__name__="own_format", **functions))


def _opens_anything(root: Path, split: str, *, seed: int = 0) -> ImageSet:
    return cast(ImageSet, own_format().open(root, "train"))


def _shuffles(root: Path, split: str, *, seed: int = 0) -> ImageSet:
    images = own_format().open(root, split)
    return cast(ImageSet, images.select(torch.randperm(len(images))))


def _raises(root: Path, split: str, *, seed: int = 0) -> ImageSet:
    try:
        return cast(ImageSet, own_format().open(root, split))
    except Exception as error:
        raise ValueError("something") from error


def _loses_pixels(sets: Mapping[str, ImageSet], root: Path) -> None:
    images = sets["train"]
    own_format().write({"train": images.select(list(range(len(images)))[::-1])}, root)


@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        ({}, set()),
        ({"sniff": lambda root: True}, {"recognises"}),
        ({"sniff": lambda root: False}, {"recognises"}),
        ({"write": None}, {"functions"}),
        ({"splits": lambda root: ("training",)}, {"opens"}),
        ({"open": _opens_anything}, {"unknown split"}),
        ({"open": _shuffles}, {"seeds"}),
        ({"open": _raises}, {"damage"}),
        ({"write": _loses_pixels}, {"round trip"}),
    ],
)
def test_faults_of_formats_are_found(changed: dict[str, Any], rules: set[str]) -> None:
    torch.manual_seed(3)
    report = check_format(own_format(**changed))
    assert rules <= failed(report), report.text()
    if not rules:
        assert report.passed, report.text()
