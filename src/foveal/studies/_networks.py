"""Networks as steps of the notation, so that a study can change one thing in them.

A chain network of the catalogue (or one of the user's that the notation can spell) becomes the network `chain` with its
text; a network that branches is refused, since a rewritten kernel in one branch would not be the same question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from foveal import catalog
from foveal.errors import FovealError
from foveal.graph.count import count
from foveal.models import create
from foveal.notation import parse, to_text
from foveal.notation.grammar import read
from foveal.notation.steps import FC, Conv, Plain, Step, spell
from foveal.training.recipe import Recipe

CHAIN = "chain"
ACTIVATIONS = ("ReLU", "Tanh", "Sigmoid", "LeakyReLU", "PReLU")


def chain_of(recipe: Recipe) -> list[Step]:
    """The steps of a recipe's network. FovealError for one that the notation cannot spell."""
    if recipe.model == CHAIN:
        function = catalog.get("model", CHAIN)
        text = recipe.options.get("text", catalog.options(function)["text"].default)
        return [placed.step for placed in read(str(text))]
    try:
        with torch.device("meta"):
            text = to_text(create(recipe.model, **recipe.options))
    except FovealError as error:
        raise FovealError(
            f"{recipe.model} cannot be rewritten: {error.what}",
            "name a chain network, such as cnn_s, vgg11 or chain, or vary other factors",
        ) from error
    return [placed.step for placed in read(text)]


def with_chain(recipe: Recipe, steps: Sequence[Step], **options: Any) -> Recipe:
    """The recipe with the network that the steps describe, at the recipe's input; `options` are `chain`'s.

    Raises NotationError when they are no network for that input.
    """
    text = spell(list(steps))
    with torch.device("meta"):
        parse(text, input=recipe.input)
    changed = {"text": text, "input": list(recipe.input), **options}
    return recipe.with_settings(model=CHAIN, options=changed)


def parameters(recipe: Recipe, classes: int) -> int:
    """Parameters of a recipe's network for so many classes."""
    with torch.device("meta"):
        return count(create(recipe.model, num_classes=classes, **recipe.options), recipe.input).parameters


def place_of(steps: Sequence[Step], wanted: Callable[[Step], bool], what: str) -> int:
    """Where the first wanted step stands. FovealError when there is none."""
    for place, step in enumerate(steps):
        if wanted(step):
            return place
    raise FovealError(f"the network has no {what}", "choose another base or other factors")


def with_activation(steps: Sequence[Step], word: str) -> list[Step]:
    """Every activation replaced by the one called `word`."""
    return [Plain(word) if isinstance(step, Plain) and step.word in ACTIVATIONS else step for step in steps]


def without(steps: Sequence[Step], word: str) -> list[Step]:
    """The steps without those called `word`."""
    return [step for step in steps if not (isinstance(step, Plain) and step.word == word)]


def behind(
    steps: Sequence[Step], kinds: tuple[type[Conv] | type[FC], ...], word: str, value: float | None = None
) -> list[Step]:
    """`word` put behind each convolution and FC of these kinds, all but the last layer with weights."""
    places = [place for place, step in enumerate(steps) if isinstance(step, Conv | FC)][:-1]
    result: list[Step] = []
    for place, step in enumerate(steps):
        result.append(step)
        if place in places and isinstance(step, kinds):
            result.append(Plain(word, value))
    return result
