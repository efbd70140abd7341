"""Fine-tuning as the lectures state it: another network's weights, a new last layer, a lower rate below it.

With little data the network stays as it is under its new last layer; with more, its later layers learn on as well;
with much, all do. `transfer=` says what each means in layers and rates (docs/transfer.md). The pictures are treated as
by the house recipe, whose settings hold where nothing else is said, and whose options `model` and `input` these take.
"""

from __future__ import annotations

from collections.abc import Sequence

from foveal.recipes.house import house
from foveal.training.recipe import Recipe


def fine_tune(
    model: str = "resnet18", *, input: Sequence[int | str] | str | None = None, quick: bool = False
) -> Recipe:
    """A network that has learned ImageNet, or by `weights=RUN` anything else, tuned to a folder of pictures.

    Command: foveal train fine_tune data=./photos

    What learns is chosen by the number of training pictures a class, and the log says it. Half the house recipe's
    length; the new layer learns at its rate, layers that have learned already at a tenth.
    """
    return _tuned("fine_tune", "auto", model, input, quick)


def fine_tune_small(
    model: str = "resnet18", *, input: Sequence[int | str] | str | None = None, quick: bool = False
) -> Recipe:
    """The same for little data: all layers are frozen but the new last one.

    Command: foveal train fine_tune_small data=./photos
    """
    return _tuned("fine_tune_small", "small", model, input, quick)


def fine_tune_medium(
    model: str = "resnet18", *, input: Sequence[int | str] | str | None = None, quick: bool = False
) -> Recipe:
    """The same for more data: the first half of the layers is frozen, the others learn at a tenth of the rate.

    Command: foveal train fine_tune_medium data=./photos
    """
    return _tuned("fine_tune_medium", "medium", model, input, quick)


def fine_tune_large(
    model: str = "resnet18", *, input: Sequence[int | str] | str | None = None, quick: bool = False
) -> Recipe:
    """The same for much data: all layers learn, those that have learned already at a tenth of the rate.

    Command: foveal train fine_tune_large data=./photos
    """
    return _tuned("fine_tune_large", "large", model, input, quick)


def _tuned(name: str, transfer: str, model: str, input: Sequence[int | str] | str | None, quick: bool) -> Recipe:
    recipe = house(model, input=input, quick=quick)
    length = recipe.length if quick else 20
    return recipe.with_settings(name=name, weights="imagenet", transfer=transfer, length=length)
