"""The same weights give torchvision's scores, to 1e-5; each key map is the one that the model's file states."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from torch import Tensor, nn

from foveal.models import create


def compare(ours: nn.Module, theirs: nn.Module, state: dict[str, Tensor], images: Tensor) -> None:
    theirs.load_state_dict(state, assign=True)  # strict: every key and shape has its partner
    with torch.inference_mode():
        mine, reference = ours.eval()(images), theirs.eval()(images)
    assert reference.std() > 0.01, "the comparison needs scores that say something"
    torch.testing.assert_close(mine, reference, atol=1e-5, rtol=1e-5)


def vgg_keys(ours: nn.Module, theirs: nn.Module) -> dict[str, str]:
    def weighted(model: nn.Module) -> list[str]:
        return [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]

    return dict(zip(weighted(ours), weighted(theirs), strict=True))


def resnet_key(key: str) -> str:
    key = key.replace("shortcut.conv", "downsample.0").replace("shortcut.bn", "downsample.1")
    return re.sub(r"^conv(\d)_(\d+)", lambda m: f"layer{int(m[1]) - 1}.{int(m[2]) - 1}", key)


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg16", "vgg19"])
def test_vgg(name: str) -> None:
    torch.manual_seed(0)
    ours = create(name, init="he")
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, init_weights=False)
    keys = vgg_keys(ours, theirs)
    state = {f"{keys[module]}.{leaf}": v for k, v in ours.state_dict().items() for module, leaf in [k.rsplit(".", 1)]}
    compare(ours, theirs, state, torch.randn(1, 3, 224, 224))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_resnet(name: str) -> None:
    torch.manual_seed(0)
    ours = create(name)
    images = torch.randn(2, 3, 160, 160)
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the running statistics become those of the images: scores of a sensible size
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    with torch.no_grad():
        ours.train()(images)
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name)
    compare(ours, theirs, {resnet_key(k): v for k, v in ours.state_dict().items()}, images)


def test_alexnet_in_one_tower() -> None:
    torch.manual_seed(0)
    ours = create("alexnet_owt")
    for layer in ours.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    with torch.device("meta"):
        theirs = torchvision.models.alexnet()
    keys = vgg_keys(ours, theirs)
    state = {f"{keys[module]}.{leaf}": v for k, v in ours.state_dict().items() for module, leaf in [k.rsplit(".", 1)]}
    compare(ours, theirs, state, torch.randn(2, 3, 224, 224))


def test_alexnets_classifier_where_the_two_networks_agree() -> None:
    """torchvision's is not the network of 2012, but fc6 to fc8 are the same three layers."""
    torch.manual_seed(0)
    ours = create("alexnet").eval()
    with torch.device("meta"):
        theirs = torchvision.models.alexnet().classifier
    state = {
        f"{i}.{k}": ours.get_parameter(f"{fc}.{k}")
        for i, fc in ((1, "fc6"), (4, "fc7"), (6, "fc8"))
        for k in ("weight", "bias")
    }
    assert isinstance(ours, nn.Sequential)
    names = [name for name, _ in ours.named_children()]
    compare(ours[names.index("fc6") :], theirs, state, torch.randn(4, 9216).abs())
