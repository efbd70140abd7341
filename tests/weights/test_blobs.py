"""Caffe's blobs from an .npz: names, order of colours, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from foveal.errors import FovealError
from foveal.models import create
from foveal.weights import load_weights, read_weights


def blobs(model: nn.Module, spelling: str = "{layer}_{letter}") -> dict[str, np.ndarray[Any, Any]]:
    """The weights under Caffe-like names, blue first."""
    arrays = {}
    for name, value in model.state_dict().items():
        layer, leaf = name.rsplit(".", 1)
        number = int(leaf == "bias")
        turned = value.flip(1) if value.ndim == 4 and value.shape[1] == 3 else value
        arrays[spelling.format(layer=layer, leaf=leaf, letter="wb"[number], number=number)] = turned.numpy()
    return arrays


def saved(file: Path, arrays: dict[str, Any]) -> Path:
    np.savez(file, **arrays)
    return file


def test_cnn_m_computes_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"num_classes": 5, "fc7": 128, "input": (3, 71, 71)}
    theirs = create("cnn_m", **options).eval()
    for layer in theirs.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.uniform_(layer.weight, -0.1, 0.1)
    file = saved(tmp_path / "net.npz", blobs(theirs))
    ours = create("cnn_m", **options).eval()
    matching = load_weights(ours, f"{file}:bgr")
    assert matching.complete and "turned around" in matching.text()
    images = torch.randn(2, 3, 71, 71)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), atol=0, rtol=0)
        load_weights(ours, f"{file}:rgb")
        scores = ours(images.flip(1))
    torch.testing.assert_close(scores, theirs(images), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["cnn_f", "cnn_m", "cnn_s", "zfnet", "alexnet", "vgg16"])
def test_caffes_names_are_ours(name: str) -> None:
    """conv1 … conv5 (conv1_1 … in VGG), fc6, fc7, fc8: no map is needed."""
    with torch.device("meta"):
        layers = {key.rpartition(".")[0] for key in create(name).state_dict()}
    assert {layer for layer in layers if not layer.startswith("conv")} == {"fc6", "fc7", "fc8"}
    assert {"conv1", "conv5"} <= layers or {"conv1_1", "conv5_3"} <= layers


def caffe_names(ours: str, last: int) -> str:
    """conv2_3 → cccp4, and in the last of ImageNet's four blocks conv4-1024."""
    block, within = int(ours[4]), int(ours[6])
    theirs = f"conv{block}" if within == 1 else f"cccp{2 * (block - 1) + within - 1}"
    return f"{theirs}-1024" if block == last == 4 else theirs


@pytest.mark.parametrize(("name", "blocks"), [("nin", 4), ("nin_cifar", 3)])
def test_network_in_network_by_caffes_names(name: str, blocks: int, tmp_path: Path) -> None:
    theirs = create(name).eval()
    renamed = {}
    for key, value in blobs(theirs, "{layer}/{number}").items():
        layer, _, number = key.partition("/")
        renamed[f"{caffe_names(layer, blocks)}/{number}"] = value
    ours = create(name).eval()
    matching = load_weights(ours, f"{saved(tmp_path / 'nin.npz', dict(sorted(renamed.items())))}:bgr")
    assert matching.rule == "Caffe's names of a network in network"
    for (key, mine), value in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert torch.equal(mine, value), key


@pytest.mark.parametrize(
    "spelling", ["{layer}.{leaf}", "{layer}_{letter}", "{layer}/{number}", "{layer}:{leaf}", "{layer}/{letter}"]
)
def test_spellings(spelling: str, tmp_path: Path) -> None:
    model = nn.Sequential()
    model.add_module("conv1_1", nn.Conv2d(3, 4, 3))
    model.add_module("fc2", nn.Linear(4, 2))
    found = read_weights(f"{saved(tmp_path / 'a.npz', blobs(model, spelling))}:bgr")
    assert list(found.tensors) == list(model.state_dict())
    assert torch.equal(found.tensors["conv1_1.weight"], model.state_dict()["conv1_1.weight"])


def test_the_order_of_colours_must_be_said(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.npz", {"conv1_w": np.zeros((4, 3, 3, 3), np.float32)})
    with pytest.raises(FovealError, match=r"does not say in which order conv1.weight reads the colours\nwrite .*:bgr"):
        read_weights(file)
    grey = saved(tmp_path / "b.npz", {"conv1_w": np.zeros((4, 1, 3, 3), np.float32)})
    assert list(read_weights(grey).tensors) == ["conv1.weight"]
    with pytest.raises(FovealError, match="no layer reads three channels"):
        read_weights(f"{grey}:bgr")
    torch.save({"a": torch.zeros(1)}, tmp_path / "c.pt")
    with pytest.raises(FovealError, match=r"no \.npz of Caffe's blobs"):
        read_weights(f"{tmp_path / 'c.pt'}:rgb")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"conv1": np.zeros((4, 1, 3, 3), np.float32)}, "says neither weight nor bias"),
        ({"conv1_w": np.zeros(4, np.float32)}, "has 1 dimensions"),
        ({"conv1_w": np.zeros((4, 1, 3, 3), np.int64)}, "int64, not floating point"),
        ({"conv1_w": np.array([print, 1], dtype=object)}, "object, not floating point"),
        ({"a_w": np.zeros((4, 3, 3, 3), np.float32), "b_w": np.zeros((4, 3, 3, 3), np.float32)}, "all read three"),
    ],
)
def test_what_is_no_blob_is_refused(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=words):
        read_weights(saved(tmp_path / "a.npz", arrays))


def test_headers_that_lie_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (900000000000,), }"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a_b.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(FovealError, match="its header says 3,600,000,000,"):
        read_weights(file)
    whole = saved(tmp_path / "b.npz", {"a_b": np.zeros(1000, np.float32)}).read_bytes()
    (tmp_path / "c.npz").write_bytes(whole[:2000] + b"\xff" * 8 + whole[2008:])
    with pytest.raises(FovealError, match="cannot be read as arrays"):
        read_weights(tmp_path / "c.npz")
