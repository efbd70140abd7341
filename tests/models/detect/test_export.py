"""Exported detectors find what they find here, in onnxruntime too where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.models import create
from foveal.models.detect.export import Exportable


@pytest.fixture(scope="module")
def detector() -> Any:
    torch.manual_seed(0)
    model: Any = create(
        "ssd_resnet", num_classes=2, width=8, maps=16, sides=(8, 16, 32, 64, 96), score=0.2, most=30
    ).eval()
    for layer in model.confidence:
        torch.nn.init.normal_(layer.weight, std=0.1)
    return model


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def compared(detector: Any, images: Tensor, found: tuple[Tensor, ...]) -> None:
    boxes, scores, labels = found
    for i, wanted in enumerate(detector.detect(images)):
        count = len(wanted["scores"])
        assert count > 3
        torch.testing.assert_close(scores[i, :count], wanted["scores"], rtol=0, atol=1e-4)
        torch.testing.assert_close(boxes[i, :count], wanted["boxes"], rtol=0, atol=1e-2)
        assert torch.equal(labels[i, :count], wanted["labels"])
        assert not scores[i, count:].any()


@torch.inference_mode()
def test_fixed_graph_finds_the_same(detector: Any, images: Tensor) -> None:
    compared(detector, images, Exportable(detector)(images))


def test_onnxruntime_finds_the_same(detector: Any, images: Tensor, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime and onnxscript")
    pytest.importorskip("onnxscript", reason="needs onnxruntime and onnxscript")
    file = tmp_path / "ssd.onnx"
    torch.onnx.export(Exportable(detector, 40), (images,), file, dynamo=True, verbose=False)
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.inference_mode():
        compared(detector, images, tuple(map(torch.from_numpy, found)))


def test_two_stages_are_refused() -> None:
    with torch.device("meta"), pytest.raises(FovealError, match="cannot be exported"):
        Exportable(create("faster_rcnn_fpn", num_classes=2, encoder="resnet18", width=8))
