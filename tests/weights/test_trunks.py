"""Weights of classifiers fill the trunks of detectors and segmenters, and compute what they computed there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

from foveal.models import create
from foveal.weights import Checkpoint, load_weights
from foveal.weights.download import published


def filled(model: nn.Module, theirs: nn.Module, pairs: int) -> Any:
    """The model with another's weights, of which `pairs` tensors fit; what comes last is for other classes."""
    matching = load_weights(model, Checkpoint("classifier", dict(theirs.state_dict())), partial=True)
    assert len([pair for pair in matching.pairs if not pair.file.endswith("tracked")]) == pairs
    assert not matching.mismatched
    return model.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


class Features(nn.Module):
    """The convolutions of a VGG under torchvision's names."""

    def __init__(self, vgg: Any) -> None:
        super().__init__()
        self.features = vgg.features


@torch.no_grad()
def test_vgg16_in_ssd(images: Tensor) -> None:
    theirs = Features(torchvision_models.vgg16()).eval()
    ours = filled(create("ssd300", num_classes=2), theirs, 26)
    assert ours.classifier_name == "vgg16"
    x = images
    for layer in ours.backbone.order[: ours.backbone.order.index("relu4_3") + 1]:
        x = ours.backbone.get_submodule(layer)(x)
    torch.testing.assert_close(x, theirs.features[:23](images))


@torch.no_grad()
@pytest.mark.parametrize("name", ["faster_rcnn_fpn", "mask_rcnn"])
def test_resnet_below_a_pyramid(name: str, images: Tensor) -> None:
    theirs: Any = torchvision_models.resnet18().eval()
    ours = filled(create(name, num_classes=2, encoder="resnet18", maps=8, hidden=8), theirs, 100).double()
    assert ours.classifier_name == "resnet18"
    theirs, images = theirs.double(), images.double()
    stem = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
    wanted = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(stem))))
    torch.testing.assert_close(ours.backbone.trunk(images)[-1], wanted)


def test_both_stages_of_faster_rcnn() -> None:
    for encoder, below, count in (
        ("vgg16", torchvision_models.vgg16, 30),
        ("resnet50", torchvision_models.resnet50, 265),
    ):
        with torch.device("meta"):
            ours: Any = create("faster_rcnn", num_classes=2, encoder=encoder)
            theirs = below().state_dict()
        own = ours.state_dict()
        rules = dict(ours.names_elsewhere())
        names = rules["torchvision's names of the classifier"]
        found = [name for name in theirs if name in names and theirs[name].shape == own[names[name]].shape]
        assert len([name for name in found if not name.endswith("tracked")]) == count


@torch.no_grad()
@pytest.mark.parametrize("name", ["segnet", "deconvnet"])
def test_vgg16_with_batch_norm_in_encoders(name: str, images: Tensor) -> None:
    if name == "deconvnet":
        with torch.device("meta"):
            ours: Any = create(name)
            theirs = Features(torchvision_models.vgg16_bn()).state_dict()
        ((_, names),) = ours.names_elsewhere()
        own = ours.state_dict()
        assert all(theirs[there].shape == own[here].shape for there, here in names.items())
        assert len(names) == len(theirs)
        return
    below = Features(torchvision_models.vgg16_bn()).eval()
    ours = filled(create(name, num_classes=2), below, 13 * 6)
    wanted = below.features[:6](images)
    torch.testing.assert_close(ours.conv1_2(ours.conv1_1(images)), wanted)
    assert published(ours.classifier_name).url.endswith(".pth")
