"""Files of darknet go where its cfg says, and files of other networks are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from foveal.errors import FovealError
from foveal.models import create
from foveal.weights.match import load_weights


def written(path: Path, numbers: np.ndarray) -> Path:
    path.write_bytes(np.array([0, 2, 5], "<i4").tobytes() + np.array([32013312], "<i8").tobytes() + numbers.tobytes())
    return path


def test_yolov3_file(tmp_path: Path) -> None:
    model = create("yolov3", num_classes=2, width=2)
    state = model.state_dict()
    count = sum(v.numel() for k, v in state.items() if not k.endswith("num_batches_tracked"))
    numbers = np.random.default_rng(0).random(count, dtype=np.float32)
    assert load_weights(model, written(tmp_path / "yolov3.weights", numbers)).complete
    state = model.state_dict()
    first = [state[f"backbone.conv1.{name}"].flatten() for name in (
        "bn.bias", "bn.weight", "bn.running_mean", "bn.running_var", "conv.weight",
    )]  # fmt: skip
    start = torch.cat(first).numpy()
    np.testing.assert_array_equal(start, numbers[: len(start)])
    last = torch.cat([state["backbone.output3.bias"], state["backbone.output3.weight"].flatten()]).numpy()
    np.testing.assert_array_equal(last, numbers[-len(last) :])


def test_other_files_are_refused(tmp_path: Path) -> None:
    model = create("yolov3", num_classes=2, width=2)
    with pytest.raises(FovealError, match="holds 7 numbers, YOLOv3 takes"):
        load_weights(model, written(tmp_path / "short.weights", np.zeros(7, "<f4")))
    with pytest.raises(FovealError, match="convolutions alone"):
        load_weights(nn.Sequential(nn.Linear(2, 2)), written(tmp_path / "other.weights", np.zeros(6, "<f4")))
    with pytest.raises(FovealError, match="No such file"):
        load_weights(model, tmp_path / "none.weights")
