"""Counts: against torch's own counter of FLOPs and published figures."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from foveal.errors import FovealError
from foveal.graph.count import count
from foveal.graph.windows import POINTWISE, register
from foveal.layers.rbf import RBF
from foveal.layers.table_conv import TableConv2d
from foveal.notation import parse


def flops(model: nn.Module, input: tuple[int, ...]) -> int:
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.empty(1, *input, device="meta"))
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "resnet50", "resnext50_32x4d", "densenet121"])
def test_torchvisions_networks(name: str) -> None:
    with torch.device("meta"):
        model = getattr(torchvision.models, name)()
    if name == "densenet121":  # functional pooling
        model = model.features[:3]
    found = count(model, (3, 224, 224))
    assert 2 * found.macs == flops(model, (3, 224, 224))
    assert found.parameters == sum(p.numel() for p in model.parameters()) == sum(row.parameters for row in found.layers)


@pytest.mark.parametrize(
    ("model", "input"),
    [
        (nn.Sequential(nn.Conv1d(4, 6, 5, 2, 3, 2, groups=2), nn.Flatten(), nn.Linear(60, 7)), (4, 21)),
        (nn.Sequential(nn.Conv3d(2, 6, (1, 2, 3), (1, 2, 1)), nn.ConvTranspose3d(6, 4, 3, 2, groups=2)), (2, 5, 6, 7)),
        (nn.Sequential(nn.ConvTranspose2d(3, 8, 4, 2, 1), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=8)), (3, 9, 10)),
        (nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2, bias=False)), (5,)),
    ],
)
def test_every_kind_of_convolution(model: nn.Module, input: tuple[int, ...]) -> None:
    assert 2 * count(model, input).macs == flops(model.to("meta"), input)


def test_alexnet_of_the_paper() -> None:
    with torch.device("meta"):
        model = parse("11-4Conv96 → 3-2MaxPool → 5-1-2Conv256/2 → 3-2MaxPool → 3-1-1Conv384 → 3-1-1Conv384/2 → "
                      "3-1-1Conv256/2 → 3-2MaxPool → FC4096 → FC4096 → FC1000")  # fmt: skip
    found = count(model, (3, 227, 227))
    assert found.parameters == found.trainable == 60_965_224
    assert found.bytes == 4 * 60_965_224
    assert round(found.macs / 1e6, 1) == 724.4
    neurons = [row.activations for row in found.layers if row.macs]
    assert neurons == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]  # the first is 253,440 in the paper
    assert found.activations == 659_272


def test_shared_frozen_and_unused_parameters() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.unused = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(5, 5)
            self.conv.weight.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x))

    found = count(Net(), (3, 4, 4))
    assert [(row.path, row.parameters, row.trainable, row.macs) for row in found.layers] == [
        ("conv", 9, 0, 144),
        ("conv#2", 0, 0, 144),
    ]
    assert (found.parameters, found.trainable, found.macs) == (39, 30, 288)


def test_layers_of_the_package() -> None:
    table = count(TableConv2d(3, ((0, 1), (1, 2), (0, 1, 2)), 5), (3, 14, 14))
    assert (table.parameters, table.macs) == (7 * 25 + 3, 7 * 25 * 100)
    assert count(RBF(torch.zeros(10, 84)), (84,)).macs == 840


def test_a_layer_with_weights_and_no_rule_is_refused() -> None:
    class Mystery(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(FovealError, match=r"layer '1' \(Mystery\) is unknown") as caught:
        count(nn.Sequential(nn.ReLU(), Mystery()), (3, 4, 4))
    assert "register(Mystery)" in caught.value.mend
    register(Mystery)(lambda _: POINTWISE)
    with pytest.raises(FovealError, match=r"the multiply-adds of layer '1' \(Mystery\) are unknown"):
        count(nn.Sequential(nn.ReLU(), Mystery()), (3, 4, 4))
    register(Mystery, macs=lambda layer, input, output: 9)(lambda _: POINTWISE)
    assert count(nn.Sequential(nn.ReLU(), Mystery()), (3, 4, 4)).macs == 9
