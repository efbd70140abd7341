"""One Python function per run. Its docstring holds the command, the expected time and the expected result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foveal import catalog
from foveal.errors import FovealError, unknown
from foveal.recipes.house import house
from foveal.training.recipe import Recipe


def resolve(name: str, /, *, quick: bool = False, **settings: Any) -> Recipe:
    """The recipe called `name` with some settings changed; a network's name stands for the house recipe with it.

    A function given as package.module:function is a recipe when it has a `quick` option, as all recipes do; otherwise
    it makes a network. `quick` shrinks the run to a smoke test.

    Raises FovealError («did you mean») for an unknown name or setting.
    """
    if name in catalog.names("recipe") or (":" in name and "quick" in catalog.options(catalog.get("recipe", name))):
        recipe: Recipe = catalog.get("recipe", name)(quick=quick)
        return recipe.with_settings(**settings)
    if name in catalog.names("model") or ":" in name:
        return house(model=name, quick=quick).with_settings(**settings)
    if Path(name).exists():
        raise FovealError(
            f"{name} is neither a recipe nor a network nor a run's folder",
            f"to train on its images: foveal train resnet18 data={name}",
        )
    known = [*catalog.names("recipe"), *catalog.names("model")]
    raise unknown("recipe or network", name, known, "`foveal recipes` and `foveal models` list them")
