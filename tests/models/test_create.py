"""Making networks by name, and what is said when a name or an option is wrong."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.layers.layout import channels_last
from foveal.models import create

PUBLISHED_NAMES = {
    "perceptron", "mlp", "lenet5", "alexnet", "vgg11", "vgg11_lrn", "vgg13", "vgg16_c", "vgg16", "vgg19",
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "plain18", "plain34",
    "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202", "plain20", "plain56",
}  # fmt: skip


def own_network(num_classes: int = 3, *, width: int = 4) -> nn.Module:
    return nn.Linear(width, num_classes)


def not_a_network() -> int:
    return 3


def test_every_promised_name_is_in_the_catalogue() -> None:
    assert not PUBLISHED_NAMES.difference(catalog.names("model"))


def test_number_of_classes_and_options_arrive() -> None:
    model = create("mlp", num_classes=7, hidden=(5,), input=(1, 4, 4))
    assert model(torch.zeros(2, 1, 4, 4)).shape == (2, 7)


def test_a_function_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    made = create(f"{__name__}:own_network", num_classes=5, width=6)
    assert isinstance(made, nn.Linear)
    assert made.weight.shape == (5, 6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet19", {}, r"unknown model 'resnet19'\ndid you mean .*resnet18"),
        ("resnet18", {"shortcuts": "B"}, r"unknown option of resnet18 'shortcuts'\ndid you mean shortcut\?"),
        ("resnet18", {"shortcut": "D"}, r"unknown shortcut 'D'\nknown: A, B, C"),
        ("resnet50", {"version": "2"}, r"unknown version of ResNet '2'"),
        ("alexnet", {"towers": 3}, r"unknown number of towers of alexnet '3'"),
        ("vgg16", {"init": "hee"}, r"unknown init of VGG 'hee'\ndid you mean he\?"),
        ("lenet5", {"output": "softmax"}, r"unknown output of lenet5 'softmax'"),
        ("mlp", {"activation": "rellu"}, r"unknown activation of mlp 'rellu'\ndid you mean relu"),
        ("mlp", {"hidden": (10, 0)}, r"hidden=\(10, 0\) has an empty layer"),
        ("perceptron", {"connections": 500}, r"connections=500 on 400 pixels\n.*1 to 400"),
        ("lenet5", {"num_classes": 0}, r"num_classes=0"),
        (f"{__name__}:not_a_network", {}, r"returned int, not a torch.nn.Module"),
        (f"{__name__}:own_networks", {}, r"did you mean own_network"),
        ("no.such.package:net", {}, r"cannot import 'no.such.package'"),
    ],
)
def test_mistakes_name_the_way_out(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        create(name, **options)  # type: ignore[arg-type]


def test_weights_lie_with_channels_last_and_are_the_same() -> None:
    torch.manual_seed(0)
    made = catalog.get("model", "resnet20")().eval()
    torch.manual_seed(0)
    model = create("resnet20").eval()
    assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    for (name, weight), (other, wanted) in zip(model.state_dict().items(), made.state_dict().items(), strict=True):
        assert name == other and torch.equal(weight, wanted)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert model.get_submodule("conv1")(images).is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(model(images), made(images), atol=1e-5, rtol=1e-5)


def test_layout_leaves_computed_weights_and_other_dimensions_alone() -> None:
    computed = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    wanted = computed.weight.detach().clone()
    model = channels_last(nn.Sequential(nn.Conv3d(1, 2, 3), nn.ConvTranspose2d(3, 2, 3), computed))
    assert torch.equal(computed.weight, wanted)
    assert model[0].weight.is_contiguous()
    assert model[1].weight.is_contiguous(memory_format=torch.channels_last)
