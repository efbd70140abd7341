"""`check_model` finds what is wrong with other people's networks, and only that."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.contracts import Report, check_model
from foveal.errors import FovealError

INPUT = (3, 12, 12)


class Good(nn.Module):
    """A network without a fault; each of the others below differs in one thing."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.norm1, self.relu1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        self.pool, self.flatten, self.drop = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout()
        self.fc = nn.Linear(4, num_classes)

    def body(self, x: Tensor) -> Tensor:
        x = self.relu1(self.norm1(self.conv1(x)))
        return self.relu2(self.conv2(x) + x)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.drop(self.flatten(self.pool(self.body(x)))))


class Dense(Good):
    """Scores for each pixel."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.pool, self.flatten = nn.Identity(), nn.Identity()
        self.fc = nn.Conv2d(4, num_classes, 1)  # type: ignore[assignment]


class Smaller(Dense):
    """Scores for the pixels in the middle alone."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.conv1 = nn.Conv2d(3, 4, 3)


class Functional(Good):
    def body(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.relu1(self.norm1(self.conv1(x)))))


class FunctionalPool(Good):
    def forward(self, x: Tensor) -> Any:
        return self.fc(F.max_pool2d(self.body(x), 10).squeeze(-1).squeeze(-1))


class InPlace(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.relu2 = nn.ReLU(inplace=True)


class HiddenInPlace(Good):
    def body(self, x: Tensor) -> Tensor:
        x = self.relu1(self.norm1(self.conv1(x)))
        y = self.conv2(x)
        y += x
        return self.relu2(y)


class Reused(Good):
    def body(self, x: Tensor) -> Tensor:
        x = self.relu1(self.norm1(self.conv1(x)))
        return self.relu1(self.conv2(x) + x)


class TwoNames(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.relu2 = self.relu1


class Pair(NamedTuple):
    scores: Tensor
    extra: Tensor


class TrainingBranch(Good):
    def forward(self, x: Tensor) -> Any:
        scores = super().forward(x)
        return Pair(scores, scores) if self.training else scores


class ValueBranch(Good):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x if x.mean() < 100 else x + x)


class Unused(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.forgotten = nn.Linear(2, 2)


class OwnLayer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Unknown(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.drop = OwnLayer()  # type: ignore[assignment]


class DeafToClasses(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()


class Unseeded(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        nn.init.constant_(self.fc.weight, random.random())


class Noise(nn.Dropout):
    def forward(self, input: Tensor) -> Tensor:
        return input + torch.rand_like(input)


class Nondeterministic(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.drop = Noise()


class BatchStatistics(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.norm1 = nn.BatchNorm2d(4, track_running_stats=False)


class Counting(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        self.running_mean += 1  # type: ignore[operator]
        return super().forward(input)


class Remembers(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.norm1 = Counting(4)


class Scale(nn.ReLU):
    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.rand(1)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * self.factor


class HiddenState(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.relu1 = Scale()


class Tied(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.norm1.bias = self.conv1.bias  # type: ignore[assignment]


class NeedsNumpy(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        assert float(self.fc.weight.detach().numpy().sum()) < 1e9


class NotANumber(Good):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        nn.init.constant_(self.fc.bias, float("nan"))


def failed(report: Report) -> set[str]:
    return {check.name for check in report.failed}


def test_scores_for_each_pixel_are_scores_too() -> None:
    assert check_model(Dense, INPUT).passed
    refused = {c.name: c.found for c in check_model(Smaller, INPUT).checks if c.verdict == "failed"}
    assert refused == {"scores": "a batch of 1 gives scores [1, 7, 10, 10], not [1, 7]"}


def test_a_good_network_passes_everything() -> None:
    report = check_model(Good, INPUT)
    assert report.passed, report.text()
    assert [check.name for check in report.checks if check.verdict == "skipped"] == ["published facts"]


@pytest.mark.parametrize(
    ("network", "rules", "finding"),
    [
        (Functional, {"modules only"}, "relu ×1"),
        (FunctionalPool, {"modules only"}, "max_pool2d ×1"),
        (InPlace, {"not in place", "backward hooks"}, "relu2"),
        (HiddenInPlace, {"backward hooks"}, "modified inplace"),
        (Reused, {"one call per instance"}, "relu1 ×2"),
        (TwoNames, {"one call per instance"}, "relu1 = relu2"),
        (TrainingBranch, {"one graph", "one output type"}, "a Pair in training mode"),
        (ValueBranch, {"traceable", "meta device"}, "test_check_model.py"),
        (Unused, {"gradients"}, "forgotten.weight"),
        (Unknown, {"known layers"}, "drop (OwnLayer)"),
        (DeafToClasses, {"scores"}, "scores [1, 10], not [1, 7]"),
        (Unseeded, {"reproducible"}, "fc.weight"),
        (Nondeterministic, {"deterministic", "batch of one", "copies", "state dict"}, "other scores the second time"),
        (BatchStatistics, {"batch of one"}, "alone and in a batch differ"),
        (Remembers, {"deterministic"}, "changes norm1.running_mean"),
        (HiddenState, {"state dict"}, "something is not in it"),
        (Tied, {"state dict"}, "conv1.bias and norm1.bias share their memory"),
        (NeedsNumpy, {"meta device"}, "Error"),
        (NotANumber, {"scores"}, "NaN"),
    ],
)
def test_each_fault_is_found(network: type[nn.Module], rules: set[str], finding: str) -> None:
    report = check_model(network, INPUT)
    assert rules <= failed(report), report.text()
    assert any(finding in check.found for check in report.failed), report.text()
    assert all(check.mend and check.why for check in report.failed)
    if network not in (NotANumber,):  # one fault may spoil several figures, but never those of other rules
        assert failed(report) <= rules | {"deterministic", "copies"}, report.text()


def test_googlenet_of_torchvision() -> None:
    report = check_model("torchvision.models:googlenet", (3, 64, 64), numerics=False)
    assert "relu ×57" in report.verdict("modules only").found
    assert "GoogLeNetOutputs in training mode" in report.verdict("one output type").found
    assert {"one graph", "modules only", "one output type"} <= failed(report)
    assert {"builds", "traceable", "known layers", "scores", "meta device"}.isdisjoint(failed(report))


def test_densenet_of_torchvision() -> None:
    report = check_model("torchvision.models:densenet121", (3, 64, 64), numerics=False)
    assert "120 modules with inplace=True" in report.verdict("not in place").found
    assert {"not in place", "modules only"} <= failed(report)
    assert report.verdict("one graph").verdict == "passed"


@pytest.mark.parametrize(
    ("factory", "finding"),
    [
        (lambda: 3, "returned int"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda width: nn.Linear(width, 2), "TypeError"),
    ],
)
def test_what_cannot_be_built_is_said_once(factory: Any, finding: str) -> None:
    report = check_model(factory)
    assert finding in report.verdict("builds").found
    assert failed(report) == {"builds"}
    assert all(check.verdict == "skipped" for check in report.checks if check.name != "builds")


def test_unknown_names_are_the_users_mistake() -> None:
    with pytest.raises(FovealError, match="unknown model"):
        check_model("resnet19")
    with pytest.raises(FovealError, match="cannot import"):
        check_model("no_such_package:net")


def test_forward_that_raises_is_reported_with_its_line() -> None:
    report = check_model(lambda: nn.Sequential(nn.Conv2d(1, 2, 3)), (3, 8, 8))
    assert "scores" in failed(report)
    assert "1 channels" in report.verdict("scores").found


def test_examination_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    check_model(Good, INPUT)
    assert torch.equal(before, torch.get_rng_state())


def test_wrong_facts_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from foveal import catalog

    real = catalog.facts("resnet20")
    assert real is not None and real.parameters is not None
    wrong = dataclasses.replace(real, parameters=real.parameters + 1)
    monkeypatch.setattr(catalog, "facts", lambda name: wrong)
    report = check_model("resnet20", numerics=False)
    assert failed(report) == {"published facts"}
    assert f"published {wrong.parameters:,}" in report.verdict("published facts").found


def test_text_and_json_agree() -> None:
    report = check_model(InPlace, INPUT, numerics=False)
    plain = json.loads(json.dumps(report.as_json()))
    assert plain["passed"] is False and len(plain["checks"]) == len(report.checks)
    text = report.text()
    assert all(check.name in text for check in report.checks)
    assert text.count("mend:") == len(report.failed)
    assert max(map(len, text.splitlines())) <= 120 + len(str(__file__))
