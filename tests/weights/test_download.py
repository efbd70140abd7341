"""torchvision's published weights: found in the cache, checked, and a clear way out without a network."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn

from foveal.errors import FovealError
from foveal.models import create
from foveal.weights import Checkpoint, check_preparation, imagenet, load_weights, published
from foveal.weights.match import match


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def test_what_is_published() -> None:
    found = published("resnet50")
    assert found.url == "https://download.pytorch.org/models/resnet50-0676ba61.pth"
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (found.resize, found.crop) == (256, 224)


def test_googlenet_is_normalised_as_its_forward_does() -> None:
    found = published("googlenet")
    assert found.url == "https://download.pytorch.org/models/googlenet-1378be20.pth"
    images = torch.rand(2, 3, 4, 4)
    preset = torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1.transforms()
    shown = (images - torch.tensor(preset.mean).view(3, 1, 1)) / torch.tensor(preset.std).view(3, 1, 1)
    theirs = torchvision.models.googlenet(transform_input=True, init_weights=False)._transform_input(shown)
    ours = (images - torch.tensor(found.mean).view(3, 1, 1)) / torch.tensor(found.std).view(3, 1, 1)
    torch.testing.assert_close(ours, theirs)


def test_the_variant_that_googlenets_file_fits() -> None:
    with torch.device("meta"):
        file = torchvision.models.googlenet(aux_logits=True, init_weights=False).state_dict()
        ours = create("googlenet", batch_norm=True, aux=True)
    assert match(ours, Checkpoint("googlenet-1378be20.pth", file, ordered=False)).complete


FAMILIES = ("vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "resnet152", "googlenet")
DENSENETS = ("densenet121", "densenet161", "densenet169", "densenet201")


@pytest.mark.parametrize("name", [*FAMILIES, *DENSENETS])
def test_families(name: str) -> None:
    assert name in published(name).url


def test_alexnet_in_one_tower_is_what_torchvision_calls_alexnet() -> None:
    assert published("alexnet_owt").url == "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"


@pytest.mark.parametrize("name", ["alexnet", "lenet5", "resnet20", "densenet40", "vgg16_c"])
def test_networks_without_published_weights(name: str) -> None:
    with pytest.raises(FovealError, match=f"published ImageNet weights '{name}'"):
        published(name)


def test_cached_file_is_loaded_without_a_network(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, model = nn.Linear(2, 3), nn.Linear(2, 3)
    torch.save(source.state_dict(), hub / "made")
    digest = hashlib.sha256((hub / "made").read_bytes()).hexdigest()[:8]
    (hub / "made").rename(hub / f"resnet18-{digest}.pth")
    real = published("resnet18")
    fake = dataclasses.replace(real, url=f"https://example.invalid/resnet18-{digest}.pth")
    monkeypatch.setattr("foveal.weights.download.published", lambda name: fake)
    load_weights(model, imagenet("resnet18"))
    assert torch.equal(model.weight, source.weight)


def test_damaged_cache_is_refused(hub: Path) -> None:
    torch.save(nn.Linear(2, 3).state_dict(), hub / "resnet18-f37072fd.pth")
    with pytest.raises(FovealError, match=r"begins with .{8}, not with f37072fd") as caught:
        imagenet("resnet18")
    assert "delete it" in caught.value.mend


def test_no_network_says_where_to_put_the_file(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(FovealError, match=r"https://download\.pytorch\.org/models/vgg16-397923af\.pth") as caught:
        imagenet("vgg16")
    assert str(hub / "vgg16-397923af.pth") in caught.value.mend
    assert not list(hub.iterdir())


def test_a_file_with_another_hash_is_not_kept(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "vgg16-397923af.pth")
    real = published("vgg16")
    fake = dataclasses.replace(real, url=(tmp_path / "vgg16-397923af.pth").as_uri())
    monkeypatch.setattr("foveal.weights.download.published", lambda name: fake)
    with pytest.raises(FovealError, match="invalid hash"):
        imagenet("vgg16")
    assert not list(hub.iterdir())


def test_other_normalisation_is_refused_with_the_settings_to_give() -> None:
    check_preparation("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    check_preparation("googlenet", (0.5,), (0.5,))
    settings = r"add mean=0.485,0.456,0.406 std=0.229,0.224,0.225"
    for mean, std in (((0.5,), (0.5,)), ((0.485, 0.456, 0.406), (1.0,))):
        with pytest.raises(FovealError, match=f"{settings}$"):
            check_preparation("resnet18", mean, std)
    with pytest.raises(FovealError, match=f"{settings} mean_image=false$"):
        check_preparation("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), mean_image=True)
