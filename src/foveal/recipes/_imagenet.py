"""What the recipes on ImageNet (ILSVRC 2012) share: the data, its colours, and the run that `quick` makes of them.

`data` is a folder with one folder per class in train/ and in val/. Pixels keep their range of 0 to 255 minus the
training set's mean colour (`std` = 1/255 undoes the scaling to 0..1), unless a recipe says otherwise.
"""

from __future__ import annotations

from foveal.training.recipe import Recipe

DEVIATION = (0.229, 0.224, 0.225)
"""Of the colours, for the papers that divide by it."""

_MEAN = (0.485, 0.456, 0.406)


def imagenet(model: str, quick: bool, **settings: object) -> Recipe:
    """The recipe {model}_imagenet: momentum 0.9, a rate that falls at plateaus and the whole training set."""
    recipe = Recipe.model_validate(
        {
            "name": f"{model}_imagenet",
            "model": model,
            "data": "imagenet",
            "mean": _MEAN,
            "std": (1 / 255,),
            "schedule": "plateau",
            **settings,
        }
    )
    if not quick:
        return recipe
    milestones = tuple(range(10, 10 + len(recipe.milestones)))
    return recipe.with_settings(  # an epoch would take hours
        unit="iterations", length=20, evaluate_every=20, batch_size=16, milestones=milestones
    )
