"""Another head, or none: what changes and what stays, and networks that have no single head."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from foveal.errors import FovealError
from foveal.graph import convolutionalize, remove_head, replace_head
from foveal.models import create
from foveal.notation import parse


def small(*behind: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5), *behind)


def test_the_new_head_is_all_that_changes() -> None:
    model = small().double().eval()
    before = copy.deepcopy(model.state_dict())
    new = replace_head(model, 7)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert new(images).shape == (2, 7) and new(images).dtype == torch.float64
    assert new.state_dict().keys() == before.keys() and not new.training
    assert torch.equal(new.state_dict()["0.weight"], before["0.weight"])
    assert model(images).shape == (2, 5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_frozen_networks_get_a_head_that_learns() -> None:
    new = replace_head(small().requires_grad_(False), 2)
    assert [name for name, p in new.named_parameters() if p.requires_grad] == ["3.weight", "3.bias"]


@pytest.mark.parametrize("behind", [[], [nn.Softmax(1)], [nn.Sigmoid(), nn.Dropout()]])
def test_features_are_what_the_head_read(behind: list[nn.Module]) -> None:
    model = small(*behind).eval()
    images = torch.randn(2, 3, 8, 8)
    features = remove_head(model)
    assert torch.equal(features(images), model[:3](images))
    assert features.state_dict().keys() == {"0.weight", "0.bias"}


def test_a_convolution_before_global_pooling() -> None:
    """NIN's way: the head is the last convolution, its ReLU goes with it, the pooling stays."""
    model = parse("3-1Conv6 (ReLU) → 1-1Conv5 (ReLU) → GlobalAvgPool → Flatten", (3, 8, 8))
    images = torch.randn(2, 3, 8, 8)
    assert replace_head(model, 3)(images).shape == (2, 3)
    assert torch.allclose(remove_head(model)(images), model[:2](images).mean((2, 3)))


def test_functional_flatten_and_shared_relus() -> None:
    """A network of torchvision's, whose forward joins and flattens by functions."""
    model = models.resnet18().eval()
    images = torch.randn(1, 3, 64, 64)
    assert replace_head(model, 4)(images).shape == (1, 4)
    assert remove_head(model)(images).shape == (1, 512)
    assert type(replace_head(model, 4)) is models.ResNet


def test_a_sliding_network_too() -> None:
    model = convolutionalize(parse("3-1Conv4 (ReLU) → FC6 (ReLU) → FC5", (3, 8, 8)), (3, 8, 8))
    assert replace_head(model, 3)(torch.randn(1, 3, 10, 9)).shape == (1, 3, 3, 2)


def test_heads_that_forward_does_not_use_follow() -> None:
    with torch.device("meta"):
        google, dense = create("googlenet", aux=True), create("msdnet", exits=3)
        new, images = replace_head(google, 11), torch.empty(2, 3, 224, 224)
        assert {name: p.shape[0] for name, p in new.named_parameters() if p.shape[0] == 11}.keys() == {
            f"{head}.{kind}" for head in ("fc", "aux1.fc2", "aux2.fc2") for kind in ("weight", "bias")
        }
        assert new.losses(images, torch.zeros(2, dtype=torch.long)).keys() == {"cross_entropy", "aux1", "aux2"}
        assert [s.shape[1] for s in replace_head(dense, 4).exits(torch.empty(2, 3, 32, 32))] == [4, 4, 4]


def test_codes_of_lenet_are_drawn_anew() -> None:
    new = replace_head(create("lenet5"), 4)
    assert new.output.centres.shape == (4, 84) and set(new.output.centres.flatten().tolist()) == {-1.0, 1.0}
    assert new(torch.zeros(1, 1, 32, 32)).shape == (1, 4)
    assert "output.centres" not in remove_head(create("lenet5")).state_dict()


class Two(nn.Module):
    """Scores of two layers."""

    def __init__(self, together: str) -> None:
        super().__init__()
        self.left, self.right, self.together = nn.Linear(6, 4), nn.Linear(6, 4), together

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        both = (self.left(x), self.right(x))
        return torch.cat(both, 1) if self.together == "cat" else both[0] + both[1] if self.together == "add" else both


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Two("add"), "Two has no single head: its scores come together in the join 'add'"),
        (Two("cat"), "its scores come together in the join 'cat'"),
        (Two("both"), "its forward gives several outputs"),
        (nn.Sequential(nn.ReLU()), "no layer with weights stands before its output"),
        (nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), r"its last layer is '1' \(BatchNorm1d\)"),
        (nn.Sequential(*[nn.Linear(6, 6)] * 2), "its last layer '0' is used at 2 places"),
    ],
)
def test_no_single_head(model: nn.Module, message: str) -> None:
    for edit in (remove_head, lambda model: replace_head(model, 3)):
        with pytest.raises(FovealError, match=message):
            edit(model)


def test_heads_that_cannot_be_remade() -> None:
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    with pytest.raises(FovealError, match="the head '0' is a convolution in 2 groups"):
        replace_head(nn.Sequential(nn.Conv2d(4, 4, 1, groups=2)), 3)
    with pytest.raises(FovealError, match="forward of its own"):
        replace_head(nn.Sequential(OrderedDict(fc=Own(3, 4))), 3)
    with pytest.raises(FovealError, match="num_classes=0"):
        replace_head(small(), 0)
