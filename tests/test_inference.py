"""optimize: the same function, another copy, and what it refuses."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import foveal
from foveal.errors import FovealError
from foveal.inference import native_bfloat16, optimize, optimize_detector, output_difference
from foveal.layers.upsampling import Interpolation, init_bilinear
from foveal.layers.weight_norm import normalise_weights
from foveal.models import create

SMALL = {"resnet20": 19, "densenet_bc100_cifar": 48, "preact_resnet110": 55, "nin_cifar": 0}  # batch norms that fold


def settled(model: nn.Module, images: Tensor) -> nn.Module:
    """With statistics and scales of batch norm as training leaves them."""
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.momentum = None
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
    with torch.no_grad():
        model.train()(images)
    return model


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", list(SMALL))
def test_the_same_scores_with_folded_norms(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    model = settled(create(name), images)
    before = copy.deepcopy(model.state_dict())
    fast = foveal.optimize(model, (3, 32, 32), dtype="float32")
    assert fast.folded == SMALL[name]
    difference = output_difference(model, fast, images)
    assert difference.relative < 1e-5
    assert difference.agreement == 1
    assert model.training  # and otherwise as it was
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert {id(p) for p in fast.parameters()}.isdisjoint(map(id, model.parameters()))
    assert not any(p.requires_grad for p in fast.parameters())
    assert type(fast.network) is type(model)


def test_shared_weights_are_the_models_own_and_stay_as_they_are(images: Tensor) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 5), nn.Flatten(), nn.Linear(6 * 26 * 26, 5)
    ).eval()
    before = {name: (p.clone(), p.stride(), p.requires_grad) for name, p in model.named_parameters()}
    fast = optimize(model, (3, 32, 32), dtype="float32", share=True)
    assert fast.network.get_parameter("5.weight").data_ptr() == model[5].weight.data_ptr()
    assert fast.network.get_parameter("3.weight").data_ptr() != model[3].weight.data_ptr()  # laid out anew
    assert output_difference(model, fast, images).relative < 1e-5
    for name, p in model.named_parameters():
        values, stride, learning = before[name]
        assert torch.equal(p, values)
        assert (p.stride(), p.requires_grad) == (stride, learning)


def test_bfloat16_weights_once(images: Tensor) -> None:
    torch.manual_seed(0)
    model = settled(create("densenet40_cifar"), images)
    fast = optimize(model, dtype="bfloat16")
    kinds = {p.dtype for path, p in fast.named_parameters() if "bn" not in path}
    assert kinds == {torch.bfloat16}
    norm = fast.network.get_submodule("bn_last")
    assert norm.get_buffer("running_var").dtype == torch.float32  # what stays keeps its precision
    scores = fast(images)
    assert scores.dtype == torch.float32
    difference = output_difference(model, fast, images)
    assert 1e-5 < difference.relative < 0.03
    assert "% of the images" in difference.text()


def test_layout_is_channels_last(images: Tensor) -> None:
    fast = optimize(create("resnet20"), dtype="float32")
    assert fast.network.get_parameter("conv3_1.conv1.weight").is_contiguous(memory_format=torch.channels_last)
    seen: list[bool] = []
    fast.network.get_submodule("conv3_1").register_forward_hook(
        lambda m, i, out: seen.append(out.is_contiguous(memory_format=torch.channels_last))
    )
    fast(images)
    assert seen == [True]


@pytest.mark.parametrize("capability", [True, False])
def test_auto_goes_by_the_hardware_and_the_network(capability: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": capability})
    assert native_bfloat16(torch.device("cpu")) == ("avx512_bf16" if capability else "")
    native = torch.bfloat16 if capability else torch.float32
    assert optimize(create("resnet20"), (3, 32, 32)).dtype == native
    assert optimize(create("lenet5"), (1, 32, 32)).dtype == torch.float32  # too small to gain
    assert optimize(create("mlp")).dtype == torch.float32  # does not convolve


class Shared(nn.Module):
    """Where folding would be wrong: a convolution that two read, a norm without statistics, transposed groups."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)
        self.up, self.bn3 = nn.ConvTranspose2d(4, 4, 2, 2, groups=2), nn.BatchNorm2d(4)
        self.up2, self.bn4 = nn.ConvTranspose2d(4, 3, 2, 2, bias=False), nn.BatchNorm2d(3, affine=False)
        self.flatten, self.fc, self.bn5 = nn.Flatten(), nn.Linear(3 * 32 * 32, 5, bias=False), nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x)
        second = self.bn2(self.conv2(first + self.bn1(first)))
        scores: Tensor = self.bn5(self.fc(self.flatten(self.bn4(self.up2(self.bn3(self.up(second)))))))
        return scores


def test_folds_only_where_the_function_stays() -> None:
    torch.manual_seed(0)
    model, images = Shared(), torch.randn(4, 3, 8, 8)
    for norm in (model.bn1, model.bn2, model.bn3, model.bn5):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
    model(images)
    fast = optimize(model, dtype="float32")
    assert fast.folded == 2  # bn4 and bn5
    assert output_difference(model, fast, images).relative < 1e-5


def test_computed_weights_become_plain_ones(images: Tensor) -> None:
    torch.manual_seed(0)
    model = settled(normalise_weights(create("resnet20")), images)
    fast = optimize(model, dtype="float32")
    assert not [key for key in fast.state_dict() if "original" in key]
    assert output_difference(model, fast, images).relative < 1e-5


@pytest.mark.parametrize("size", [4, 5])
def test_local_response_norm(size: int) -> None:
    norm = nn.LocalResponseNorm(size, 0.3, 0.75, 2.0)
    x = torch.randn(2, 7, 3, 3)
    fast = optimize(nn.Sequential(nn.Conv2d(7, 7, 1), norm), dtype="float32").network
    assert type(fast.get_submodule("1")) is not nn.LocalResponseNorm
    torch.testing.assert_close(fast.get_submodule("1")(x), norm(x))
    assert fast.get_submodule("1")(x.bfloat16()).dtype == torch.bfloat16  # torch's has none on a CPU


FCN = "chain(text='[3-1-1Conv8 (ReLU) → 2-2MaxPool]x5 → FC16 (Dropout, ReLU) → FC16 (ReLU) → FC3', input=(3, 128, 128))"


def test_a_fully_convolutional_network_in_less_time() -> None:
    torch.manual_seed(0)
    model = create("fcn8s", 3, encoder=FCN, border=40).eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.2)
    nn.init.normal_(model.get_parameter("upscore2.weight"))  # as if learned: no interpolation any more
    pictures = torch.randn(2, 3, 75, 90)
    fast = optimize(model, (3, 75, 90), dtype="float32")
    assert output_difference(model, fast, pictures).relative < 1e-5
    kinds = {path: type(layer) for path, layer in fast.network.named_modules()}
    assert kinds["upscore8"] is Interpolation and kinds["upscore2"] is nn.ConvTranspose2d


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_interpolation_is_the_fixed_transposed_convolution(factor: int) -> None:
    conv = nn.ConvTranspose2d(3, 3, 2 * factor - factor % 2, factor, bias=False)
    init_bilinear(conv)
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(Interpolation(factor)(x), conv(x), atol=1e-6)


class Read(nn.Module):
    """A map that a ReLU and a sum read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.conv2, self.drop, self.relu2 = (
            nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.Dropout(), nn.ReLU()
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.relu2(self.drop(self.conv2(self.relu(x)))) + x


def test_only_maps_that_nobody_else_reads_are_overwritten(images: Tensor) -> None:
    model = Read()
    fast = optimize(model, dtype="float32")
    inplace = {path: layer.inplace for path, layer in fast.network.named_modules() if isinstance(layer, nn.ReLU)}
    assert inplace == {"relu": False, "relu2": True}
    assert output_difference(model, fast, images).relative < 1e-6
    assert not model.relu2.inplace
    lone, before = optimize(nn.Sequential(nn.ReLU()), dtype="float32"), images.clone()
    lone(images)
    assert torch.equal(images, before)


def test_a_lone_layer() -> None:
    conv = nn.Conv2d(3, 4, 3)
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(optimize(conv, dtype="float32")(x), conv(x))


def test_mistakes_name_the_way_out() -> None:
    model = create("resnet20")
    with pytest.raises(FovealError, match="did you mean bfloat16"):
        optimize(model, dtype="bfloat")
    with pytest.raises(FovealError, match="optimise again"):
        optimize(model, dtype="float32").train()
    with pytest.raises(FovealError, match="takes 3 channels and is given 1x32x32"):
        optimize(model, (1, 32, 32))

    class Functional(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.relu(x)

    with pytest.raises(FovealError, match=r"nn\.ReLU"):
        optimize(Functional())


def test_a_detector_keeps_what_it_says() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 128)
    model = settled(create("ssd_resnet", num_classes=3, width=8, maps=16), images).eval()
    with torch.no_grad():
        said = model(images)
        exact = optimize_detector(model, (3, 64, 128), "float32")(images)
        near = optimize_detector(model, dtype="bfloat16")(images)
    torch.testing.assert_close(exact.logits, said.logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(exact.deltas, said.deltas, rtol=1e-3, atol=1e-4)
    assert near.logits.dtype == torch.float32
    assert (near.logits - said.logits).norm() < 0.05 * said.logits.norm()
    with pytest.raises(FovealError, match="has no backbone"):
        optimize_detector(create("resnet20"))
