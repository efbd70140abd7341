"""How the weights of convolutions lie in memory."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

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
