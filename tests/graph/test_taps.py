"""Activations by name: modules, blocks, repeated calls, joins; networks that cannot be traced; nothing left behind."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph import shapes, taps
from foveal.layers.residual import BasicBlock


class Net(nn.Module):
    """A block with a join, one ReLU called twice, and a layer that only training uses."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.conv1, self.block = nn.Conv2d(3, 4, 3), BasicBlock(4, 4)
        self.relu, self.aux = nn.ReLU(inplace=inplace), nn.Conv2d(4, 4, 1)
        self.conv2 = nn.Conv2d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv2(self.block(self.relu(self.conv1(x)))))


class Branching(Net):
    """Cannot be traced; has another way in, too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > -1e9 else x

    def detect(self, x: Tensor) -> list[Tensor]:
        return [F.relu(self.conv1(x)), self.conv1(2 * x)]


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("make", [Net, Branching])
def test_modules_blocks_and_further_calls(make: type[Net]) -> None:
    model, images = make().eval(), torch.randn(2, 3, 9, 9)
    values = taps(model, ["relu#2", "conv1", "block", "relu"])(images)
    assert list(values) == ["relu#2", "conv1", "block", "relu"]
    first = model.conv1(images)
    assert torch.equal(values["conv1"], first) and torch.equal(values["relu"], first.relu())
    assert torch.equal(values["block"], model.block(first.relu()))
    assert torch.equal(values["relu#2"], model(images))
    assert not hooks(model)


def test_every_layer_that_shapes_knows_by_its_name() -> None:
    model = Net().eval()
    layers = shapes(model, (3, 9, 9))
    values = taps(model, [layer.path for layer in layers])(torch.randn(2, 3, 9, 9))
    assert {path: tuple(value.shape[1:]) for path, value in values.items()} == {x.path: x.output for x in layers}
    assert "block.add" in values
    images = torch.randn(1, 3, 9, 9)
    join = taps(model, "block.add")(images)["block.add"]
    assert torch.equal(join.relu(), taps(model, "block")(images)["block"])
    assert list(taps(nn.Linear(3, 2), "linear")(torch.randn(4, 3))) == ["linear"]


def test_gradients_of_scores_reach_the_activations() -> None:
    torch.manual_seed(0)
    model, images = Net(), torch.randn(1, 3, 9, 9)
    for layer in ("conv1", "block.add"):
        values = taps(model, [layer, "relu#2"])(images)
        (gradient,) = torch.autograd.grad(values["relu#2"].sum(), values[layer])
        assert gradient.shape == values[layer].shape and gradient.any()


def test_in_place_layers_do_not_change_what_was_heard() -> None:
    model, images = Net(inplace=True), torch.randn(1, 3, 9, 9)
    with torch.no_grad():
        assert torch.equal(taps(model, "conv1")(images)["conv1"], model.conv1(images))
    with torch.inference_mode():
        assert (taps(model, "conv1")(images)["conv1"] < 0).any()
    with pytest.raises(FovealError, match="the output of layer 'conv1' was overwritten in place"):
        taps(model, "conv1")(images)


def test_other_ways_in() -> None:
    model, images = Branching(), torch.randn(1, 3, 9, 9)
    values = taps(model, ["conv1", "conv1#2"], "detect")(images)
    assert torch.equal(values["conv1#2"], model.conv1(2 * images))
    with pytest.raises(FovealError, match="layer 'conv2' was not reached when detect ran"):
        taps(model, "conv2", "detect")(images)
    assert not hooks(model)
    with pytest.raises(FovealError, match=r"unknown method of Branching 'detekt'\ndid you mean detect"):
        taps(model, "conv1", "detekt")


def test_nothing_stays_when_it_raises() -> None:
    model = Net().train()
    with pytest.raises(RuntimeError):
        taps(model, ["conv1", "block"])(torch.randn(1, 2, 9, 9))
    assert not hooks(model) and model.training


def test_what_is_refused() -> None:
    with pytest.raises(FovealError, match=r"unknown layer 'conv3'\ndid you mean .*conv2"):
        taps(Net(), "conv3")
    with pytest.raises(FovealError, match=r"unknown layer 'block.ad'\ndid you mean .*block.add"):
        taps(Net(), "block.ad")
    with pytest.raises(
        FovealError, match=r"unknown layer 'block.add'\n.*joins are not known here: .*uses the function sum"
    ):
        taps(Branching(), "block.add")
    with pytest.raises(FovealError, match=r"the block 'block' and the join 'block.add' cannot be tapped together"):
        taps(Net(), ["block", "block.add"])
    with pytest.raises(FovealError, match="layer 'aux' was not reached"):
        taps(Net(), "aux")(torch.randn(1, 3, 9, 9))
    with pytest.raises(FovealError, match="'lstm' gives a tuple, not one tensor"):
        taps(_Recurrent(), "lstm")(torch.randn(2, 3, 4))


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]
