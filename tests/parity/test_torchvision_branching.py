"""The same weights, found by the key maps of `foveal.weights`, give torchvision's scores in branching networks."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.models import create
from foveal.weights.files import Checkpoint
from foveal.weights.keymaps import known
from foveal.weights.match import load_weights, match

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def lively(theirs: nn.Module, images: Tensor) -> nn.Module:
    """Give it statistics and scales that tell layers of equal shape apart, and scores of a sensible size."""
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():
        theirs.train()(images)
    return theirs.eval()


def older_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The spelling in the files that torchvision publishes for DenseNets."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key): value for key, value in state.items()}


@pytest.mark.parametrize("name", ["densenet121", "densenet169", "densenet201", "densenet161"])
def test_densenet_names(name: str) -> None:
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name), create(name)
    for state in (theirs.state_dict(), older_names(theirs.state_dict())):
        found = match(ours, Checkpoint("file", state, ordered=False))
        assert found.rule == "torchvision's DenseNet names" and found.complete
        assert len(found.pairs) == len(state)


def test_densenet_scores() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64)
    theirs = lively(torchvision.models.densenet121(), images)
    ours = create("densenet121").eval()
    load_weights(ours, Checkpoint("file", older_names(theirs.state_dict()), ordered=False))
    with torch.inference_mode():
        reference, scores = theirs(images), ours(images)
    assert reference.std() > 0.01
    torch.testing.assert_close(scores, reference, atol=1e-5, rtol=1e-5)


def test_googlenet_scores_and_heads() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 96, 96)
    theirs = lively(torchvision.models.googlenet(aux_logits=True, init_weights=False), images)
    ours = create("googlenet", batch_norm=True, aux=True).eval()
    found = load_weights(ours, Checkpoint("file", theirs.state_dict(), ordered=False))
    assert found.rule == "torchvision's GoogLeNet names" and found.complete
    assert len(found.pairs) == len(theirs.state_dict())
    theirs, ours, images = theirs.double(), ours.double(), images.double()  # fifty layers deep, float32 adds up 4e-5
    inner: dict[str, Tensor] = {}
    for place in ("inception4a", "inception4d"):
        ours.get_submodule(place).register_forward_hook(lambda m, i, out, place=place: inner.update({place: out}))
    with torch.inference_mode():
        reference, scores = theirs(images), ours(images)
        assert reference.std() > 0.01
        torch.testing.assert_close(scores, reference, atol=1e-10, rtol=1e-10)
        for head, place in (("aux1", "inception4a"), ("aux2", "inception4d")):
            theirs_head, ours_head = theirs.get_submodule(head), ours.get_submodule(head)
            torch.testing.assert_close(ours_head(inner[place]), theirs_head(inner[place]), atol=1e-10, rtol=1e-10)


def test_transform_input_is_another_normalisation() -> None:
    """torchvision undoes the usual mean and deviation inside the network; here preparation uses 0.5 and 0.5."""
    torch.manual_seed(0)
    pixels = torch.rand(1, 3, 64, 64)
    usual = (pixels - MEAN[:, None, None]) / STD[:, None, None]
    theirs = torchvision.models.googlenet(transform_input=True, aux_logits=False, init_weights=False).eval()
    ours = create("googlenet", batch_norm=True).eval()
    load_weights(ours, Checkpoint("file", theirs.state_dict(), ordered=False))
    with torch.inference_mode():
        torch.testing.assert_close(ours((pixels - 0.5) / 0.5), theirs(usual), atol=1e-5, rtol=1e-5)


def test_googlenet_of_the_paper_is_another_network() -> None:
    with torch.device("meta"):
        theirs, ours = torchvision.models.googlenet(init_weights=False), create("googlenet")
    with pytest.raises(FovealError, match=r"googlenet\(batch_norm=True, aux=True\)"):
        match(ours, Checkpoint("file", theirs.state_dict(), ordered=False))


def test_no_map_mistakes_a_pre_activation_net_for_torchvisions_resnet() -> None:
    with torch.device("meta"):
        assert not list(known(create("preact_resnet50")))
