"""torchvision's published weights: found in the cache, checked, and a clear way out without a network."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn

from foveal.errors import FovealError
from foveal.weights import imagenet, load_weights, published


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


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "resnet152"])
def test_families(name: str) -> None:
    assert name in published(name).url


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "densenet121", "vgg16_bn"])
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
