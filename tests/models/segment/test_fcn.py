"""Fully convolutional networks: alignment, stages, and the same numbers as torchvision's VGG-16 assembled by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.graph.receptive_field import receptive_field
from foveal.layers.upsampling import bilinear_kernel
from foveal.models import create
from foveal.models.segment.fcn import FCN


def on_meta(name: str, **options: object) -> FCN:
    with torch.device("meta"):
        model = create(name, **options)  # type: ignore[arg-type]
    assert isinstance(model, FCN)
    return model


def offsets(model: nn.Module) -> dict[str, int]:
    return {name: layer.offset for name, layer in model.named_modules() if name.startswith("crop")}  # type: ignore[misc]


def test_offsets_are_the_released_networks() -> None:
    assert offsets(on_meta("fcn32s")) == {"crop": 19}
    assert offsets(on_meta("fcn32s", encoder="alexnet")) == {"crop": 18}
    assert offsets(on_meta("fcn16s")) == {"crop_pool4": 5, "crop": 27}
    assert offsets(on_meta("fcn8s")) == {"crop_pool4": 5, "crop_pool3": 9, "crop": 31}


def test_numbers_of_table_1() -> None:
    """Parameters in millions, receptive field and stride of FCN-AlexNet, FCN-VGG16 and FCN-GoogLeNet."""
    for encoder, millions in (("alexnet", 57), ("vgg16", 134), ("googlenet", 6)):
        model = on_meta("fcn32s", encoder=encoder)
        assert round(sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6) == millions
    field = receptive_field(on_meta("fcn32s"), (3, 500, 500))["score_fr"]
    published = catalog.facts("fcn32s").published  # type: ignore[union-attr]
    assert field.size[0] == published["receptive_field"]
    assert field.stride[0] == published["stride"]


@pytest.mark.parametrize("encoder", ["alexnet", "googlenet", "resnet18"])
@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_other_encoders_take_any_size(name: str, encoder: str) -> None:
    model = on_meta(name, num_classes=5, encoder=encoder)
    assert model(torch.empty(1, 3, 97, 131, device="meta")).shape == (1, 5, 97, 131)


NARROW = "chain(text='[3-1-1Conv8 (BN, ReLU) → 2-2MaxPool]x5 → FC16 (ReLU) → FC3', input=(3, {0}, {0}))"


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_a_chain_and_the_least_border_take_any_size(name: str) -> None:
    model = on_meta(name, num_classes=5, encoder=NARROW.format(128), border=33)
    for side in range(33, 66):
        assert model(torch.empty(1, 3, side, side + 7, device="meta")).shape == (1, 5, side, side + 7)


def test_borders_and_windows_that_leave_edges_without_scores_are_refused() -> None:
    assert offsets(on_meta("fcn32s", border=81)) == {"crop": 0}
    with pytest.raises(FovealError, match="border=80") as caught:
        on_meta("fcn32s", border=80)
    assert caught.value.mend == "81 at least"
    with pytest.raises(FovealError, match="sees too little for scores of pool"):
        on_meta("fcn16s", encoder=NARROW.format(96), border=40)


def test_encoders_that_do_not_fit_are_refused() -> None:
    with pytest.raises(FovealError, match="stride of"):
        on_meta("fcn32s", encoder="resnet20")
    with pytest.raises(FovealError, match="no chain"):
        on_meta("fcn32s", encoder="fcn32s")


def test_fcn32s_fixed_trains_its_scores_alone() -> None:
    model = on_meta("fcn32s_fixed")
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["score_fr.weight", "score_fr.bias"]
    assert [n for n, p in on_meta("fcn8s").named_parameters() if not p.requires_grad] == ["upscore8.weight"]


def test_stages_start_from_the_coarser_network() -> None:
    torch.manual_seed(0)
    coarse = create("fcn16s", 3, encoder="googlenet").eval()
    assert isinstance(coarse, FCN)
    for layer in coarse.modules():
        if isinstance(layer, nn.Conv2d) and layer.out_channels == 3:
            nn.init.normal_(layer.weight, std=0.01)
    fine = create("fcn8s", 3, encoder="googlenet").eval()
    assert isinstance(fine, FCN)
    assert fine.initialise_from(coarse) is fine
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before, after = coarse(images), fine(images)
    assert before.std() > 0
    # The new scores are 0; only 16 pixels at once have become two times 2 and 8 pixels, both bilinear.
    assert (before - after).abs().mean() < 0.05 * before.std()
    with pytest.raises(FovealError, match="as this network has it"):
        fine.initialise_from(on_meta("fcn32s", num_classes=3, encoder="alexnet"))


def reference(vgg: nn.Module, scores: dict[int, Tensor], images: Tensor) -> Tensor:
    """FCN-8s as the authors' network file has it, from torchvision's layers: pad 100, round up, crop 5, 9 and 31."""

    def up(x: Tensor, factor: int) -> Tensor:
        kernel = torch.outer(*(bilinear_kernel(factor).to(x),) * 2)
        return F.conv_transpose2d(x, kernel.expand(x.shape[1], 1, -1, -1), stride=factor, groups=x.shape[1])

    x, pooled = images, []
    for number, layer in enumerate(vgg.features):  # type: ignore[arg-type]
        if isinstance(layer, nn.MaxPool2d):
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            pooled.append(x)
        elif isinstance(layer, nn.Conv2d):
            x = F.conv2d(x, layer.weight, layer.bias, padding=1 if number else 100)
        else:
            x = F.relu(x)
    fc6, fc7 = vgg.classifier[0], vgg.classifier[3]  # type: ignore[index]
    x = F.relu(F.conv2d(x, fc6.weight.view(4096, 512, 7, 7), fc6.bias))
    x = F.relu(F.conv2d(x, fc7.weight.view(4096, 4096, 1, 1), fc7.bias))
    x = F.conv2d(x, scores[32])
    for stride, number, offset in ((16, 3, 5), (8, 2, 9)):
        x = up(x, 2)
        height, width = x.shape[2:]
        fine = F.conv2d(pooled[number], scores[stride])
        x = x + fine[:, :, offset : offset + height, offset : offset + width]
    return up(x, 8)[:, :, 31 : 31 + images.shape[2], 31 : 31 + images.shape[3]]


def test_fcn8s_with_torchvisions_vgg_is_the_released_network() -> None:
    torch.manual_seed(0)
    vgg = torchvision.models.vgg16(init_weights=False).eval()
    model = on_meta("fcn8s", num_classes=2)
    weighty = [layer for layer in vgg.modules() if isinstance(layer, nn.Conv2d | nn.Linear)][:-1]
    names = [name for name in model.trunk if name.startswith(("conv", "fc"))]
    state = {}
    for name, layer in zip(names, weighty, strict=True):
        state |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    maps = {32: ("score_fr", 4096), 16: ("score_pool4", 512), 8: ("score_pool3", 256)}
    scores = {stride: torch.randn(2, n, 1, 1) for stride, (_, n) in maps.items()}
    for stride, (name, _) in maps.items():
        state |= {f"{name}.weight": scores[stride], f"{name}.bias": torch.zeros(2)}
    for name, factor in (("upscore2", 2), ("upscore_pool4", 2), ("upscore8", 8)):
        kernel = torch.outer(*(bilinear_kernel(factor).float(),) * 2)
        state[f"{name}.weight"] = torch.eye(2)[..., None, None] * kernel
    model.load_state_dict(state, assign=True)
    images = torch.randn(1, 3, 50, 69)
    with torch.no_grad():
        ours, theirs = model.eval()(images), reference(vgg, scores, images)
    assert ours.shape == (1, 2, 50, 69)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))
