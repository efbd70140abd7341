"""The update rules, in the fused form of torch where the device has it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer, RMSprop

from foveal.errors import FovealError
from foveal.training.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe, factors: Mapping[str, float] | None = None) -> Optimizer:
    """SGD with momentum, AdamW (Loshchilov and Hutter 2019) or RMSprop, for the parameters that want a gradient.

    SGD is torch's: v ← μv + g, w ← w - ηv with g including the L2 penalty. The papers' v ← μv - ηg is the same as long
    as η is constant; when η drops, theirs lets the old velocity run out at the old rate, ours scales it down at once.
    `factors`: by parameter, the multiple of the rate at which it learns, each a group's "factor".
    `decay_all=False` spares vectors and scalars, i.e. biases and normalisation parameters.
    """
    parameters: dict[float, list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            parameters.setdefault(factors[name] if factors else 1.0, []).append(p)
    if not parameters:
        raise FovealError(f"{type(model).__name__} has no parameter that can be trained", "unfreeze some of its layers")
    groups = [group | {"factor": factor} for factor, some in parameters.items() for group in _groups(some, recipe)]
    every = [p for some in parameters.values() for p in some]
    fused = all(p.device.type in ("cpu", "cuda") and torch.is_floating_point(p) for p in every)
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999), fused=fused or None)
    if recipe.optimizer == "rmsprop":
        return RMSprop(groups, lr=recipe.lr, alpha=recipe.momentum)
    return SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused or None)


def _groups(parameters: list[nn.Parameter], recipe: Recipe) -> list[dict[str, list[Tensor] | float]]:
    decay = recipe.weight_decay
    if recipe.decay_all:
        return [{"params": [*parameters], "weight_decay": decay}]
    matrices: list[Tensor] = [p for p in parameters if p.ndim > 1]
    vectors: list[Tensor] = [p for p in parameters if p.ndim <= 1]
    both: list[dict[str, list[Tensor] | float]] = [
        {"params": matrices, "weight_decay": decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in both if group["params"]]
