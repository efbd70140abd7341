"""Rosenblatt's perceptron: fixed random associative units, trained threshold units.

F. Rosenblatt, «The perceptron: a probabilistic model for information storage and organization in the brain»,
Psychological Review 65, 1958; the Mark I machine had a retina of 20x20 photocells. Each associative unit fires (1,
else 0) when the sum of its randomly wired, exciting or inhibiting inputs reaches its threshold; only the response is
trained.

For several classes there is one linear threshold unit a class, trained against all the others: the perceptron has no
multi-class rule and no probabilities. With `units=0` phi(x) = x, the perceptron of the convergence theorem: from w = 0,
with |x| <= R (the constant 1 of the bias included) and a margin delta for some unit vector, at most (R / delta)²
updates are made. (One deck bounds them by M / delta², with M the radius; that holds with M = R².)
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.layers.activations import Step
from foveal.types import Facts

FACTS = {
    "perceptron": Facts(
        paper="Rosenblatt: The Perceptron, a Probabilistic Model for Information Storage and Organization in the Brain",
        year=1958,
        input=(1, 20, 20),
        num_classes=10,
        parameters=5_130,
        dataset="Mark I Perceptron",
        published={"sensory_units": 400, "associative_units": 512, "response_units": 8},
    ),
}


class Perceptron(nn.Sequential):
    """phi, then one linear threshold unit a class: [N, C, H, W] → f(x) [N, classes]; the sign is the unit's output."""

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """E(w) = sum over units of max(0, -t f(x)), averaged over the batch; t = +1 for the right class, else -1.

        Its stochastic gradient step is the perceptron rule w += eta t phi(x) for each wrong unit. At f(x) = 0 the
        subgradient that learns is taken: by the strict rule [t f(x) < 0] nothing ever leaves w = 0.
        images [N, C, H, W], targets int64 [N].
        """
        f = self(images)
        t = 2 * F.one_hot(targets, f.shape[1]).to(f.dtype) - 1
        wrong = t * f <= 0
        return {"perceptron": (-t * f * wrong).sum(1).mean()}


def perceptron(
    num_classes: int = 10,
    *,
    units: int = 512,
    connections: int = 20,
    input: tuple[int, int, int] = (1, 20, 20),
    wiring_seed: int = 0,
) -> Perceptron:
    """The perceptron, [N, *input] → f(x) [N, num_classes], starting from w = 0.

    units: number of associative units, 0 for phi(x) = x. connections: inputs of each, at most all pixels.
    wiring_seed draws the wiring, which belongs to the machine and not to the run. Raises FovealError for negative units
    and for connections that the retina cannot give.
    """
    pixels = math.prod(input)
    layers: OrderedDict[str, nn.Module] = OrderedDict(retina=nn.Flatten())
    if units < 0 or (units and not 1 <= connections <= pixels):
        raise FovealError(
            f"perceptron: units={units}, connections={connections} on {pixels} pixels",
            f"units from 0, connections from 1 to {pixels}",
        )
    if units:
        layers["association"] = _associative(pixels, units, connections, wiring_seed)
        layers["threshold"] = Step()
    layers["response"] = nn.Linear(units or pixels, num_classes)
    for tensor in layers["response"].parameters():
        nn.init.zeros_(tensor)
    return Perceptron(layers)


@torch.no_grad()
def _associative(pixels: int, units: int, connections: int, seed: int) -> nn.Linear:
    """Fixed connections of weight +1 or -1 to `connections` random pixels a unit, and a random threshold."""
    source = random.Random(seed)
    weight = torch.zeros(units, pixels)
    wires = [(unit, pixel) for unit in range(units) for pixel in source.sample(range(pixels), connections)]
    signs = torch.tensor([source.choice((-1.0, 1.0)) for _ in wires])
    rows, columns = torch.tensor(wires).T
    weight[rows, columns] = signs
    spread = math.sqrt(connections)  # of the sum, for pixels of unit variance
    layer = nn.Linear(pixels, units)
    layer.weight.copy_(weight)
    layer.bias.copy_(torch.tensor([source.uniform(-spread, spread) for _ in range(units)]))
    return layer.requires_grad_(False)
