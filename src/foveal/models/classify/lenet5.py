"""LeNet-5, as the paper has it: connection table, trainable subsampling, scaled tanh, RBF output.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, «Gradient-based learning applied to document recognition», Proceedings of
the IEEE 86(11), 1998, section II.B. In the lecture notation it is, but for C3's table and the output units,
`5-1Conv6 → 2-2AvgPool → 5-1Conv16 → 2-2AvgPool → FC120 → FC84 → FC10` (one deck prints 5-5AvgPool; 2-2 is right).

The paper scales pixels so that paper is -0.1 and ink 1.175: mean 0.0784 and standard deviation 0.7843 of ink in 0..1.
Departures: C5 is written as the fully connected layer that it is at this input size (`graph.convolutionalize` makes
it the 5x5 convolution of the paper), and the constant j of equation 9, which the paper does not give, is `margin`.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from foveal.errors import unknown
from foveal.layers import squashed
from foveal.layers.activations import ScaledTanh
from foveal.layers.rbf import RBF
from foveal.layers.subsampling import Subsampling
from foveal.layers.table_conv import TableConv2d
from foveal.types import Facts

_Model = TypeVar("_Model", bound=nn.Sequential)

FACTS = {
    "lenet5": Facts(
        paper="LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition",
        year=1998,
        input=(1, 32, 32),
        num_classes=10,
        parameters=60_000,
        macs=326_520,  # of listed connections; subsampling counts none
        dataset="MNIST",
        top1_error=0.95,  # without distortions; 0.8 with them
        published={
            "C1": 156, "S2": 12, "C3": 1516, "S4": 32, "C5": 48_120, "F6": 10_164, "RBF": 840,
            "connections": 340_908, "top1_error_with_distortions": 0.8,
        },
    ),
}  # fmt: skip

# Table I: the maps of S2 that each map of C3 reads.
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# Stylised digits, 7 wide and 12 high (hence 84 units in F6): ink is +1, paper -1. Drawn for this file after figure 3.
_DIGITS = """
..###.. ...##.. .#####. ####### ....##. ####### ..####. ####### .#####. .####..
.##.##. ..###.. ##...## .....## ...###. ##..... .##.... .....## ##...## ##..##.
##...## .####.. .....## ....##. ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## ...##.. .##.##. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. ..####. ##..##. ######. ##.###. ....##. .#####. ##...##
##...## ...##.. ...##.. .....## ##..##. .....## ###..## ...##.. ##...## ##..###
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .###.##
##...## ...##.. .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## ....##. .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ....##. ##...## .##..## .##.... ##...## ....##.
..###.. .###### ####### .#####. ....##. .#####. ..####. .##.... .#####. .####..
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


class LeNet5(nn.Sequential):
    """LeNet-5 with RBF output units: [N, 1, 32, 32] → minus the squared distances to the class codes, [N, classes]."""

    margin: float

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Equation 9, averaged over the batch: distance to the right code, and competition of all codes.

        E = y_d + log(exp(-j) + sum_i exp(-y_i)) with y = -forward(images). images [N, 1, 32, 32], targets int64 [N].
        The constant j (`margin`) spares classes that are already further than j.
        """
        scores = squashed.run(self, images)  # self(images), sooner
        scores = scores.float()  # half precision is too coarse for distances of up to several hundred
        penalty = -scores.gather(1, targets[:, None]).mean()
        floor = scores.new_full((len(scores), 1), -self.margin)
        return {"penalty": penalty, "competition": torch.cat((floor, scores), 1).logsumexp(1).mean()}


def lenet5(
    num_classes: int = 10, *, output: Literal["rbf", "linear"] = "rbf", margin: float = 10.0, codes_seed: int = 0
) -> nn.Sequential:
    """LeNet-5 of 1998, [N, 1, 32, 32] → scores [N, num_classes].

    output: "rbf" for the paper's Euclidean units with fixed ±1 codes and the loss of equation 9, or "linear" for the
    fully connected layer (850 parameters for ten classes) that goes with cross-entropy. The codes are 7x12 bitmaps of
    the digits for ten classes; for any other number random ±1 codes drawn from `codes_seed`, the paper's alternative.
    margin: the j of equation 9. Raises FovealError for another output.
    """
    if output not in ("rbf", "linear"):
        raise unknown("output of lenet5", output, ("rbf", "linear"))
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        C1=nn.Conv2d(1, 6, 5),  # [N, 6, 28, 28]
        tanh1=ScaledTanh(),
        S2=Subsampling(6),  # [N, 6, 14, 14]
        tanh2=ScaledTanh(),
        C3=TableConv2d(6, C3_TABLE, 5),  # [N, 16, 10, 10]
        tanh3=ScaledTanh(),
        S4=Subsampling(16),  # [N, 16, 5, 5]
        tanh4=ScaledTanh(),
        flatten=nn.Flatten(),
        C5=nn.Linear(400, 120),
        tanh5=ScaledTanh(),
        F6=nn.Linear(120, 84),
        tanh6=ScaledTanh(),
    )
    if output == "linear":
        layers["output"] = nn.Linear(84, num_classes)
        return _initialised(nn.Sequential(layers))
    layers["output"] = RBF(_codes(num_classes, codes_seed))
    model = LeNet5(layers)
    model.margin = margin
    return _initialised(model)


def _codes(num_classes: int, seed: int) -> Tensor:
    """The ±1 target codes of F6, [num_classes, 84]."""
    if num_classes == 10:
        rows = [row.split() for row in _DIGITS.split("\n") if row]
        bitmaps = ["".join(row[digit] for row in rows) for digit in range(10)]
        return torch.tensor([[1.0 if dot == "#" else -1.0 for dot in bitmap] for bitmap in bitmaps])
    source = random.Random(seed)  # not torch's generator: the codes belong to the architecture, not to the run
    numbers: dict[int, None] = {}  # a dictionary keeps the order and holds no code twice
    while len(numbers) < num_classes:
        numbers[source.getrandbits(84)] = None
    return torch.tensor([[1.0 if number >> bit & 1 else -1.0 for bit in range(84)] for number in numbers])


@torch.no_grad()
def _initialised(model: _Model) -> _Model:
    """Appendix A: every weight and bias uniform in ±2.4 / (number of inputs of its unit)."""
    for layer in model:
        if isinstance(layer, TableConv2d):
            for tensors, fan_in in layer.maps():
                _uniform(fan_in, *tensors)
        elif isinstance(layer, Subsampling):
            _uniform(layer.kernel_size**2, layer.weight, layer.bias)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            _uniform(layer.weight[0].numel(), *layer.parameters())
    return model


def _uniform(fan_in: int, *tensors: Tensor) -> None:
    for tensor in tensors:
        nn.init.uniform_(tensor, -2.4 / fan_in, 2.4 / fan_in)
