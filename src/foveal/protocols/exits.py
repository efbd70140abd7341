"""Networks that answer several times on their way: the quality at each exit, and what a budget buys.

G. Huang et al., «Multi-scale dense networks for resource efficient image classification», ICLR 2018, section 3 (the two
settings) and 5 (their evaluation).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.metrics.classification import top_k_error
from foveal.protocols._scoring import Figures, figures, posteriors
from foveal.protocols._views import centre
from foveal.types import ExitPredictor

_STEPS = 60  # halvings of the interval that r/(1 + r) is sought in


def anytime(predict: ExitPredictor, dataset: Any, *, batch_size: int = 256) -> Figures:
    """The error if every image had to leave at the same exit: the any-time curve, on centre crops.

    Yields what `center_crop` does, for the last exit; then for each exit, from 1, ("exit N/macs", multiply-adds of an
    image up to there) and ("exit N/top1_error", %).
    """
    exits, labels = _answers(predict, dataset, batch_size)
    yield from figures(exits[-1], labels)
    for number, (cost, p) in enumerate(zip(predict.costs, exits, strict=True), 1):
        yield f"exit {number}/macs", float(cost)
        yield f"exit {number}/top1_error", top_k_error(p, labels)


def budgeted(
    predict: ExitPredictor, dataset: Any, *, share: float = 0.5, points: int = 10, batch_size: int = 256
) -> Figures:
    """The error if a batch of images may cost so much on average, and easy ones leave early (budgeted batch setting).

    An image leaves at the first exit whose largest probability reaches that exit's threshold. As in the paper, a share
    proportional to (1 - q)^(k - 1) of the images leaves at exit k, where q is chosen to meet the budget. Departure: the
    thresholds are those of the batch itself, by its confidences and without its labels, not of validation images; so
    the budget is met as nearly as whole images and ties allow, and the figures belong to a set known as a whole.

    Yields what `center_crop` does, for a budget of `share` (0 to 1) of the way from the first exit's cost to the
    last's; then ("macs", mean multiply-adds spent), and for `points` budgets from the first to the last exit's cost
    ("budget N/macs", …) and ("budget N/top1_error", %).
    """
    if not 0 <= share <= 1 or points < 0:
        raise FovealError(
            f"share={share:g}, points={points}: no budget", "give a share within 0..1 and 0 or more points"
        )
    exits, labels = _answers(predict, dataset, batch_size)
    costs = torch.tensor(predict.costs, dtype=torch.float64)
    p, spent = _spend(exits, costs, share)
    yield from figures(p, labels)
    yield "macs", spent
    for number in range(points):
        p, spent = _spend(exits, costs, number / max(1, points - 1))
        yield f"budget {number + 1}/macs", spent
        yield f"budget {number + 1}/top1_error", top_k_error(p, labels)


def _answers(predict: ExitPredictor, dataset: Any, batch_size: int) -> tuple[Tensor, Tensor]:
    """Probabilities of all exits, float32 [exits, N, classes], and labels [N]."""
    count = len(predict.costs)

    def forward(images: Tensor) -> Tensor:
        return predict.exits(images).transpose(0, 1).flatten(1)  # [B, exits · classes]

    def look(image: Tensor, name: str) -> list[Tensor]:
        return [centre(predict, image, name)]

    found, labels = posteriors(predict, dataset, look, forward, batch_size=batch_size)
    return found.reshape(len(found), count, -1).transpose(0, 1), labels


def _spend(exits: Tensor, costs: Tensor, share: float) -> tuple[Tensor, float]:
    """Each image's probabilities at the exit it takes, [N, classes], and the mean cost, for a budget of `share`."""
    taken = _taken(exits, _shares(costs, share))
    return exits[taken, torch.arange(len(taken))], float(costs[taken].mean())


def _shares(costs: Tensor, share: float) -> Tensor:
    """Share of the images for each exit, geometric in the exit's number, whose mean cost is the budget; float64.

    With weights r^(k - 1), r from 0 (all leave at the first exit) by 1 (evenly) to infinity (all at the last one); the
    mean cost grows with r, so that halving an interval of r/(1 + r) finds it.
    """
    if share in (0, 1):
        return torch.eye(len(costs), dtype=torch.float64)[0 if share == 0 else -1]
    budget = costs[0] + share * (costs[-1] - costs[0])
    low, high = 0.0, 1.0
    found = torch.full_like(costs, 1 / len(costs))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        found = _geometric(middle, len(costs))
        if float((found * costs).sum()) < float(budget):
            low = middle
        else:
            high = middle
    return found


def _geometric(t: float, count: int) -> Tensor:
    """Weights t^k (1 - t)^(count - 1 - k) of k = 0 … count - 1, which is r^k with r = t/(1 - t), scaled to sum 1."""
    k = torch.arange(count, dtype=torch.float64)
    return (k * math.log(t) + (count - 1 - k) * math.log(1 - t)).softmax(0)


def _taken(exits: Tensor, shares: Tensor) -> Tensor:
    """The exit of each image, int64 [N]: at each one its share of all images leaves, the surest of those still there.

    Images that are equally sure leave together, so that the order of the images never matters.
    """
    count = exits.shape[1]
    taken = torch.full((count,), len(exits) - 1)
    there = torch.ones(count, dtype=torch.bool)
    bounds = (shares.cumsum(0) * count).round().long().tolist()
    for number, (p, bound) in enumerate(zip(exits[:-1], bounds[:-1], strict=True)):
        leaving = bound - int((~there).sum())
        if leaving <= 0:
            continue
        sure = torch.where(there, p.max(1).values, -torch.inf)
        threshold = sure.sort(descending=True).values[leaving - 1]
        out = there & (sure >= threshold)
        taken[out], there[out] = number, False
    return taken
