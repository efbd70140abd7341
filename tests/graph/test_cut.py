"""Two parts, one behind the other, are the network; cuts that something crosses are refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph import cut, shapes, taps
from foveal.layers.residual import BasicBlock
from foveal.models import create


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.ReLU(), BasicBlock(4, 4), BasicBlock(4, 6, 2), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Linear(6, 5)),
    )


IMAGES = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("end", "start"), [("1", "2"), ("2", "3"), ("2.add", "2.relu2"), ("3", "4"), ("5", "6")])
def test_the_two_parts_are_the_network(end: str, start: str) -> None:
    model = net().eval()
    first, second = cut(model, end=end), cut(model, start=start)
    assert torch.equal(second(first(IMAGES)), model(IMAGES))
    assert torch.equal(first(IMAGES), taps(model, end)(IMAGES)[end])
    keys = model.state_dict().keys()
    assert first.state_dict().keys() | second.state_dict().keys() == keys
    assert not first.state_dict().keys() & second.state_dict().keys()
    assert not any(module.training for module in (*first.modules(), *second.modules()))


def test_a_middle_part_is_a_copy_and_can_be_passed_on() -> None:
    model = net().train()
    middle = cut(model, start="2", end="3")
    assert [x.path for x in shapes(middle, (4, 10, 10))][-1] == shapes(model, (3, 12, 12))[-4].path
    with torch.no_grad():
        next(middle.parameters()).zero_()
    assert model[2].conv1.weight.any() and middle.training
    assert cut(middle, end="2").state_dict().keys() < middle.state_dict().keys()


def test_a_shortcut_reads_the_new_input_as_well() -> None:
    model = net().eval()
    values = taps(model, ["1", "2.add"])(IMAGES)
    assert torch.equal(cut(model, start="2.conv1", end="2.add")(values["1"]), values["2.add"])


class Skip(nn.Module):
    """An hourglass with a bridge."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(2, 2, 2, 2), nn.ConvTranspose2d(2, 2, 2, 2)
        self.left, self.score = nn.Conv2d(2, 2, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.left(x)
        return self.score(torch.cat((self.up(self.down(a)), a), 1))


def test_what_is_refused() -> None:
    model = Skip()
    with pytest.raises(FovealError, match=r"'cat' also needs 'left', from before 'up'\ncut where one value alone"):
        cut(model, start="up")
    with pytest.raises(FovealError, match="'cat' reads 2 values, 'up' and 'left'"):
        cut(model, start="cat")
    with pytest.raises(FovealError, match=r"'2.add' also needs '2.shortcut', from before '2.bn1'"):
        cut(net(), start="2.bn1")
    with pytest.raises(FovealError, match="'left' does not come after 'score'"):
        cut(model, start="score", end="left")
    with pytest.raises(FovealError, match=r"unknown layer 'scores'\ndid you mean score"):
        cut(model, end="scores")
    with pytest.raises(FovealError, match="a cut needs a place"):
        cut(model)


def test_features_of_a_large_network_without_memory() -> None:
    with torch.device("meta"):
        model = create("vgg16")
        assert cut(model, end="pool5")(torch.empty(1, 3, 224, 224)).shape == (1, 512, 7, 7)
