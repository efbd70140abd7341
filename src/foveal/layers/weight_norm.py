"""Weight normalisation, w = g v / |v|, of a whole network at once. The layers are torch's parametrised ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def normalise_weights(model: nn.Module, images: Tensor | None = None) -> nn.Module:
    """Give every convolution and linear layer of `model` a length g and a direction v for each unit. In place.

    Salimans and Kingma (2016), sections 2 and 3. The function computed stays as it is, unless `images` [N, …] are
    given: then, layer by layer in order of execution, g and bias are set so that each unit's output over these images
    has mean 0 and variance 1. Passes and `foveal.optimize` know the layers. Returns the model.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _KINDS) and not _is_normalised(layer)]
    for layer in layers:
        weight_norm(layer)
    if images is not None:
        handles = [layer.register_forward_hook(_standardise) for layer in layers]
        was = model.training
        try:
            with torch.no_grad():
                model.eval()(images)
        finally:
            model.train(was)
            for handle in handles:
                handle.remove()
    return model


def _is_normalised(layer: nn.Module) -> bool:
    return parametrize.is_parametrized(layer, "weight")


def _standardise(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Set g and bias, and give the output that they make (equation 6)."""
    units = output.shape[1:2] if output.ndim > 2 else output.shape[-1:]
    values = output.transpose(0, 1).flatten(1) if output.ndim > 2 else output.T
    deviation, mean = torch.std_mean(values, dim=1, correction=0)
    scale = 1 / deviation.clamp_min(1e-8)
    lengths = layer.get_parameter("parametrizations.weight.original0")
    lengths.mul_(scale.view(-1, *[1] * (lengths.ndim - 1)))
    bias = getattr(layer, "bias", None)
    if isinstance(bias, Tensor):
        bias.copy_((bias - mean) * scale)
    else:
        mean = torch.zeros_like(mean)  # stays where it is
    shape = (1, *units, *[1] * (output.ndim - 2))
    return (output - mean.view(shape)) * scale.view(shape)
