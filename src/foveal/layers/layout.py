"""How the weights and maps of convolutions lie in memory."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

_FEW = 128  # positions
_Model = TypeVar("_Model", bound=nn.Module)


def channels_last(model: _Model) -> _Model:
    """The model itself, with the weights of its 2-D convolutions laid out with channels last.

    Shapes and numbers stay. Torch then computes with channels last from the first convolution on, which suits CPUs
    (benchmarks/inference.py), and hands on maps [N, C, H, W] in that layout.
    """
    for layer in model.modules():
        weight = layer._parameters.get("weight") if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) else None
        if weight is not None:  # computed ones (weight normalisation) have no memory of their own
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return model


def for_pointwise(x: Tensor, stride: int = 1) -> Tensor:
    """Maps [N, C, H, W] as 1x1 convolutions of this stride take them fastest: x itself, or with channels first.

    With channels last torch is slower on CPUs where a large float32 weight meets few positions: the last stage of
    ResNet-50 on one image (benchmarks/inference.py). What is traced or compiled for other sizes is left as it is.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if traced or not isinstance(x, Tensor):
        return x
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return x
    few = x.shape[0] * x.shape[2] * x.shape[3] <= _FEW * stride**2
    return x.contiguous() if few else x
