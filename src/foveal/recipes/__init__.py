"""One Python function per run. Its docstring holds the command, the expected time and the expected result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foveal import catalog
from foveal.errors import FovealError, unknown
from foveal.recipes.house import house
from foveal.training.recipe import Recipe

_FOLLOWED = ("model", "task", "input")  # settings that a recipe's function may take


def resolve(name: str, /, *, quick: bool = False, **settings: Any) -> Recipe:
    """The recipe called `name` with some settings changed; a network's name stands for the house recipe with it.

    A function given as package.module:function is a recipe when it has a `quick` option, as all recipes do; otherwise
    it makes a network. `quick` shrinks the run to a smoke test. The house recipe follows the settings `model`,
    `task` and `input`: its transforms and its channels are those of that task and input; so does any other recipe whose
    function takes them.

    Raises FovealError («did you mean») for an unknown name or setting.
    """
    if name == house.__name__:
        name = str(settings.get("model", "resnet18"))
    listed = {kind: catalog.names(kind) for kind in ("recipe", "model")}
    if name not in (*listed["recipe"], *listed["model"]) and Path(name).exists():  # C:\photos has a colon too
        raise FovealError(
            f"{name} is neither a recipe nor a network nor a run's folder",
            f"to train on its images: foveal train resnet18 data={name}",
        )
    if name in listed["recipe"] or (":" in name and "quick" in catalog.options(catalog.get("recipe", name))):
        function = catalog.get("recipe", name)
        followed = {key: settings[key] for key in _FOLLOWED if key in settings and key in catalog.options(function)}
        recipe: Recipe = function(**followed, quick=quick)
        return recipe.with_settings(**settings)
    if name in listed["model"] or ":" in name:
        made = house(model=name, task=settings.get("task"), input=settings.get("input"), quick=quick)
        return made.with_settings(**settings)
    known = [*listed["recipe"], *listed["model"]]
    raise unknown("recipe or network", name, known, "`foveal recipes` and `foveal models` list them")
