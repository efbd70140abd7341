"""Weights of darknet, the code of YOLO's authors: numbers without names, in the order of the network's cfg."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.weights.files import Checkpoint

SUFFIX = ".weights"
_NORM = ("bias", "weight", "running_mean", "running_var")  # before the convolution's own


def read_darknet(file: str | Path, model: nn.Module) -> Checkpoint:
    """The tensors of a `.weights` file under the names of `model`, whose layers are registered in the cfg's order.

    A file is three int32 (version), the images seen (int64, or int32 before version 0.2), and float32 numbers: of each
    convolution the batch norm's shift, scale, mean and variance, or the bias, and then its weights. FovealError for a
    file that cannot be read, one of another length, and a network of other layers.
    """
    path = Path(file)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FovealError(f"{path}: {error.strerror}", "give a darknet .weights file") from error
    wanted = _order(model)
    needed = sum(tensor.numel() for _, tensor in wanted)
    version = np.frombuffer(data[:12], "<i4").tolist()
    if len(version) < 3:
        raise FovealError(f"{path} has {len(data)} bytes and no header", "give a darknet .weights file")
    start = 12 + (8 if version[0] * 10 + version[1] >= 2 else 4)
    if len(data) - start != 4 * needed:
        raise FovealError(
            f"{path} holds {(len(data) - start) / 4:,.0f} numbers, {type(model).__name__} takes {needed:,}",
            "make the network of the file's cfg, with as many classes",
        )
    numbers = torch.from_numpy(np.frombuffer(data, "<f4", offset=start).astype(np.float32))
    parts = numbers.split([tensor.numel() for _, tensor in wanted])  # type: ignore[no-untyped-call]
    tensors = {name: part.view(tensor.shape) for (name, tensor), part in zip(wanted, parts, strict=True)}
    return Checkpoint(str(path), tensors)


def _order(model: nn.Module) -> list[tuple[str, Tensor]]:
    leaves = [
        (name, layer) for name, layer in model.named_modules() if layer.state_dict() and not list(layer.children())
    ]
    found: list[tuple[str, Tensor]] = []
    for i, (name, layer) in enumerate(leaves):
        if isinstance(layer, nn.BatchNorm2d):
            continue
        if not isinstance(layer, nn.Conv2d):
            raise FovealError(f"{name} is a {type(layer).__name__}", "darknet's files are read into convolutions alone")
        after = leaves[i + 1] if i + 1 < len(leaves) else ("", nn.Identity())
        if isinstance(after[1], nn.BatchNorm2d):
            found += [(f"{after[0]}.{leaf}", getattr(after[1], leaf)) for leaf in _NORM]
        elif layer.bias is not None:
            found.append((f"{name}.bias", layer.bias))
        found.append((f"{name}.weight", layer.weight))
    return found
