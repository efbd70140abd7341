"""Contrast normalisation and whitening: what they are, that every use of a run applies them, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.decomposition import PCA
from small_networks import recipe

from foveal.data.open import open_data
from foveal.data.whitening import LENGTH, RIDGE, contrast_normalised, fit
from foveal.errors import FovealError
from foveal.exporting import export, onnx
from foveal.recipes import resolve
from foveal.report.explained import Subject
from foveal.training import whitening
from foveal.training.console import Console
from foveal.training.train import resume, train


def digits(split: str = "train", seed: int = 0) -> torch.Tensor:
    return open_data("digits", split, seed=seed).images  # type: ignore[attr-defined, no-any-return]


def by_numpy(images: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows after contrast normalisation, their mean and the matrix, in float64."""
    rows = images.numpy().reshape(len(images), -1).astype(np.float64)
    rows -= rows.mean(1, keepdims=True)
    rows *= LENGTH / np.linalg.norm(rows, axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True) + RIDGE * np.eye(rows.shape[1]))
    return rows, rows.mean(0), vectors @ np.diag(values**-0.5) @ vectors.T


def test_it_is_what_numpy_computes() -> None:
    images = digits()
    rows, mean, matrix = by_numpy(images)
    found = fit(torch.split(images, 100))
    assert np.allclose(contrast_normalised(images).numpy(), rows, atol=1e-4)
    assert np.allclose(found.mean.flatten().numpy(), mean, atol=1e-4)
    assert np.allclose(found.matrix.numpy(), matrix, atol=1e-4)
    seen = found(images).flatten(1).numpy()
    assert np.allclose(seen, (rows - mean) @ matrix, atol=1e-3)
    assert np.allclose(found(images[:1]).numpy(), found(images)[:1].numpy(), atol=1e-4)


def test_the_principal_components_come_out_with_scikit_learns_spread() -> None:
    """Along each of them the variance v becomes v / (v + 0.1)."""
    images = digits()
    rows, _, _ = by_numpy(images)
    analysis = PCA(svd_solver="full").fit(rows)
    seen = fit([images])(images).flatten(1).double().numpy() @ analysis.components_.T
    variance = analysis.explained_variance_ * (len(rows) - 1) / len(rows)
    assert np.allclose(seen.var(0), variance / (variance + RIDGE), atol=1e-3)
    off = np.cov(seen.T, bias=True) - np.diag(seen.var(0))
    assert np.abs(off).max() < 1e-3


def test_an_image_of_one_colour_has_no_contrast() -> None:
    assert torch.equal(contrast_normalised(torch.full((2, 3, 4, 4), 77, dtype=torch.uint8)), torch.zeros(2, 48))


def test_every_use_of_a_run_whitens_and_resuming_goes_on_exactly(tmp_path: Path) -> None:
    quiet, wanted = Console(silent=True), recipe(length=1, whiten=True, holdout=0.0)
    whole = train(wanted, out=tmp_path / "whole", console=quiet)
    part = train(wanted, out=tmp_path / "part", console=quiet, time_budget=1e-9)
    assert not part.finished
    part = resume(part, time_budget=0.0, console=quiet)
    for name, value in whole.model("last").state_dict().items():
        assert torch.equal(value, part.model("last").state_dict()[name]), name
    stored, images = whitening.load(whole.path), digits("test")[:20]
    assert torch.allclose(stored.matrix, fit([digits(seed=wanted.seed)]).matrix, atol=1e-5)
    with torch.no_grad():
        expected = whole.model()(stored(images)).softmax(1)
    predictor = whole.predictor()
    assert torch.allclose(predictor(images), expected, atol=1e-5)
    export(whole, tmp_path / "whole.onnx")
    found = onnx.run(tmp_path / "whole.onnx", {"images": images[:1]})
    assert torch.allclose(found["probabilities"], expected[:1], atol=1e-4)
    with pytest.raises(FovealError, match="whitens images of 1x8x8 cannot whiten those of 1x12x12"):
        predictor(torch.zeros(1, 1, 12, 12, dtype=torch.uint8))
    with pytest.raises(FovealError, match="saw whitened images"):
        Subject.of_run(whole)
    (whole.path / whitening.FILE).unlink()
    with pytest.raises(FovealError, match=r"whitening\.safetensors is missing or damaged"):
        whole.predictor()


@pytest.mark.parametrize("kind", ["bytes", "nan", "size", "name"])
def test_a_damaged_one_is_refused(kind: str, tmp_path: Path) -> None:
    file = tmp_path / whitening.FILE
    mean, matrix = torch.zeros(1, 2, 2), torch.eye(4)
    if kind == "bytes":
        file.write_bytes(b"no tensors")
    elif kind == "name":
        save_file({"mean": mean}, file)
    else:
        save_file({"mean": mean, "matrix": torch.eye(3) if kind == "size" else matrix * torch.nan}, file)
    with pytest.raises(FovealError, match=r"whitening\.safetensors is missing or damaged"):
        whitening.load(tmp_path)


def test_what_cannot_be_whitened_is_refused() -> None:
    with pytest.raises(FovealError, match="150,528 squared"):
        fit([torch.zeros(2, 3, 224, 224, dtype=torch.uint8)])
    for settings in ({"mean_image": True}, {"weights": "imagenet"}):
        with pytest.raises(FovealError, match="whiten=true and"):
            resolve("resnet18", whiten=True, **settings)


def test_network_in_network_sees_cifar_so() -> None:
    assert resolve("nin_cifar10").whiten and resolve("nin_cifar100").whiten and not resolve("nin_cifar10_fast").whiten
