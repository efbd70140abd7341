"""Multi-layer perceptrons, and the network that computes any set of binary inputs.

The default, 28x28-300-10, is the smallest multi-layer net of Y. LeCun et al., «Gradient-based learning applied to
document recognition», 1998, section III.C (4.7 % test error on MNIST, with saturating units and squared error; the
ReLU, its initialisation and the cross-entropy that goes with it are later).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from foveal.errors import FovealError, unknown
from foveal.layers.activations import Maxout, Step
from foveal.types import Facts

FACTS = {
    "mlp": Facts(
        paper="LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition",
        year=1998,
        input=(1, 28, 28),
        num_classes=10,
        parameters=238_510,
        macs=238_200,
        dataset="MNIST",
        top1_error=4.7,
    ),
}

Activation = Literal["relu", "tanh", "sigmoid", "leaky_relu", "maxout"]

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,  # max(0.01 x, x)
    "maxout": Maxout,  # max(w1'x, w2'x): a hidden layer of twice the weights
}


def mlp(
    num_classes: int = 10,
    *,
    hidden: Sequence[int] = (300,),
    activation: Activation = "relu",
    input: tuple[int, int, int] = (1, 28, 28),
) -> nn.Sequential:
    """A multi-layer perceptron, [N, *input] → scores [N, num_classes].

    hidden: sizes of the hidden layers; none of them leaves a linear classifier. Weights are drawn after Glorot for tanh
    and sigmoid, after He (fan-in) for the others, biases 0. Raises FovealError for an unknown activation and for an
    empty layer.
    """
    if activation not in _ACTIVATIONS:
        raise unknown("activation of mlp", str(activation), _ACTIVATIONS)
    if any(size < 1 for size in hidden):
        raise FovealError(f"mlp: hidden={tuple(hidden)} has an empty layer", "give sizes from 1")
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    features = math.prod(input)
    for number, size in enumerate(hidden, start=1):
        layers[f"fc{number}"] = _linear(features, size * (2 if activation == "maxout" else 1), activation)
        layers[f"{activation}{number}"] = _ACTIVATIONS[activation]()
        features = size
    layers[f"fc{len(hidden) + 1}"] = _linear(features, num_classes, "sigmoid")
    return nn.Sequential(layers)


def _linear(inputs: int, outputs: int, activation: str) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    if activation in ("tanh", "sigmoid"):
        nn.init.xavier_uniform_(layer.weight)
    else:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


class BinarySet(nn.Sequential):
    """The two-layer threshold network that is 1 exactly on given binary inputs: [N, D] in {-1, +1} → [N, 1] in {0, 1}.

    One hidden unit recognises each input x_m: z_m = step(x_m'x - D), and the output is their OR, step(sum z_m - 1). Any
    Boolean function can be written so, but may need up to 2^(D-1) hidden units where it cannot be simplified (parity).
    members: [M, D], entries -1 or +1, M >= 1. Raises FovealError otherwise. The weights are not trained.
    """

    def __init__(self, members: Tensor) -> None:
        if members.dim() != 2 or not len(members) or not bool((members.abs() == 1).all()):
            raise FovealError("BinarySet: members must be a non-empty [M, D] tensor of -1 and +1")
        count, inputs = members.shape
        recognise, join = nn.Linear(inputs, count), nn.Linear(count, 1)
        with torch.no_grad():
            recognise.weight.copy_(members)
            recognise.bias.fill_(-inputs)
            join.weight.fill_(1)
            join.bias.fill_(-1)
        layers = OrderedDict(recognise=recognise, step1=Step(), join=join, step2=Step())
        super().__init__(layers)
        self.requires_grad_(False)
