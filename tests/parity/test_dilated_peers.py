"""Strides turned into holes, beside torchvision's way by hand and segmentation_models.pytorch's general one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torchvision import models

from foveal import graph


def trunk(model: nn.Module) -> nn.Sequential:
    """A residual network of torchvision's up to its last map."""
    return nn.Sequential(*list(model.children())[:-2]).double().eval()


@pytest.mark.parametrize(("stride", "replaced"), [(16, [False, False, True]), (8, [False, True, True])])
def test_equal_to_torchvisions_by_hand(stride: int, replaced: list[bool]) -> None:
    torch.manual_seed(0)
    own = models.resnet50()
    byhand = models.resnet50(replace_stride_with_dilation=replaced)
    byhand.load_state_dict(own.state_dict())
    images = torch.randn(1, 3, 75, 64, dtype=torch.float64)
    with torch.no_grad():
        expected, found = trunk(byhand)(images), graph.dilate(trunk(own), stride)(images)
    # torchvision keeps the hole of the stage before in the first block of each stage: the same function.
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_basic_blocks_which_torchvision_refuses(name: str) -> None:
    torch.manual_seed(0)
    model = trunk(getattr(models, name)())
    images = torch.randn(1, 3, 75, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = model(images)
        assert (graph.dilate(model, 8)(images)[..., ::4, ::4] - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_where_the_general_way_of_another_package_is_another_function() -> None:
    """segmentation_models.pytorch dilates every convolution of the stage, the strided one as well (its issue 183)."""
    utils = pytest.importorskip("segmentation_models_pytorch.encoders._utils")
    torch.manual_seed(0)
    model = trunk(models.resnet18())
    theirs = copy.deepcopy(model)
    utils.replace_strides_with_dilation(theirs[-1], 2)
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = model(images)
        ours = (graph.dilate(model, 16)(images)[..., ::2, ::2] - expected).abs().max()
        others = (theirs(images)[..., ::2, ::2] - expected).abs().max()
    assert ours <= 1e-12 * expected.abs().max() < 1e-2 * expected.abs().max() < others
