"""The splits that runs are measured on, with the run's own class numbers."""

from __future__ import annotations

import torch

from foveal.data.dataset import ImageSet, VisionSet, stratified
from foveal.data.open import data_splits
from foveal.errors import FovealError
from foveal.evaluation.own import is_own, unreadable
from foveal.evaluation.text import listed
from foveal.training.inputs import chosen, without
from foveal.training.run import Run


def held_out(run: Run) -> str:
    """The split that a run's final figure is measured on: "test", or "val" where its data has no test split."""
    return "test" if "test" in run.data["counts"] else "val"


def open_split(run: Run, split: str, data: str | None = None) -> VisionSet:
    """A split of the run's own data as it was trained or held out, or of other data with the run's class numbers.

    Unreadable images are still in it. Raises FovealError for a split that is not there and for unknown classes.
    """
    source = run.recipe.data if data is None else data
    own = is_own(run, source)
    splits = data_splits(source, run.recipe.task)
    cut = own and "val" not in splits and run.recipe.holdout > 0  # the validation split was taken from training
    if split not in splits and not (cut and split == "val"):
        there = [*splits, *(["val"] if cut else [])]
        shell = f" (in a shell --split {there[-1]})"
        raise FovealError(
            f"{source} has no {split} split", f"it has {', '.join(there)}: choose split={there[-1]}{shell}"
        )
    wanted = run.recipe if own else run.recipe.with_settings(data=source, classes=())
    images = chosen(wanted, "train" if cut and split == "val" else split)
    if cut and split != "test":
        images = without(images, unreadable(run))  # as in training, the cut is made of the images that could be read
        rest, part = stratified(images.strata, run.recipe.holdout, run.recipe.seed)
        images = images.select(part, split="val") if split == "val" else images.select(rest)
    if images.classes == run.classes:
        return images
    if isinstance(images, ImageSet):
        return renumbered(images, run, source)
    raise FovealError(
        f"{source} has the classes {listed(images.classes)}, and {run.path} was trained on {listed(run.classes)}",
        "give data with the run's classes in their order",
    )


def renumbered(images: ImageSet, run: Run, source: str) -> ImageSet:
    """The same images, labelled with the run's class numbers. Raises FovealError for classes it does not know."""
    strange = sorted(set(images.classes) - set(run.classes))
    if strange:
        missing = sorted(set(run.classes) - set(images.classes))
        lacking = f" and lacks {listed(missing)}" if missing else ""
        raise FovealError(
            f"{source} has {listed(strange)}, which {run.path} was not trained to tell{lacking}",
            "rename the classes to the run's, or take them out of the set",
        )
    numbers = torch.tensor([run.classes.index(name) for name in images.classes])
    renumbered = images.select(range(len(images)))
    renumbered.labels, renumbered.classes = numbers[images.labels], run.classes
    return renumbered


def open_labelled(run: Run, split: str, data: str | None = None) -> ImageSet:
    """`open_split` of a run that learned classes. FovealError for another."""
    images = open_split(run, split, data)
    if not isinstance(images, ImageSet):
        raise FovealError(f"{run.path} was trained to {run.recipe.task}, not to classify", "name a run of a classifier")
    return images
