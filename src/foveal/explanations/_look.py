"""What a layer says about images, as one row of numbers each: the features that are compared or classified anew."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations._common import layer_of, scores
from foveal.graph.taps import taps


class Look:
    """What a layer says about images [B, C, H, W]: float32 [B, D] on the CPU."""

    def __init__(self, model: nn.Module, layer: str | None) -> None:
        self.model, self.layer = model, layer
        linear = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Linear)]
        if layer is None and not linear:
            raise FovealError(f"{type(model).__name__} has no fully connected layer", "name the layer=… to compare")
        if layer is not None:
            layer_of(model, layer)
        self.name = layer if layer is not None else f"the input of {linear[-1][0] or 'the only layer'}"
        self._last = linear[-1][1] if layer is None else None

    def __call__(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)  # faster on CPUs
        if self._last is None:
            scores(self.model, images[:1])  # says what is wrong with images that do not fit
            return taps(self.model, str(self.layer))(images)[str(self.layer)].flatten(1).float().cpu()
        given: list[Tensor] = []
        handle = self._last.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].detach()))
        try:
            scores(self.model, images)
        finally:
            handle.remove()
        return given[-1].flatten(1).float().cpu().clone()
