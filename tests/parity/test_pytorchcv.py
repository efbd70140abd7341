"""The same weights give pytorchcv's scores, where it has the network: NIN, pre-activation ResNet-164, DenseNet-BC-100.

Where pytorchcv departs from the paper or from the released network, the departure is made here and named.
"""

from __future__ import annotations

import importlib
import itertools

import pytest
import torch
from torch import nn

from foveal.models import create
from foveal.weights.files import Checkpoint
from foveal.weights.match import load_weights


def theirs(module: str, name: str) -> nn.Module:
    """Their network, with statistics that tell its layers apart and keep the scores of a sensible size."""
    torch.manual_seed(0)
    model: nn.Module = getattr(importlib.import_module(f"pytorchcv.models.{module}"), name)()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.3, 0.6)
            nn.init.normal_(layer.bias, std=0.1)
    with torch.no_grad():
        model.train()(torch.randn(16, 3, 32, 32))
    return model.eval()


def pad_the_poolings(model: nn.Module) -> None:
    """pytorchcv pads NIN's poolings by one; the released network rounds their sizes up."""
    model.set_submodule("pool1", nn.MaxPool2d(3, 2, padding=1))
    model.set_submodule("pool2", nn.AvgPool2d(3, 2, padding=1))


def stride_in_the_middle(model: nn.Module) -> None:
    """pytorchcv strides at the 3x3 convolution of a CIFAR bottleneck, the paper's authors at the first 1x1."""
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    for first, second in itertools.pairwise(convolutions):
        if first.stride == (2, 2) and second.kernel_size == (3, 3):
            first.stride, second.stride = (1, 1), (2, 2)


def as_it_is(model: nn.Module) -> None:
    """No departure."""


@pytest.mark.parametrize(
    ("module", "name", "ours", "change"),
    [
        ("nin_cifar", "nin_cifar10", "nin_cifar", pad_the_poolings),
        ("preresnet_cifar", "preresnet164bn_cifar10", "preact_resnet164", stride_in_the_middle),
        ("densenet_cifar", "densenet100_k12_bc_cifar10", "densenet_bc100_cifar", as_it_is),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_same_scores(module: str, name: str, ours: str, change: object) -> None:
    reference, model = theirs(module, name), create(ours).eval()
    found = load_weights(model, Checkpoint("pytorchcv", reference.state_dict(), ordered=True))
    assert found.complete and found.rule == "order of execution and shape"
    assert callable(change)
    change(model)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected, scores = reference(images), model(images)
    assert expected.std() > 0.01
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
