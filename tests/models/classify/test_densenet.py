"""DenseNets: sizes and growth as published, who reads what, and mistakes in the options."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foveal.contracts import check_model
from foveal.errors import FovealError
from foveal.graph.shapes import shapes
from foveal.models import create
from foveal.models.classify.densenet import FACTS, DenseLayer


def on_meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return create(name, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("densenet121", 121), ("densenet169", 169), ("densenet201", 201), ("densenet161", 161),
        ("densenet40_cifar", 40), ("densenet100_cifar", 100), ("densenet_bc100_cifar", 100),
    ],
)  # fmt: skip
def test_depth_is_the_number_in_the_name(name: str, depth: int) -> None:
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in on_meta(name).modules()) == depth


def test_sizes_of_table_1() -> None:
    outputs = {layer.path: layer.output for layer in shapes(on_meta("densenet121"), (3, 224, 224))}
    assert outputs["pool1"] == (64, 56, 56)
    assert outputs["dense1_6.cat"] == (256, 56, 56)
    assert outputs["transition1.pool"] == (128, 28, 28)
    assert outputs["transition2.pool"] == (256, 14, 14)
    assert outputs["transition3.pool"] == (512, 7, 7)
    assert outputs["relu_last"] == (1024, 7, 7)
    assert outputs["dense3_5.conv1"] == (128, 14, 14)  # 4k


@pytest.mark.parametrize(("name", "millions", "error"), [
    ("densenet40_cifar", 1.0, 5.24), ("densenet100_cifar", 7.0, 4.10), ("densenet_bc100_cifar", 0.8, 4.51),
])  # fmt: skip
def test_published_cifar_figures(name: str, millions: float, error: float) -> None:
    assert round(sum(p.numel() for p in on_meta(name).parameters()) / 1e6, 1) == millions
    assert FACTS[name].published["parameters_in_millions"] == millions
    assert FACTS[name].top1_error == error


@pytest.mark.parametrize("name", ["densenet40_cifar", "densenet_bc100_cifar"])
def test_every_layer_reads_the_maps_of_all_before_it(name: str) -> None:
    model = on_meta(name)
    for block in (1, 2, 3):
        layers = [m for path, m in model.named_children() if path.startswith(f"dense{block}_")]
        reads = [layer.get_submodule("conv1").in_channels for layer in layers]
        assert reads == list(range(reads[0], reads[0] + 12 * len(layers), 12))  # type: ignore[operator,arg-type]


@pytest.mark.parametrize("bottleneck", [False, True])
def test_the_input_stays_in_front_untouched(bottleneck: bool) -> None:
    torch.manual_seed(0)
    layer, x = DenseLayer(6, 4, bottleneck), torch.randn(2, 6, 5, 5)
    y = layer(x)
    assert y.shape == (2, 10, 5, 5)
    assert torch.equal(y[:, :6], x)
    new = x
    for part in layer.children():
        new = part(new)
    assert torch.equal(y[:, 6:], new)


def test_growth_of_one_adds_a_single_map() -> None:
    model = on_meta("densenet_cifar", depth=13, growth=1)
    outputs = {layer.path: layer.output for layer in shapes(model, (3, 32, 32))}
    assert [outputs[f"dense1_{i}.cat"][0] for i in (1, 2, 3)] == [17, 18, 19]


def test_compression_halves_the_maps_of_a_transition() -> None:
    model = on_meta("densenet_bc100_cifar")
    conv = model.get_submodule("transition1.conv")
    assert (conv.in_channels, conv.out_channels) == (24 + 16 * 12, 108)


def test_dropout_is_behind_every_convolution_but_the_first() -> None:
    model = on_meta("densenet40_cifar", dropout=0.2)
    assert sum(isinstance(m, nn.Dropout) for m in model.modules()) == 38  # 40 less conv1 and fc
    assert not [m for m in on_meta("densenet40_cifar").modules() if isinstance(m, nn.Dropout)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 41}, r"depth=41: three equal blocks need 3n \+ 4 layers"),
        ({"depth": 43, "bottleneck": True}, r"6n \+ 4"),
        ({"depth": 4}, "depth=4"),
        ({"compression": 1.5}, r"compression=1\.5"),
        ({"dropout": 1.0}, "dropout=1"),
        ({"growth": 0}, "growth=0"),
    ],
)
def test_mistakes_name_the_way_out(options: dict[str, object], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        on_meta("densenet_cifar", **options)


@pytest.mark.parametrize(("name", "side"), [("densenet40_cifar", 8), ("densenet_bc100_cifar", 8), ("densenet121", 32)])
def test_contract_in_full_on_a_small_image(name: str, side: int) -> None:
    report = check_model(name, (3, side, side))
    assert report.passed, report.text()
