"""Which tensor goes where: names, torchvision's names, order and shape; ambiguity is an error and changes nothing."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models as torchvision_models

from foveal.errors import FovealError
from foveal.models import create
from foveal.weights import Checkpoint, load_weights, save_weights
from foveal.weights.keymaps import known
from foveal.weights.match import match


def small(classes: int = 4, names: tuple[str, ...] = ("conv1", "norm1", "conv2", "fc")) -> nn.Sequential:
    layers = [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 5, 3), nn.Linear(5, classes)]
    flat = OrderedDict(zip(names, layers, strict=True))
    items = list(flat.items())
    items[3:3] = [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    return nn.Sequential(OrderedDict(items))


class Block(nn.Module):
    """A residual block whose names are nobody else's and whose projection is registered and runs first."""

    def __init__(self, inside: int, width: int, out: int, stride: int, at: int) -> None:
        super().__init__()
        self.short = (
            nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            if stride != 1 or inside != out
            else nn.Identity()
        )
        strides = [stride if i == at else 1 for i in range(3)]
        self.a = nn.Conv2d(inside, width, 1, strides[0], bias=False)
        self.an, self.ar = nn.BatchNorm2d(width), nn.ReLU()
        self.b = nn.Conv2d(width, width, 3, strides[1], 1, bias=False)
        self.bn, self.br = nn.BatchNorm2d(width), nn.ReLU()
        self.c = nn.Conv2d(width, out, 1, bias=False)
        self.cn, self.cr = nn.BatchNorm2d(out), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.br(self.bn(self.b(self.ar(self.an(self.a(x))))))
        return self.cr(self.short(x) + self.cn(self.c(y)))


def resnet50(stride_at: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    inside = 64
    for stage, count in enumerate((3, 4, 6, 3)):
        for i in range(count):
            stride = 2 if i == 0 and stage else 1
            layers.append(Block(inside, 64 << stage, 256 << stage, stride, stride_at))
            inside = 256 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def chain(plan: str, classifier: tuple[tuple[str, nn.Module], ...]) -> nn.Sequential:
    """Convolutions in lecture order: a number is a 3x3 convolution with ReLU, M a pooling."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inside, block, number = 3, 1, 1
    for step in plan.split():
        if step == "M":
            layers[f"pool{block}"], block, number = nn.MaxPool2d(2, 2), block + 1, 1
            continue
        layers[f"conv{block}_{number}"] = nn.Conv2d(inside, int(step), 3, padding=1)
        layers[f"relu{block}_{number}"] = nn.ReLU()
        inside, number = int(step), number + 1
    return nn.Sequential(OrderedDict([*layers.items(), ("flatten", nn.Flatten()), *classifier]))


def vgg_head(first: int = 25088) -> tuple[tuple[str, nn.Module], ...]:
    return (
        ("fc6", nn.Linear(first, 4096)), ("relu6", nn.ReLU()), ("drop6", nn.Dropout()),
        ("fc7", nn.Linear(4096, 4096)), ("relu7", nn.ReLU()), ("drop7", nn.Dropout()), ("fc8", nn.Linear(4096, 1000)),
    )  # fmt: skip


def checkpoint(state: dict[str, Tensor] | nn.Module, ordered: bool = True) -> Checkpoint:
    tensors = state.state_dict() if isinstance(state, nn.Module) else state
    return Checkpoint("file", {name: value.clone() for name, value in tensors.items()}, ordered=ordered)


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_names(tmp_path: Path) -> None:
    source, model = small(), small()
    save_weights(source, tmp_path / "w.safetensors")
    found = load_weights(model, tmp_path / "w.safetensors")
    assert found.rule == "names" and found.complete and len(found.pairs) == len(source.state_dict())
    assert unchanged(model, values(source))


def test_prefix_on_both_sides() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = small()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.model(x)
            return out

    source = small()
    wrapped = Wrapped()
    assert load_weights(wrapped, checkpoint(source)).rule == "names"
    assert unchanged(wrapped.model, values(source))


def test_types_are_cast_to_the_networks() -> None:
    source, model = small().half(), small()
    load_weights(model, checkpoint(source))
    assert model.conv1.weight.dtype == torch.float32
    assert torch.equal(model.conv1.weight, source.conv1.weight.float())


def test_counters_of_batch_norm_may_be_absent() -> None:
    state = {name: value for name, value in small().state_dict().items() if "num_batches" not in name}
    assert match(small(), checkpoint(state)).complete


def test_order_and_shape() -> None:
    source, model = small(names=("a", "b", "c", "d")), small()
    found = load_weights(model, checkpoint(source))
    assert found.rule == "order of execution and shape"
    assert [(p.file, p.model) for p in found.pairs if "weight" in p.file] == [
        ("a.weight", "conv1.weight"), ("b.weight", "norm1.weight"),
        ("c.weight", "conv2.weight"), ("d.weight", "fc.weight"),
    ]  # fmt: skip
    images = torch.rand(2, 3, 9, 9)
    assert torch.equal(model.eval()(images), source.eval()(images))


def test_order_is_that_of_execution_not_of_registration() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.second(self.first(x))
            return out

    source = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    found = match(Backwards(), checkpoint(source))
    assert {(p.file, p.model) for p in found.pairs if "weight" in p.file} == {
        ("0.weight", "first.weight"), ("1.weight", "second.weight"),
    }  # fmt: skip


@pytest.mark.parametrize("names", [("0", "1", "2", "10"), ("l.1", "l.2", "l.9", "l.11")])
def test_numbered_layers_are_an_order_without_stored_order(tmp_path: Path, names: tuple[str, ...]) -> None:
    layers = [nn.Linear(4, 4) for _ in names]
    state = {f"{n}.{leaf}": v for n, layer in zip(names, layers, strict=True) for leaf, v in layer.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    model = nn.Sequential(OrderedDict((f"fc{i}", nn.Linear(4, 4)) for i in range(4)))
    load_weights(model, tmp_path / "w.safetensors")
    assert all(torch.equal(model[i].weight, layer.weight) for i, layer in enumerate(layers))


def test_equal_shapes_without_order_are_ambiguous(tmp_path: Path) -> None:
    source = nn.Sequential(OrderedDict(zulu=nn.Linear(4, 4), alpha=nn.Linear(4, 4)))
    save_file(dict(source.state_dict()), tmp_path / "w.safetensors")
    model = nn.Sequential(OrderedDict(fc1=nn.Linear(4, 4), fc2=nn.Linear(4, 4)))
    before = values(model)
    for partial in (False, True):
        with pytest.raises(FovealError, match="does not keep the order"):
            load_weights(model, tmp_path / "w.safetensors", partial=partial)
    assert unchanged(model, before)
    save_weights(source, tmp_path / "ours.safetensors")  # ours keeps the order
    load_weights(model, tmp_path / "ours.safetensors")
    assert torch.equal(model.fc1.weight, source.zulu.weight)


def test_distinct_shapes_need_no_order(tmp_path: Path) -> None:
    source = nn.Sequential(OrderedDict(zulu=nn.Linear(3, 4), alpha=nn.Linear(4, 5)))
    save_file(dict(source.state_dict()), tmp_path / "w.safetensors")
    model = nn.Sequential(OrderedDict(fc1=nn.Linear(3, 4), fc2=nn.Linear(4, 5)))
    load_weights(model, tmp_path / "w.safetensors")
    assert torch.equal(model.fc1.weight, source.zulu.weight)


def test_partial_is_an_error_that_lists_and_changes_nothing() -> None:
    model = small()
    before = values(model)
    state = {name: value for name, value in small().state_dict().items() if not name.startswith("conv2")}
    with pytest.raises(FovealError, match=r"2 missing: conv2\.weight, conv2\.bias") as caught:
        load_weights(model, checkpoint(state))
    assert "partial=True" in caught.value.mend and str(caught.value).count("\n") == 1
    assert unchanged(model, before)


def test_long_lists_of_missing_tensors_are_cut_at_ten() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(10)))
    state = {name: value for name, value in model.state_dict().items() if name.startswith("0")}
    with pytest.raises(FovealError, match=r"18 missing: 1\.weight, .*, 5\.bias and 8 more"):
        load_weights(model, checkpoint(state))


def test_left_over_tensors_are_an_error() -> None:
    with pytest.raises(FovealError, match=r"1 not in the network: aux\.weight"):
        load_weights(small(), checkpoint({**small().state_dict(), "aux.weight": torch.ones(2)}))


@pytest.mark.parametrize("names", [("conv1", "norm1", "conv2", "fc"), ("a", "b", "c", "d")])
def test_head_of_another_class_count_only_with_partial(names: tuple[str, ...]) -> None:
    source, model = small(classes=7, names=names), small(classes=4)
    before = values(model)
    with pytest.raises(FovealError, match=r"fc\.weight \(file 7×5, network 4×5\)|of another network"):
        load_weights(model, checkpoint(source))
    assert unchanged(model, before)
    found = load_weights(model, checkpoint(source), partial=True)
    assert [pair.model for pair in found.mismatched] == ["fc.weight", "fc.bias"] and not found.missing
    assert "of another shape, left as initialised" in found.text()
    assert torch.equal(model.fc.weight, before["fc.weight"])
    assert torch.equal(model.conv2.weight, source[2].weight)


def test_nothing_in_common_is_an_error_even_with_partial() -> None:
    with pytest.raises(FovealError, match="weights of another network"):
        load_weights(small(), checkpoint(nn.Linear(9, 9)), partial=True)


def test_values_that_are_not_finite_change_nothing() -> None:
    source, model = small(), small()
    before = values(model)
    with torch.no_grad():
        source.fc.bias[0] = float("nan")
    with pytest.raises(FovealError, match=r"'fc\.bias' holds NaN"):
        load_weights(model, checkpoint(source))
    assert unchanged(model, before)


def test_meta_network_is_refused() -> None:
    with torch.device("meta"):
        model = small()
    with pytest.raises(FovealError, match="meta device"):
        load_weights(model, checkpoint(small()))


def test_table_is_aligned_and_shortened_in_the_middle() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(30)))
    lines = match(model, checkpoint(model)).text(rows=6).splitlines()
    assert lines[0] == "file: 60 of 60 tensors matched by names"
    assert len(lines) == 8 and lines[4] == "  … 54 more …"
    assert {line.index("→") for line in lines[1:] if "→" in line} == {lines[1].index("→")}
    assert match(model, checkpoint(model)).as_json()["complete"] is True


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("vgg11", "64 M 128 M 256 256 M 512 512 M 512 512 M"),
        ("vgg16", "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"),
        ("vgg19", "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M"),
    ],
)
def test_torchvision_vgg_names(name: str, plan: str) -> None:
    with torch.device("meta"):
        theirs, model = torchvision_models.get_model(name), chain(plan, vgg_head())
    found = match(model, Checkpoint("file", theirs.state_dict(), ordered=False))
    assert found.rule == "torchvision's VGG names" and found.complete
    convolutions = [module for module in theirs.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(found.pairs) == 2 * len(convolutions)
    ours = dict(model.named_parameters())
    order = {id(p): i for i, p in enumerate(ours.values())}
    assert [order[id(ours[pair.model])] for pair in found.pairs] == list(range(len(ours)))


def test_vgg_with_normalisation_is_not_torchvisions() -> None:
    with torch.device("meta"):
        theirs = torchvision_models.vgg11()
        model = chain("64 M 128 M 256 256 M 512 512 M 512 512 M", vgg_head())
    model.relu1_1 = nn.Sequential(nn.ReLU(), nn.LocalResponseNorm(5))
    state = Checkpoint("file", theirs.state_dict())
    with pytest.raises(FovealError, match="would compute something else: this network normalises in relu1_1"):
        match(model, state)
    assert match(model, state, partial=True).notes


def test_torchvision_alexnet_is_another_network() -> None:
    layers: list[nn.Module] = []
    for inside, out, kernel, pooled in (
        (3, 96, 11, 1),
        (96, 256, 5, 1),
        (256, 384, 3, 0),
        (384, 384, 3, 0),
        (384, 256, 3, 1),
    ):
        layers += [nn.Conv2d(inside, out, kernel), nn.ReLU(), *([nn.MaxPool2d(3, 2)] if pooled else [])]
    with torch.device("meta"):
        model = nn.Sequential(*layers, nn.Flatten(), *(layer for _, layer in vgg_head(9216)))
        theirs = torchvision_models.alexnet()
    with pytest.raises(FovealError, match="One weird trick"):
        match(model, Checkpoint("file", theirs.state_dict()))


def test_torchvision_alexnet_fits_its_own_network() -> None:
    theirs = torchvision_models.alexnet()
    names = [name for name, module in theirs.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    modules = [*theirs.features, theirs.avgpool, nn.Flatten(), *theirs.classifier]
    model = nn.Sequential(OrderedDict((f"layer_{i}", copy.deepcopy(m)) for i, m in enumerate(modules)))
    found = match(model, checkpoint(theirs))
    assert found.rule == "torchvision's AlexNet names" and found.complete
    assert [pair.file for pair in found.pairs][::2] == [f"{name}.weight" for name in names]


def test_torchvision_resnet_names_same_output() -> None:
    torch.manual_seed(0)
    theirs, model = torchvision_models.resnet50(), resnet50(stride_at=1)
    with torch.no_grad():  # statistics and scales that tell layers of equal shape apart
        for parameter in theirs.parameters():
            parameter.mul_(1 + 0.1 * torch.rand_like(parameter))
    found = load_weights(model, Checkpoint("file", theirs.state_dict(), ordered=False))
    assert found.rule == "torchvision's ResNet names" and found.complete
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), theirs.eval()(images), rtol=0, atol=1e-5)


def test_stride_of_the_paper_is_not_torchvisions() -> None:
    with torch.device("meta"):
        theirs, model = torchvision_models.resnet50(), resnet50(stride_at=0)
    with pytest.raises(FovealError, match=r"strides at the 1x1 7\.a .*v1\.5"):
        match(model, Checkpoint("file", theirs.state_dict()))


def test_maps_are_only_for_networks_that_they_know() -> None:
    assert not list(known(small()))
    assert not list(known(nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_resnets_of_the_catalogue_take_torchvisions_weights(name: str) -> None:
    with torch.device("meta"):
        theirs, model = torchvision_models.get_model(name), create(name)
    found = match(model, Checkpoint("file", theirs.state_dict(), ordered=False))
    assert found.rule == "torchvision's ResNet names" and found.complete
    assert len(found.pairs) == len(theirs.state_dict())
    if int(name[6:]) >= 50:
        with torch.device("meta"):
            paper = create(name, version="1")
        with pytest.raises(FovealError, match="strides at the 1x1"):
            match(paper, Checkpoint("file", theirs.state_dict()))


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg16", "vgg19"])
def test_vggs_of_the_catalogue_take_torchvisions_weights(name: str) -> None:
    with torch.device("meta"):
        theirs, model = torchvision_models.get_model(name), create(name)
    found = match(model, Checkpoint("file", theirs.state_dict(), ordered=False))
    assert found.rule == "torchvision's VGG names" and found.complete
    assert len(found.pairs) == len(theirs.state_dict())


def test_networks_of_the_catalogue_that_torchvision_has_differently() -> None:
    with torch.device("meta"):
        vgg, alexnet = torchvision_models.vgg11(), torchvision_models.alexnet()
        with_norm, towers = create("vgg11_lrn"), create("alexnet")
    with pytest.raises(FovealError, match="would compute something else"):
        match(with_norm, Checkpoint("file", vgg.state_dict()))
    with pytest.raises(FovealError, match=r"One weird trick.*: alexnet_owt"):
        match(towers, Checkpoint("file", alexnet.state_dict()))


def test_torchvisions_alexnet_is_the_catalogues_in_one_tower() -> None:
    with torch.device("meta"):
        theirs, model = torchvision_models.alexnet(), create("alexnet_owt")
    found = match(model, Checkpoint("file", theirs.state_dict(), ordered=False))
    assert found.rule == "torchvision's AlexNet names" and found.complete
    assert len(found.pairs) == len(theirs.state_dict())
