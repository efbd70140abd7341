"""Saliency, guided backpropagation and Grad-CAM: equal to Captum's where Captum is right, refused where it is not."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from foveal.errors import FovealError
from foveal.explanations import explain


@pytest.fixture
def captum() -> Any:
    return pytest.importorskip("captum.attr", reason="Captum is the oracle")


def test_saliency_is_captums(overlapping: nn.Sequential, captum: Any) -> None:
    images = torch.randn(2, 3, 31, 29)
    theirs = captum.Saliency(overlapping).attribute(images, target=3)
    ours = explain("saliency", overlapping, images, 3)
    torch.testing.assert_close(ours.arrays["gradient"].abs(), theirs)
    torch.testing.assert_close(ours.values, theirs.amax(1))


def test_guided_backpropagation_is_captums(overlapping: nn.Sequential, captum: Any) -> None:
    images = torch.randn(2, 3, 31, 29)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that hooks are set
        theirs = captum.GuidedBackprop(overlapping).attribute(images, target=3)
    torch.testing.assert_close(explain("guided_backprop", overlapping, images, 3).values, theirs)


@pytest.mark.parametrize("layer", ["conv1", "relu2"])
def test_grad_cam_is_captums(overlapping: nn.Sequential, captum: Any, layer: str) -> None:
    images = torch.randn(2, 3, 31, 29)
    cam = captum.LayerGradCam(overlapping, overlapping.get_submodule(layer))
    theirs = cam.attribute(images, target=2, relu_attributions=True)
    ours = explain("grad_cam", overlapping, images, 2, layer=layer)
    torch.testing.assert_close(ours.arrays["cam"], theirs[:, 0])
    wide = F.interpolate(theirs, (31, 29), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(ours.values, wide)


def test_the_most_probable_class_is_explained_where_none_is_given(overlapping: nn.Sequential) -> None:
    images = torch.randn(3, 3, 31, 29)
    together = explain("saliency", overlapping, images)
    for i, number in enumerate(overlapping(images).argmax(1).tolist()):
        torch.testing.assert_close(together.values[i], explain("saliency", overlapping, images[i], number).values[0])


def test_frozen_networks_have_gradients_too(overlapping: nn.Sequential) -> None:
    image = torch.randn(3, 31, 29)
    free = [explain(method, overlapping, image, 1).values for method in ("saliency", "guided_backprop", "grad_cam")]
    overlapping.requires_grad_(False)
    for method, values in zip(("saliency", "guided_backprop", "grad_cam"), free, strict=True):
        assert torch.equal(explain(method, overlapping, image, 1).values, values)


@pytest.mark.parametrize("rectifier", [nn.LeakyReLU, nn.GELU, nn.ELU])
def test_other_rectifiers_are_refused(rectifier: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), rectifier(), nn.Flatten(), nn.Linear(4 * 36, 2))
    with pytest.raises(FovealError, match=f"layer '2' is a {rectifier.__name__}"):
        explain("guided_backprop", model, torch.randn(3, 8, 8))


def test_a_network_without_relus_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 2))
    with pytest.raises(FovealError, match="no ReLU"):
        explain("guided_backprop", model, torch.randn(3, 8, 8))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (None, "saliency explains an image, and none was given"),
        (torch.zeros(3, 31, 29, dtype=torch.uint8), r"not uint8 \[3, 31, 29\]"),
        (torch.zeros(31, 29), r"not float32 \[31, 29\]"),
        (torch.zeros(1, 31, 29), "the network cannot take an image of 1x31x29"),
    ],
)
def test_images_that_do_not_fit(overlapping: nn.Sequential, image: Any, said: str) -> None:
    with pytest.raises(FovealError, match=said):
        explain("saliency", overlapping, image)
