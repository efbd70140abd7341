"""Tracing: what is seen, what is refused, and how it is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph.shapes import shapes
from foveal.graph.trace import trace


class Net(nn.Module):
    """A convolution, and then what the test asks for."""

    def __init__(self, then: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.then = then

    def forward(self, x: Tensor) -> object:
        return self.then(self, self.conv(x))


def test_joins_and_repeated_calls_have_places() -> None:
    block = Net(lambda self, x: torch.cat([self.relu(x), self.relu(x) + x], 1))
    graph = trace(nn.Sequential(nn.Conv2d(3, 3, 1), block, nn.Flatten()))
    paths = [node.meta["path"] for node in graph.graph.nodes if node.op.startswith("call")]
    assert paths == ["0", "1.conv", "1.relu", "1.relu#2", "1.add", "1.cat", "2"]


@pytest.mark.parametrize(
    ("function", "name", "module"),
    [
        (lambda _, x: F.relu(x), "relu", "nn.ReLU"),
        (lambda _, x: x.relu(), "relu", "nn.ReLU"),
        (lambda _, x: F.max_pool2d(x, 2), "max_pool2d", "nn.MaxPool2d"),
        (lambda _, x: F.avg_pool2d(x, 2), "avg_pool2d", "nn.AvgPool2d"),
        (lambda _, x: F.dropout(x), "dropout", "nn.Dropout"),
        (lambda _, x: x.view(2, -1), "view", "nn.Flatten"),
        (lambda _, x: F.interpolate(x, scale_factor=2), "interpolate", "nn.Upsample"),
        (lambda _, x: x.mean((2, 3)), "mean", "nn.AdaptiveAvgPool2d"),
        (lambda _, x: x * 2, "mul", "an nn.Module of its own"),
    ],
)
def test_functions_are_refused(function: Callable[[nn.Module, Tensor], object], name: str, module: str) -> None:
    with pytest.raises(FovealError) as caught:
        trace(nn.Sequential(nn.Identity(), Net(function)))
    assert caught.value.what.startswith(f"'1' uses the function {name} ({__file__}:")
    assert module in caught.value.mend


def test_the_line_is_that_of_the_call() -> None:
    def function(_: nn.Module, x: Tensor) -> Tensor:
        return F.relu(x)

    line = function.__code__.co_firstlineno + 1
    with pytest.raises(FovealError, match=rf"the forward of Net uses the function relu \(.*:{line}\)"):
        trace(Net(function))


def test_control_flow_on_data_is_refused() -> None:
    def function(_: nn.Module, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else x + x

    with pytest.raises(FovealError, match=rf"'0' uses the function sum \({__file__}"):
        trace(nn.Sequential(Net(function)))

    def branch(_: nn.Module, x: Tensor) -> Tensor:
        return x if x else x + x

    with pytest.raises(FovealError, match=rf"'0' cannot be traced \({__file__}:\d+\).*control flow") as caught:
        trace(nn.Sequential(Net(branch)))
    assert "must not branch" in caught.value.mend


def test_two_inputs_are_refused_and_defaults_are_kept() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    class Default(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor, scale: int = 1, *, flag: bool = False) -> Tensor:
            return self.conv(x) if not flag else x

    with pytest.raises(FovealError, match="not one batch of images"):
        trace(Two())
    assert [layer.path for layer in shapes(Default(), (3, 8, 8))] == ["conv"]


def test_an_empty_sequential_is_an_identity() -> None:
    assert [layer.path for layer in shapes(nn.Sequential(nn.Sequential(), nn.ReLU()), (3, 8, 8))] == ["1"]


def test_unflattened_models_with_functional_flatten_are_seen() -> None:
    layers = shapes(Net(lambda _, x: torch.flatten(x, 1)), (3, 8, 8))
    assert [(layer.path, layer.kind, layer.output) for layer in layers][1:] == [("flatten", "flatten", (144,))]
