"""Any chain network, written in the lectures' notation: a network as one line of text, so that it can be a setting.

    foveal train chain data=./photos "options.text=5-1-2Conv32 (ReLU) → 3-2MaxPool → GlobalAvgPool → FC10"

Studies rewrite the text to change one thing at a time; a run keeps it in its recipe.json.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, get_args

from torch import nn

from foveal import notation
from foveal.errors import FovealError, unknown
from foveal.notation.grammar import read
from foveal.notation.steps import FC, Conv, Step, spell

Weights = Literal["he", "glorot"]

TEXT = (
    "3-1-1Conv32 (BN, ReLU) → 3-2MaxPool → 3-1-1Conv64 (BN, ReLU) → 3-2MaxPool → 3-1-1Conv128 (BN, ReLU) → "
    "GlobalAvgPool → FC10"
)


def chain(
    num_classes: int = 10,
    *,
    text: str = TEXT,
    input: Sequence[int] = (3, 32, 32),
    weights: Weights | float = "he",
    scale: float = 1.0,
) -> nn.Sequential:
    """The network that `text` describes (`foveal.notation`), [N, *input] → scores [N, num_classes].

    Its last convolution or FC gets num_classes outputs, whatever the text says. Weights are normal with standard
    deviation √(2/n) for "he" and √(2/(n + m)) for "glorot" (n inputs and m outputs of a unit, windows included), or the
    number given, times `scale`; biases are 0.

    Raises NotationError for a text that is no network for this input; FovealError for a text without weights and for
    other `weights`.
    """
    if isinstance(weights, str) and weights not in get_args(Weights):
        raise unknown("weights of chain", weights, [*get_args(Weights), "a standard deviation"])
    model = notation.parse(_classifying(text, num_classes), input=tuple(input), names="layer")
    for layer in model:
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.normal_(layer.weight, std=scale * _deviation(layer, weights))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


def _classifier(steps: Sequence[Step]) -> int:
    """The place of the layer that makes the scores: the last one with weights. FovealError when there is none."""
    places = [place for place, step in enumerate(steps) if isinstance(step, Conv | FC)]
    if not places:
        raise FovealError("the network has no convolution and no FC: nothing learns", "end it with FC10, for example")
    return places[-1]


def _classifying(text: str, num_classes: int) -> str:
    """The text with a last layer of num_classes outputs; as it stands where it has that many already."""
    steps = [placed.step for placed in read(text)]
    place = _classifier(steps)
    last = steps[place]
    key = "maps" if isinstance(last, Conv) else "outputs"
    changed: Step = dataclasses.replace(last, **{key: num_classes})  # type: ignore[arg-type]  # one of the two has it
    return text if changed == last else spell([*steps[:place], changed, *steps[place + 1 :]])


def _deviation(layer: nn.Module, weights: str | float) -> float:
    if not isinstance(weights, str):
        return float(weights)
    shape = layer.get_parameter("weight").shape
    window = math.prod(shape[2:])
    inputs, outputs = shape[1] * window, shape[0] * window
    return math.sqrt(2 / inputs) if weights == "he" else math.sqrt(2 / (inputs + outputs))
