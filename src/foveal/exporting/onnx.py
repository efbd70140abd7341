"""Networks written as ONNX by torch's exporter, with what it lacks: suppression, and pooling of windows by maximum."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foveal.boxes.suppression import FIXED
from foveal.errors import FovealError

_NEEDED = ("onnx", "onnxscript")
_ALL = 2**62  # boxes of a set that may stay
INSTALL = "pip install 'foveal[export]'"


def write(
    model: nn.Module, inputs: Mapping[str, Tensor], file: str | Path, *, notes: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Write a network in evaluation mode as one ONNX file, for inputs of these names and shapes; the names of what it
    gives.

    model: the inputs in their order → a dictionary of tensors by name, whose shapes do not depend on what the inputs
    hold. `notes` go into the file's metadata. FovealError where the exporter is not installed, for a layer
    that ONNX does not have, and for a folder that is not there.
    """
    for package in _NEEDED:
        if importlib.util.find_spec(package) is None:
            raise FovealError(f"exporting needs {package}, which is not installed", INSTALL)
    file = Path(file)
    if not file.parent.is_dir():
        raise FovealError(f"{file.parent} is no folder", "make it, or name another file")
    with torch.inference_mode():
        names = tuple(model(*inputs.values()))
    program = _program(model, inputs, names)
    program.model.metadata_props.update(notes or {})
    part = file.with_name(f"{file.name}.part")
    program.save(part, external_data=False)
    part.replace(file)
    return names


def run(file: str | Path, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What onnxruntime makes of inputs by a file that `write` wrote, on the CPU. FovealError where it is not
    installed."""
    if not can_run():
        raise FovealError("running ONNX needs onnxruntime, which is not installed", INSTALL)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    answers = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    names = (output.name for output in session.get_outputs())
    return {name: torch.from_numpy(answer) for name, answer in zip(names, answers, strict=True)}


def can_run() -> bool:
    """Whether onnxruntime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def _program(model: nn.Module, inputs: Mapping[str, Tensor], names: tuple[str, ...]) -> Any:
    from torch.onnx.errors import OnnxExporterError

    given: dict[str, Any] = {"input_names": list(inputs), "output_names": list(names)}
    quiet = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the exporter's about itself
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                model,
                tuple(inputs.values()),
                dynamo=True,
                verbose=False,
                custom_translation_table=_translations(),
                **given,
            )
    except OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise FovealError(
            f"{type(model).__name__} cannot be exported: {reason}",
            "shapes must not depend on what images show, and every layer must be one that ONNX has",
        ) from error
    finally:
        logging.disable(quiet)


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What the exporter is to write for operations that it does not know, or knows wrongly; parameters have the names
    of the operation's own."""
    from onnxscript import BOOL, INT32
    from onnxscript.onnx_opset import opset18

    op: Any = opset18  # its types are those of ONNX's graphs, and numbers become constants of them

    def stays(boxes: Any, scores: Any, threshold: float, least: float) -> Any:
        sets = op.Unsqueeze(scores, [1])  # [G, 1, N], one class
        kept = op.NonMaxSuppression(boxes, sets, [_ALL], [threshold], [least])  # [K, 3]: set, 0, box
        none = op.Expand(op.Cast([0], to=BOOL.dtype), op.Shape(sets))
        all_ = op.Expand(op.Cast([1], to=BOOL.dtype), op.Shape(kept, end=1))
        return op.Squeeze(op.ScatterND(none, kept, all_), [1])

    def roi_pool(input: Any, rois: Any, spatial_scale: float, pooled_height: int, pooled_width: int) -> Any:
        pooled = op.MaxRoiPool(input, rois, pooled_shape=[pooled_height, pooled_width], spatial_scale=spatial_scale)
        return pooled, op.Cast(pooled, to=INT32.dtype)  # the second, where the maxima were, is for gradients alone

    return {FIXED: stays, torch.ops.torchvision.roi_pool.default: roi_pool}
