"""What the recipes on CIFAR-10 and CIFAR-100 share: the data, their colours, and the run that `quick` makes of them."""

from __future__ import annotations

from typing import Any

from foveal.training.recipe import Recipe

_SHIFTS_AND_FLIPS = ("pad_crop(4)", "flip")
_UPDATES, _IMAGES = 20, 16  # of a smoke test


def cifar10(name: str, model: str, quick: bool, **settings: Any) -> Recipe:
    """A recipe on CIFAR-10: shifts of up to 4 pixels and flips, unless `settings` say otherwise."""
    colours = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
    return _recipe(quick, name=name, model=model, data="cifar10", **colours, **settings)


def cifar100(name: str, model: str, quick: bool, **settings: Any) -> Recipe:
    """The same on CIFAR-100."""
    colours = {"mean": (0.5071, 0.4866, 0.4409), "std": (0.2673, 0.2564, 0.2762)}
    return _recipe(quick, name=name, model=model, data="cifar100", **colours, **settings)


def _recipe(quick: bool, **settings: Any) -> Recipe:
    recipe = Recipe.model_validate({"input": (3, 32, 32), "augment": _SHIFTS_AND_FLIPS, **settings})
    if not quick:
        return recipe
    milestones = tuple(range(_UPDATES // 2, _UPDATES // 2 + len(recipe.milestones)))
    return recipe.with_settings(
        unit="iterations", length=_UPDATES, evaluate_every=_UPDATES, batch_size=_IMAGES, milestones=milestones, warmup=0
    )
