"""Every classifier against what its paper published, counted on the meta device, and against the house's rules."""

from __future__ import annotations

import operator
from collections import Counter

import pytest
import torch
import torchvision
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from foveal import catalog
from foveal.graph.count import count
from foveal.layers.table_conv import TableConv2d
from foveal.models import create
from foveal.models.classify.msdnet import MSDNet
from foveal.types import Facts

NAMES = [name for name, entry in catalog.entries("model").items() if entry.module.startswith("foveal.models.classify")]


def known(name: str) -> Facts:
    facts = catalog.facts(name)
    assert facts is not None, f"{name} has no FACTS"
    return facts


def on_meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return create(name, **options)  # type: ignore[arg-type]


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def macs(model: nn.Module, size: tuple[int, ...]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.empty(1, *size, device="meta"))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_the_published_ones(name: str) -> None:
    facts = known(name)
    model = on_meta(name, num_classes=facts.num_classes)
    assert parameters(model) == facts.parameters
    if facts.macs is not None:
        assert count(model, facts.input).macs == facts.macs
        if name != "lenet5":  # torch's counter sees C3 as the dense convolution that computes it
            assert macs(model, facts.input) == facts.macs


@pytest.mark.parametrize("name", [name for name in NAMES if name != "resnet1202"])  # slow, and built as resnet110 is
def test_scores_have_one_column_a_class_in_both_modes(name: str) -> None:
    model = on_meta(name, num_classes=13)
    images = torch.empty(2, *known(name).input, device="meta")
    for training in (True, False):
        scores = model.train(training)(images)
        assert isinstance(scores, Tensor)
        assert scores.shape == (2, 13)


@pytest.mark.parametrize("name", NAMES)
def test_everything_but_joins_is_a_module_called_once(name: str) -> None:
    class Leaves(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, qualified_name: str) -> bool:
            return not any(True for _ in m.children())

    model = on_meta(name)
    nodes = list(Leaves().trace(model).nodes)
    functions = {node.target for node in nodes if node.op in ("call_function", "call_method")}
    assert functions <= {operator.add, torch.cat}
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    leaves = {path for path, m in model.named_modules() if path and not any(True for _ in m.children())}
    early = {path for path in leaves - set(calls) if isinstance(model, MSDNet) and path.startswith("exit")}
    assert set(calls) == leaves - early  # forward takes the last exit only
    assert set(calls.values()) == {1}
    assert not [m for m in model.modules() if getattr(m, "inplace", False)]


@pytest.mark.parametrize("name", [n for n in NAMES if "parameters_in_millions" in known(n).published])
def test_parameters_round_to_the_papers_millions(name: str) -> None:
    facts = known(name)
    millions = facts.published["parameters_in_millions"]
    assert isinstance(millions, int | float)
    assert facts.parameters is not None
    digits = len(str(millions).partition(".")[2])
    assert round(facts.parameters / 1e6, digits) == millions


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_version_1_costs_what_the_paper_says(name: str) -> None:
    options = {"version": "1"} if name not in ("resnet18", "resnet34") else {}
    published = known(name).published["flops"]
    assert isinstance(published, float)
    counted = macs(on_meta(name, **options), (3, 224, 224))
    assert abs(counted - published) < 0.1e9  # table 1 has one digit, now cut (3.66 is printed 3.6), now rounded


def test_version_1_and_1_5_differ_in_strides_alone() -> None:
    first, later = on_meta("resnet50", version="1"), on_meta("resnet50")
    assert {k: v.shape for k, v in first.state_dict().items()} == {k: v.shape for k, v in later.state_dict().items()}
    for model, strided, other in ((first, "conv1", "conv2"), (later, "conv2", "conv1")):
        for block in ("conv3_1", "conv4_1", "conv5_1"):
            assert model.get_submodule(f"{block}.{strided}").stride == (2, 2)
            assert model.get_submodule(f"{block}.{other}").stride == (1, 1)


@pytest.mark.parametrize(("shortcut", "count"), [("A", 21_623_848), ("B", 21_797_672), ("C", 22_716_840)])
def test_resnet34_with_each_shortcut(shortcut: str, count: int) -> None:
    assert parameters(on_meta("resnet34", shortcut=shortcut)) == count


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_a_plain_net_has_its_residual_twins_layers(depth: int) -> None:
    """Section 4.2: option A adds no parameters, so that the comparison is fair; 6n + 2 layers have weights."""
    residual, plain = on_meta(f"resnet{depth}"), on_meta(f"plain{depth}")
    assert {k: v.shape for k, v in residual.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in plain.modules()) == depth


def test_zero_init_residual_starts_each_block_as_its_shortcut() -> None:
    torch.manual_seed(0)
    model = create("resnet20", zero_init_residual=True).eval()
    x = torch.rand(2, 16, 8, 8)
    assert torch.equal(model.get_submodule("conv2_1")(x), x)
    assert create("resnet20").get_submodule("conv2_1.bn2").weight.min() == 1  # type: ignore[operator,union-attr]


def test_he_initialisation_of_residual_nets() -> None:
    """He et al. 2015, equation 14: variance 2 / (k² maps out)."""
    torch.manual_seed(0)
    weight = create("resnet18").get_parameter("conv5_2.conv1.weight")
    assert weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


def test_alexnet_in_one_tower() -> None:
    assert parameters(on_meta("alexnet", towers=1)) == 62_378_344
    assert macs(on_meta("alexnet", towers=1), (3, 227, 227)) == pytest.approx(1.135e9, rel=1e-3)


def test_alexnets_neurons_are_the_papers_but_for_its_slip() -> None:
    model = on_meta("alexnet")
    neurons: list[int] = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda m, i, output: neurons.append(output.numel()))
    model(torch.empty(1, 3, 227, 227, device="meta"))
    published = known("alexnet").published["neurons_by_layer"]
    assert isinstance(published, tuple)
    assert neurons[0] == 290_400  # 55·55·96; the paper's 253,440 is 55·48·96
    assert tuple(neurons[1:]) == published[1:]
    assert sum(neurons) == 659_272


def test_alexnets_towers_meet_in_conv3_and_fc_only() -> None:
    model = on_meta("alexnet")
    assert [model.get_submodule(f"conv{i}").groups for i in range(1, 6)] == [1, 2, 1, 2, 2]


def test_alexnets_initialisation_and_normalisation() -> None:
    """Section 5: N(0, 0.01²), biases 1 in conv2, 4, 5, fc6, fc7; section 3.3: k=2, n=5, alpha=1e-4, beta=0.75."""
    torch.manual_seed(0)
    model = create("alexnet", num_classes=2, input=(3, 67, 67))  # fc6 is small at this size
    ones = {n for n, m in model.named_children() if isinstance(m, nn.Conv2d | nn.Linear) and bool((m.bias == 1).all())}
    zeros = {n for n, m in model.named_children() if isinstance(m, nn.Conv2d | nn.Linear) and bool((m.bias == 0).all())}
    assert ones == {"conv2", "conv4", "conv5", "fc6", "fc7"}
    assert zeros == {"conv1", "conv3", "fc8"}
    assert model.get_parameter("fc7.weight").std().item() == pytest.approx(0.01, rel=0.01)
    maps = torch.rand(8) * 100
    expected = [maps[i] / (2 + 1e-4 * maps[max(0, i - 2) : i + 3].square().sum()) ** 0.75 for i in range(8)]
    normalised = model.get_submodule("norm1")(maps.view(1, 8, 1, 1)).flatten()
    torch.testing.assert_close(normalised, torch.stack(expected))


def test_layer_names_are_the_papers() -> None:
    names = [name for name, _ in on_meta("alexnet").named_children()]
    assert names[:4] == ["conv1", "relu1", "norm1", "pool1"]
    assert [n for n in names if n.startswith(("conv", "fc", "pool"))] == [
        "conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8",
    ]  # fmt: skip
    convolutions = [n for n, m in on_meta("vgg16").named_children() if isinstance(m, nn.Conv2d)]
    assert convolutions == [f"conv{b}_{i}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    for name in ("conv1", "pool1", "conv2_1", "conv2_3", "conv5_3", "fc"):
        on_meta("resnet50").get_submodule(name)


def test_vgg_configurations() -> None:
    """Table 1: A-LRN is A with one normalisation; C is B with one 1x1 convolution more in blocks 3, 4 and 5."""
    assert [n for n, m in on_meta("vgg11_lrn").named_children() if isinstance(m, nn.LocalResponseNorm)] == ["norm1_1"]
    pointwise = {
        n for n, m in on_meta("vgg16_c").named_children() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)
    }
    assert pointwise == {"conv3_3", "conv4_3", "conv5_3"}


def test_vgg_initialisations_shrink_or_keep_the_signal() -> None:
    """Why the deep nets are not drawn from N(0, 0.01²): the scores carry nothing of the image."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32)
    spread = {
        init: create("vgg19", 10, init=init, input=(3, 32, 32)).eval()(images).std().item()
        for init in ("normal", "he", "glorot")
    }
    assert spread["normal"] < 1e-6
    assert spread["glorot"] > 1e3 * spread["normal"]
    assert 0.1 < spread["he"] < 10


def test_lenets_c3_computes_only_listed_pairs() -> None:
    c3 = on_meta("lenet5").get_submodule("C3")
    assert isinstance(c3, TableConv2d)
    assert sum(len(row) for row in c3.table) == 60
    assert Counter(i for row in c3.table for i in row) == dict.fromkeys(range(6), 10)
    assert [len(row) for row in c3.table] == [3] * 6 + [4] * 9 + [6]


def test_alexnet_of_torchvision_is_another_network() -> None:
    with torch.device("meta"):
        theirs = torchvision.models.alexnet()
    assert parameters(theirs) == 61_100_840
