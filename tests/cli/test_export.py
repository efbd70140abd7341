"""The verb export: a file that onnxruntime answers with as the run does, and errors that say what to mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from foveal import exporting
from foveal.data.image import load_image
from foveal.exporting import onnx
from foveal.training.run import Run


def test_a_classifier(foveal: Callable[..., Any], place: Path, tmp_path: Path) -> None:
    file = tmp_path / "lenet5.onnx"
    told = foveal("export", "run", file, "--batch", 2, "--json")
    assert told.status == 0, told.err
    found = json.loads(told.out)
    assert found["input"] == [2, 1, 32, 32] and found["classes"] == ["cat", "dog", "owl"]
    assert found["checked"] == 4 and found["difference"] < 1e-5

    session = onnxruntime.InferenceSession(file)
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["classes"]) == found["classes"] and notes["task"] == "classify"
    predictor = Run("run").predictor()
    images = torch.stack([predictor.prepare(load_image(f"photos/cat/{i}.png", mode="L")) for i in range(2)])
    (answer,) = session.run(["probabilities"], {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), predictor(images))


def test_what_cannot_be_is_refused(refused: Callable[..., Any], place: Path, tmp_path: Path) -> None:
    refused("export run x.onnx --size 32", "--size 32", "give height,width in pixels, such as 480,640")
    refused("export run none/x.onnx", "none is no folder", "make it, or name another file")


def test_answers_that_differ_leave_no_file(
    foveal: Callable[..., Any], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = onnx.run
    monkeypatch.setattr(
        exporting.onnx, "run", lambda *given: {name: part + 0.1 for name, part in honest(*given).items()}
    )
    told = foveal("export", "run", tmp_path / "x.onnx", "--picture", "photos/cat/0.png")
    assert told.status == 2 and "in onnxruntime scores differ by 0.1" in told.err
    assert not list(tmp_path.iterdir())
