"""Explanations of runs and of networks of the catalogue, on picture files: what a method needs is found here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foveal import catalog
from foveal.data.dataset import ArraySet, ImageSet
from foveal.data.image import load_image
from foveal.data.open import open_data
from foveal.data.pipeline import Pipeline, normalise
from foveal.errors import FovealError, unknown
from foveal.explanations import explain
from foveal.explanations._common import Progress
from foveal.protocols._views import centre
from foveal.recipes.house import house
from foveal.tasks import classify
from foveal.training import mean_image
from foveal.training.inputs import view
from foveal.training.recipe import Recipe
from foveal.training.run import Run

_THREADS = 4  # that decode pictures


@dataclass
class Subject:
    """A network in evaluation mode on the CPU with all that an explanation of it may need to know.

    `mean` and `std` are those of its images; `classes` is empty where their names are not known.
    """

    model: nn.Module
    recipe: Recipe
    classes: tuple[str, ...]
    mean: Tensor

    def __post_init__(self) -> None:
        self.input = self.recipe.input
        self.pipeline: Pipeline = view(self.recipe)
        self.prepare: Callable[[Tensor], Tensor] = self.pipeline.prepare  # of a decoded image, as in a test

    @classmethod
    def of_run(cls, run: Run, model: nn.Module | None = None) -> Subject:
        """A run with its best network, or another `model` of it."""
        recipe = run.recipe
        if recipe.whiten:
            raise FovealError(
                f"{run.path} saw whitened images, whose values are no colours that could be shown",
                "explain a run that was trained with whiten=false",
            )
        mean = mean_image.load(run.path) if recipe.mean_image else torch.tensor(recipe.mean)
        return cls((model or run.model()).eval(), recipe, run.classes, mean)

    @classmethod
    def of_network(cls, name: str, model: nn.Module) -> Subject:
        """A network of the catalogue, its images prepared as the house recipe does it for testing."""
        recipe = house(name)
        return cls(model.eval(), recipe, (), torch.tensor(recipe.mean))

    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities [B, classes] of prepared images, uint8 [B, C, H, W]."""
        with torch.no_grad():
            return classify.predict(self.model, self.normalised(images))

    def normalised(self, images: Tensor) -> Tensor:
        """Prepared images uint8 [B, C, H, W] as the network takes them."""
        mean = self.mean if self.recipe.mean_image else self.recipe.mean
        return normalise(images, mean, self.recipe.std)

    def picture(self, file: str | Path) -> Tensor:
        """A picture file as the network takes it, float32 [C, H, W]. FovealError for one that cannot be read."""
        image = load_image(file, mode=None, min_side=self.pipeline.min_side(train=False))
        return self.normalised(centre(self, image, str(file))[None])[0]

    def target(self, name: str) -> int:
        """A class by its name or number. FovealError for an unknown one («did you mean»)."""
        if name in self.classes:
            return self.classes.index(name)
        if not name.isdecimal():
            raise unknown("class", name, self.classes, "" if self.classes else "give the number of the class")
        return int(name)


class Shown:
    """A labelled set of images as a network is shown them in a test, normalised: what methods take for `data`."""

    def __init__(self, images: ImageSet, subject: Subject) -> None:
        self.images, self.subject = images, subject
        self.labels, self.classes = images.labels, images.classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        side = self.subject.pipeline.min_side(train=False)

        def one(index: int) -> Tensor:
            return centre(self.subject, self.images.load(index, min_side=side), self.images.name(index))

        if isinstance(self.images, ArraySet):
            pipeline = self.subject.pipeline
            whole = pipeline.centre(pipeline.prepare_batch(self.images.images[list(indices)]))
            return self.subject.normalised(whole)
        with ThreadPoolExecutor(_THREADS) as pool:
            return self.subject.normalised(torch.stack(list(pool.map(one, indices))))


def explain_pictures(
    subject: Subject,
    method: str,
    files: Sequence[str | Path] = (),
    target: int | None = None,
    *,
    data: str | None = None,
    split: str = "train",
    progress: Progress | None = None,
    **options: Any,
) -> list[tuple[str, Any]]:
    """Explain pictures: (name, what the method found) for each, or once for all where it shows them together.

    What the method's own options leave open is filled in: names of classes, how images are normalised, the input's
    size, and the set of images, `data`, which is the run's own if the method cannot do without one.
    Raises FovealError for pictures that cannot be read, and as the method.
    """
    function = catalog.get("explanation", method)
    known = catalog.options(function)
    filled: Mapping[str, Any] = {
        "classes": subject.classes or None, "mean": subject.mean, "std": subject.recipe.std, "input": subject.input,
        "progress": progress,
    }  # fmt: skip
    options = {name: value for name, value in filled.items() if name in known} | options
    if "data" in known and (data is not None or known["data"].default is known["data"].empty):
        found = open_data(data or subject.recipe.data, split, seed=subject.recipe.seed)
        if not isinstance(found, ImageSet):
            raise FovealError(f"{data or subject.recipe.data} is a set for {found.task}", "give one of labelled images")
        options["data"] = Shown(found, subject)
    elif data is not None:
        raise FovealError(f"{method} looks at no set of images", "leave the data away")
    images = [subject.picture(file) for file in files]

    def run(image: Tensor | None) -> Any:
        return explain(method, subject.model, image, target, **options)

    if not images:
        return [(method, run(None))]
    if len(images) == 1:
        return [(method, run(images[0]))]
    if getattr(sys.modules[function.__module__], "TOGETHER", False):
        return [(method, run(torch.stack(images)))]
    return [(f"{method}-{Path(file).stem}", run(image)) for file, image in zip(files, images, strict=True)]
