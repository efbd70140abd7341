"""A network run with another rule for its ReLUs in the backward pass, seen through its trace: nothing of it changes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from foveal.errors import FovealError
from foveal.graph.trace import trace
from foveal.layers.activations import Maxout

_OTHERS = (nn.LeakyReLU, nn.PReLU, nn.ELU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Softplus, Maxout)


class Guided(fx.Interpreter):
    """The network, its ReLUs letting back only what is positive where they were open.

    Raises FovealError for a network that cannot be traced, naming the line of the function in the way, for one without
    a ReLU, and for one with other rectifiers, of which the rule says nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        graph = trace(model)
        super().__init__(graph)
        leaves = {
            n.meta["path"]: graph.get_submodule(str(n.target)) for n in graph.graph.nodes if n.op == "call_module"
        }
        for path, leaf in leaves.items():
            if isinstance(leaf, _OTHERS):
                raise FovealError(
                    f"layer '{path}' is a {type(leaf).__name__}, and guided backpropagation is a rule for ReLUs",
                    "take saliency or grad_cam, which any network allows",
                )
        if not any(isinstance(leaf, nn.ReLU) for leaf in leaves.values()):
            raise FovealError(
                "the network has no ReLU, so guided backpropagation would be the plain gradient", "take saliency"
            )

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(self.fetch_attr(str(target)), nn.ReLU):
            return _GuidedReLU.apply(args[0])
        return super().call_module(target, args, kwargs)

    def __call__(self, images: Tensor) -> Any:
        return self.run(images)


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp_min(0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        back: Tensor = above[0].clamp_min(0) * (y > 0)
        return back
