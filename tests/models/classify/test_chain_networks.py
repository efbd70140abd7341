"""ZF net, OverFeat, CNN-F/M/S, network in network and Deep Image: the sizes, widths and counts that were published."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.graph.count import count
from foveal.graph.receptive_field import receptive_field
from foveal.models import create
from foveal.types import Facts

SIZES = {
    "zfnet": "conv1 110 pool1 55 conv2 26 pool2 13 conv3 13 conv4 13 conv5 13 pool5 6",
    "overfeat_fast": "conv1 56 pool1 28 conv2 24 pool2 12 conv3 12 conv4 12 conv5 12 pool5 6",
    "overfeat_accurate": "conv1 108 pool1 36 conv2 30 pool2 15 conv3 15 conv4 15 conv5 15 conv6 15 pool6 5",
    "cnn_f": "conv1 54 pool1 27 conv2 27 pool2 13 conv3 13 conv4 13 conv5 13 pool5 6",
    "cnn_m": "conv1 109 pool1 54 conv2 26 pool2 13 conv3 13 conv4 13 conv5 13 pool5 6",
    "cnn_s": "conv1 109 pool1 37 conv2 35 pool2 18 conv3 18 conv4 18 conv5 18 pool5 6",
    "nin": "conv1_3 54 pool1 27 conv2_3 27 pool2 13 conv3_3 13 pool3 6 conv4_3 6 pool4 1",
    "nin_cifar": "conv1_3 32 pool1 16 conv2_3 16 pool2 8 conv3_3 8 pool3 1",
    "deep_image": "conv2 224 pool2 112 pool4 56 pool7 28 pool10 14 conv13 14 pool13 7",
}


def known(name: str) -> Facts:
    facts = catalog.facts(name)
    assert facts is not None
    return facts


def published(name: str, key: str) -> tuple[int, ...]:
    value = known(name).published[key]
    assert isinstance(value, tuple)
    return value


def on_meta(name: str, **options: object) -> nn.Sequential:
    with torch.device("meta"):
        model = create(name, **options)  # type: ignore[arg-type]
    assert isinstance(model, nn.Sequential)
    return model


def outputs(model: nn.Sequential, size: tuple[int, ...]) -> dict[str, Tensor]:
    x, found = torch.empty(1, *size, device="meta"), {}
    for name, layer in model.named_children():
        found[name] = x = layer(x)
    return found


def weighted(model: nn.Sequential) -> dict[str, nn.Conv2d | nn.Linear]:
    return {name: m for name, m in model.named_children() if isinstance(m, nn.Conv2d | nn.Linear)}


@pytest.mark.parametrize("name", SIZES)
def test_spatial_sizes(name: str) -> None:
    found = outputs(on_meta(name), known(name).input)
    words = SIZES[name].split()
    for layer, size in zip(words[::2], map(int, words[1::2]), strict=True):
        assert found[layer].shape[2:] == (size, size), layer


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("zfnet", {"maps": "b"}, 107_627_624),
        ("cnn_m", {"fc7": 2048}, 92_469_864),
        ("cnn_m", {"fc7": 1024}, 87_250_536),
        ("cnn_m", {"fc7": 128}, 82_683_624),
        ("deep_image", {"fc": 8192}, 295_553_832),
    ],
)
def test_parameters_of_variants(name: str, options: dict[str, object], parameters: int) -> None:
    assert count(on_meta(name, **options), known(name).input).parameters == parameters


@pytest.mark.parametrize(("name", "digit"), [("overfeat_fast", 10**6), ("overfeat_accurate", 10**6), ("nin", 10**5)])
def test_parameters_are_the_published_figure_cut_off(name: str, digit: int) -> None:
    facts = known(name)
    assert facts.parameters is not None
    assert facts.parameters // digit * digit == facts.published["parameters"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("zfnet", {"maps": "c"}, r"unknown maps of zfnet 'c'\nknown: a, b"),
        ("cnn_m", {"fc7": 512}, r"unknown fc7 of cnn_m '512'\n"),
        ("deep_image", {"fc": 4096}, r"unknown fc of deep_image '4096'\nknown: 6144, 8192"),
    ],
)
def test_other_variants_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        create(name, **options)  # type: ignore[arg-type]


def test_zfnet_is_figure_3() -> None:
    model = on_meta("zfnet")
    found = outputs(model, (3, 224, 224))
    assert tuple(found[n].shape[-1] for n in found if n.startswith(("conv", "pool"))) == published("zfnet", "sizes")
    assert list(found)[:8] == ["conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2"]
    assert all(layer.groups == 1 for layer in weighted(model).values() if isinstance(layer, nn.Conv2d))
    assert weighted(model)["fc8"].weight.shape == (1000, 4096)  # not 4096 units, as a lecture's table has it


def test_zfnets_variant_b_widens_layers_3_to_5() -> None:
    plain, wide = weighted(on_meta("zfnet")), weighted(on_meta("zfnet", maps="b"))
    assert [len(wide[n].weight) for n in ("conv3", "conv4", "conv5")] == [512, 1024, 512]
    assert {n for n in plain if len(plain[n].weight) != len(wide[n].weight)} == {"conv3", "conv4", "conv5"}


def test_overfeats_table_1_but_for_its_slip() -> None:
    model = on_meta("overfeat_fast")
    layers, found = weighted(model), outputs(model, (3, 231, 231))
    assert tuple(len(layer.weight) for layer in layers.values()) == published("overfeat_fast", "maps")
    order = list(found)
    before = [found[order[order.index(n) - 1]] if n != "conv1" else torch.empty(1, 3, 231, 231) for n in layers]
    before[5] = found["pool5"]  # fc6 reads it through flatten
    sizes = [x.shape[-1] if x.dim() == 4 else 1 for x in before]
    assert sizes == [231, 28, 12, 12, 12, 6, 1, 1]
    table = published("overfeat_fast", "spatial_input_sizes")
    assert [i for i, (ours, theirs) in enumerate(zip(sizes, table, strict=True), 1) if ours != theirs] == [2]
    assert found["conv2"].shape[-1] == table[1] == 24  # the printed input is the output


@pytest.mark.parametrize(("name", "last", "step", "window"), [("fast", "pool5", 32, 6), ("accurate", "pool6", 36, 5)])
def test_overfeat_slides_its_classifier_in_these_steps(name: str, last: str, step: int, window: int) -> None:
    size = known(f"overfeat_{name}").input
    model = on_meta(f"overfeat_{name}")
    assert list(receptive_field(model, size)[last].stride) == [step, step]
    assert outputs(model, size)[last].shape[-1] == window
    assert not [m for m in model if isinstance(m, nn.LocalResponseNorm)]
    assert all(m.kernel_size == m.stride for m in model if isinstance(m, nn.MaxPool2d))


@pytest.mark.parametrize(
    ("image", "unpooled", "pooled", "scores"),
    [
        ((245, 245), (17, 17), (5, 5), (3, 3)),
        ((281, 317), (20, 23), (6, 7), (6, 9)),
        ((317, 389), (23, 29), (7, 9), (9, 15)),
        ((389, 461), (29, 35), (9, 11), (15, 21)),
        ((425, 497), (32, 38), (10, 12), (18, 24)),  # printed 32x35, (10x11): a slip, as 18x24 shows
        ((461, 569), (35, 44), (11, 14), (21, 30)),
    ],
)
def test_overfeats_table_5_is_of_the_accurate_network(
    image: tuple[int, int], unpooled: tuple[int, int], pooled: tuple[int, int], scores: tuple[int, int]
) -> None:
    model = on_meta("overfeat_accurate")
    maps = model[: list(dict(model.named_children())).index("pool6")](torch.empty(1, 3, *image, device="meta"))
    assert maps.shape[2:] == unpooled
    for offset in range(3):
        assert model.get_submodule("pool6")(maps[:, :, offset:, offset:]).shape[2:] == pooled
    assert tuple(3 * (n - 4) for n in pooled) == scores  # 3x3 offsets, a 5x5 classifier
    assert outputs(on_meta("overfeat_fast", input=(3, *image)), (3, *image))["conv5"].shape[2:] != unpooled


def test_networks_of_chatfield_et_al() -> None:
    """Table 1: strides, normalised layers and poolings."""
    strides = {"cnn_f": (4, 1), "cnn_m": (2, 2), "cnn_s": (2, 1)}
    normalised = {"cnn_f": ["norm1", "norm2"], "cnn_m": ["norm1", "norm2"], "cnn_s": ["norm1"]}
    pools = {"cnn_f": [(3, 2)] * 3, "cnn_m": [(3, 2)] * 3, "cnn_s": [(3, 3), (2, 2), (3, 3)]}
    for name, (first, second) in strides.items():
        model = on_meta(name)
        assert model.get_submodule("conv1").stride == (first, first)
        assert model.get_submodule("conv2").stride == (second, second)
        assert [n for n, m in model.named_children() if isinstance(m, nn.LocalResponseNorm)] == normalised[name]
        assert [(m.kernel_size, m.stride) for m in model if isinstance(m, nn.MaxPool2d)] == pools[name]
        assert all(m.ceil_mode for m in model if isinstance(m, nn.MaxPool2d))


@pytest.mark.parametrize("width", [4096, 2048, 1024, 128])
def test_fc7_of_cnn_m_is_the_descriptor(width: int) -> None:
    assert outputs(on_meta("cnn_m", fc7=width), (3, 224, 224))["relu7"].shape == (1, width)


def test_network_in_network_has_no_fully_connected_layer() -> None:
    for name in ("nin", "nin_cifar"):
        model = on_meta(name)
        layers = weighted(model)
        assert all(isinstance(layer, nn.Conv2d) for layer in layers.values())
        pointwise = {n for n, layer in layers.items() if layer.weight.shape[2:] == (1, 1)}
        assert pointwise == {n for n in layers if n[-1] in "23"}
        assert isinstance(model[-3], nn.ReLU)  # in front of the average over each class's map
    parameters = known("nin").parameters
    assert parameters is not None
    assert round(4 * parameters / 2**20) == known("nin").published["megabytes"]


def test_network_in_network_averages_a_map_for_each_class() -> None:
    torch.manual_seed(0)
    model = create("nin_cifar", 4).eval()
    assert isinstance(model, nn.Sequential)
    images = torch.randn(2, 3, 48, 32)
    with torch.no_grad():
        maps = model[:-2](images)
        assert maps.shape == (2, 4, 12, 8)
        assert maps.any()
        torch.testing.assert_close(model(images), maps.mean((2, 3)))


def test_deep_image_is_vgg_d_with_a_wider_head() -> None:
    ours, vgg = weighted(on_meta("deep_image")), weighted(on_meta("vgg16"))
    assert len(ours) == known("deep_image").published["layers"]
    shapes = [layer.weight.shape for layer in ours.values() if isinstance(layer, nn.Conv2d)]
    assert shapes == [layer.weight.shape for layer in vgg.values() if isinstance(layer, nn.Conv2d)]
    assert list(ours)[:13] == [f"conv{i}" for i in range(1, 14)]
    for width in published("deep_image", "fc"):
        heads = weighted(on_meta("deep_image", fc=width))
        assert [len(heads[n].weight) for n in ("fc14", "fc15", "fc16")] == [width, width, 1000]


@pytest.mark.parametrize(
    ("name", "side", "fc"), [("zfnet", 64, "fc7"), ("overfeat_fast", 71, "fc7"), ("cnn_m", 64, "fc7")]
)
def test_weights_start_with_deviation_0_01_and_biases_with_0(name: str, side: int, fc: str) -> None:
    torch.manual_seed(0)
    model = create(name, 2, input=(3, side, side))  # fc6 is small at this size
    for layer in ("conv1", "conv2", "conv5", fc):
        assert model.get_parameter(f"{layer}.weight").std().item() == pytest.approx(0.01, rel=0.05), layer
        assert not model.get_parameter(f"{layer}.bias").any()


def test_network_in_network_starts_as_released() -> None:
    torch.manual_seed(0)
    model = create("nin", 50)
    assert isinstance(model, nn.Sequential)
    deviations = {name: round(layer.weight.std().item(), 2) for name, layer in weighted(model).items()}
    assert {n for n, deviation in deviations.items() if deviation == 0.01} == {"conv1_1", "conv3_1", "conv4_3"}
    assert set(deviations.values()) == {0.01, 0.05}


def test_deep_image_keeps_the_signal() -> None:
    torch.manual_seed(0)
    model = create("deep_image", 10, input=(3, 32, 32)).eval()
    with torch.no_grad():
        assert 0.1 < model(torch.randn(2, 3, 32, 32)).std() < 10
