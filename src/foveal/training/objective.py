"""What a run minimises: its task's losses, with what the recipe says of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from foveal.data.dataset import VisionSet
from foveal.tasks import task
from foveal.training.inputs import Inputs
from foveal.training.loop import Losses
from foveal.training.recipe import Recipe
from foveal.types import IGNORED


def objective(recipe: Recipe, inputs: Inputs) -> Losses:
    """The losses of the recipe's task, with its options bound."""
    options: dict[str, Any] = {"label_smoothing": recipe.label_smoothing} if recipe.label_smoothing else {}
    if recipe.task == "tag":
        options["loss"] = recipe.loss
    if recipe.class_weights == "median_frequency":
        options["class_weights"] = median_frequency(inputs.train)
    return partial(task(recipe.task).losses, **options)


def median_frequency(masks: VisionSet) -> Tensor:
    """Weights of the classes: median(f) / f(class), float32 [classes], with f(class) the class's share of the counted
    pixels of the masks in which it occurs (Eigen and Fergus 2015, section 6.3.2). 0 for a class of no pixel."""
    classes = len(masks.classes)
    pixels, seen = torch.zeros(classes, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64)
    for i in range(len(masks)):
        counts = torch.bincount(masks.target(i).flatten().long(), minlength=IGNORED + 1)[:classes].double()
        pixels += counts
        seen += (counts > 0) * counts.sum()
    shares = torch.where(seen > 0, pixels / seen.clamp(min=1), 0.0)
    there = shares > 0
    weights = torch.zeros(classes, dtype=torch.float64)
    weights[there] = shares[there].median() / shares[there]
    return weights.float()
