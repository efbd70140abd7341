"""Steps → nn.Sequential: sizes are followed from the input, and layers get the papers' names."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import nn

from foveal.errors import unknown
from foveal.graph.shapes import check_input
from foveal.graph.shapes import text as size_text
from foveal.graph.windows import Size, Window
from foveal.notation.grammar import Placed, fail, read
from foveal.notation.steps import FC, Conv, Plain, Pool

CONV: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
MAX_POOL: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG_POOL: dict[int, type[nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
GLOBAL: dict[int, type[nn.Module]] = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
BATCH_NORM: dict[int, type[nn.Module]] = {
    0: nn.BatchNorm1d,
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}
_PARTS = {"BN": "bn", "ReLU": "relu", "LeakyReLU": "relu", "PReLU": "relu", "Dropout": "drop", "GlobalAvgPool": "pool"}
_MOST_WEIGHTS = 10**9  # of a network in memory; on the meta device only the 64-bit sizes of torch bound it


def lrn() -> nn.LocalResponseNorm:
    """AlexNet's normalisation: b = a / (2 + 1e-4 Σ a²)^0.75 over five neighbouring maps (Krizhevsky et al. 2012, §3.3).

    torch divides alpha by the number of maps, so that the paper's 1e-4 is 5e-4 here. (Caffe divides too and yet took
    1e-4: its AlexNet normalises more weakly than the paper's formula, and has k = 1.)
    """
    return nn.LocalResponseNorm(size=5, alpha=5e-4, beta=0.75, k=2.0)


_PLAIN: dict[str, Callable[[], nn.Module]] = {
    "Norm": lrn,
    "ReLU": nn.ReLU,
    "Tanh": nn.Tanh,
    "Sigmoid": nn.Sigmoid,
}


def parse(text: str, input: Size = (3, 227, 227), names: str = "layer") -> nn.Sequential:
    """The network that `text` describes (see `foveal.notation`), for images of shape `input` = (C, H, W).

    names="layer" counts layers with weights: conv1 relu1 norm1 pool1 conv2 … fc6 drop6 relu6. names="block" starts a
    block behind each pooling: conv1_1 relu1_1 conv1_2 … pool1 conv2_1 … pool5 fc6 relu6. Flattening before a FC
    is a layer named flatten. A stride that does not divide loses the rest, as torch does; `graph.table` reports it.

    Raises NotationError, with a caret under the place, for any text that is no network for this input; FovealError
    for an input that is no image and an unknown naming.
    """
    check_input(input)
    if names not in ("layer", "block"):
        raise unknown("naming", names, ("layer", "block"))
    maker = _Maker(text, input, names == "block")
    for placed in read(text):
        maker.add(placed)
    return nn.Sequential(maker.layers)


build = parse


class _Maker:
    """What is known at one point of the chain: the shape, the numbers of the names, and the weights so far."""

    def __init__(self, text: str, input: Size, blocks: bool) -> None:
        self.text, self.blocks = text, blocks
        self.channels, self.grid = input[0], input[1:]
        self.layers: OrderedDict[str, nn.Module] = OrderedDict()
        self.weights = 0
        self.number = 1 if blocks else 0  # of the block, or of the last layer with weights
        self.within = 0  # blocks: number of the last convolution in its block, 0 behind a pooling or FC

    def add(self, placed: Placed) -> None:
        """Append the layer of one step."""
        step = placed.step
        if isinstance(step, Conv):
            self._conv(placed, step)
        elif isinstance(step, Pool):
            self._pool(placed, step)
        elif isinstance(step, FC):
            self._fc(placed, step)
        else:
            self._plain(placed, step)

    def _conv(self, placed: Placed, step: Conv) -> None:
        self._need_maps(placed)
        if self.channels % step.groups or step.maps % step.groups:
            self._fail(
                placed, f"{step.groups} groups must divide both {self.channels} maps before and {step.maps} after"
            )
        window = Window((step.kernel,), (step.stride,), (step.padding,), (step.dilation,))
        grid = self._output(placed, window)
        weights = step.maps * self.channels // step.groups * step.kernel ** len(self.grid)
        self._weigh(placed, weights + step.maps * step.bias)
        if self.blocks:
            self.within += 1
        else:
            self.number += 1
        make: Any = CONV[len(self.grid)]
        numbers = (step.kernel, step.stride, step.padding, step.dilation, step.groups, step.bias)
        self._put("conv", make(self.channels, step.maps, *numbers))
        self.channels, self.grid = step.maps, grid

    def _pool(self, placed: Placed, step: Pool) -> None:
        self._need_maps(placed)
        if 2 * step.padding > step.kernel:
            self._fail(placed, "the padding of a pooling is half its window at most")
        if step.kind == "Avg" and len(self.grid) == 3 and step.kernel > min(self.grid):
            what = f"{placed.step} looks at {step.kernel} positions; the maps here are {size_text(self.grid)}"
            self._fail(placed, what, "in three dimensions torch averages no windows that are larger, padded or not")
        self.grid = self._output(placed, Window((step.kernel,), (step.stride,), (step.padding,), (1,), step.ceil))
        make: Any = (MAX_POOL if step.kind == "Max" else AVG_POOL)[len(self.grid)]
        self._put("pool", make(step.kernel, step.stride, step.padding, ceil_mode=step.ceil))
        self._end_block()

    def _fc(self, placed: Placed, step: FC) -> None:
        if self.grid:
            self._flatten()
        self._weigh(placed, (self.channels + step.bias) * step.outputs)
        # Behind a pooling and at the start of a network, a new block has its number already.
        if not self.blocks or self.within or f"fc{self.number}" in self.layers:
            self.number += 1
        self.within = 0
        self._put("fc", nn.Linear(self.channels, step.outputs, bias=step.bias))
        self.channels = step.outputs

    def _plain(self, placed: Placed, step: Plain) -> None:
        if step.word == "Flatten":
            self._flatten()
        elif step.word == "GlobalAvgPool":
            self._need_maps(placed)
            self._put("pool", GLOBAL[len(self.grid)](1))
            self._end_block()
            self.grid = (1,) * len(self.grid)
        elif step.word == "Norm" and not self.grid:
            self._fail(placed, "Norm normalises maps, and here is a vector", "put it before the first FC")
        else:
            self._weigh(placed, {"BN": 2, "PReLU": 1}.get(step.word, 0) * self.channels)
            self._put(_PARTS.get(step.word, step.word.lower()), self._module(step))

    def _module(self, step: Plain) -> nn.Module:
        if step.word == "BN":
            make: Any = BATCH_NORM[len(self.grid)]
            batch_norm: nn.Module = make(self.channels)
            return batch_norm
        if step.word == "PReLU":
            return nn.PReLU(self.channels)
        if step.value is not None:
            return nn.LeakyReLU(step.value) if step.word == "LeakyReLU" else nn.Dropout(step.value)
        return _PLAIN[step.word]()

    def _flatten(self) -> None:
        self._put("flatten", nn.Flatten())
        self.channels, self.grid = self.channels * math.prod(self.grid), ()

    def _end_block(self) -> None:
        if self.blocks:
            self.number, self.within = self.number + 1, 0

    def _put(self, part: str, layer: nn.Module) -> None:
        """Append under the paper's name; a second layer of the same name gets b, c, … or a number."""
        inner = self.blocks and self.within and part not in ("pool", "flatten")
        name = part if part == "flatten" else f"{part}{self.number}{f'_{self.within}' if inner else ''}"
        same, turn = name, 1
        while same in self.layers:
            turn += 1
            same = f"{name}b" if turn == 2 else f"{name}b{turn - 1}"
        self.layers[same] = layer

    def _output(self, placed: Placed, window: Window) -> Size:
        grid = window.output(self.grid)
        if any(n < 1 for n in grid):
            what = f"{placed.step} looks at {window.extent[0]} positions; the maps here are {size_text(self.grid)}"
            self._fail(placed, what, "give a larger input, more padding or fewer poolings")
        return grid

    def _need_maps(self, placed: Placed) -> None:
        if not self.grid:
            self._fail(
                placed, f"{placed.step} needs maps, and here is a vector of {self.channels}", "put it before the FC"
            )

    def _weigh(self, placed: Placed, weights: int) -> None:
        self.weights += weights
        most = 2**60 if torch.get_default_device().type == "meta" else _MOST_WEIGHTS
        if self.weights > most or self.channels > most:
            self._fail(placed, f"the network has {self.weights:,} weights up to here", "is a number mistyped?")

    def _fail(self, placed: Placed, what: str, mend: str = "") -> NoReturn:
        fail(self.text, placed.start, placed.end, what, mend)
