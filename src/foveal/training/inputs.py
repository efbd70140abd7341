"""The images of a run: which splits it trains, chooses and is measured on, and a fingerprint of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from foveal.data.dataset import ArraySet, ImageSet, VisionSet, only, stratified
from foveal.data.loader import Loader
from foveal.data.open import AnySet, data_splits, open_data, readable, root_of
from foveal.data.pipeline import Pipeline
from foveal.errors import FovealError
from foveal.tasks.detect import with_targets
from foveal.training.recipe import Recipe

_BATCH = 256  # images per forward pass of an evaluation


@dataclass(frozen=True)
class Inputs:
    """The splits of a run's data. `skipped` lists unreadable images as (name, reason)."""

    train: VisionSet
    val: VisionSet | None
    test: VisionSet | None
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return self.train.classes

    @property
    def watched(self) -> VisionSet | None:
        """What the curve shows: validation if there is one (it chooses the best), else test (it chooses nothing)."""
        return self.val if self.val is not None else self.test

    @property
    def watched_name(self) -> str:
        """ "val", "test" or "" when only training images exist."""
        return "val" if self.val is not None else "test" if self.test is not None else ""

    def summary(self, source: str) -> dict[str, Any]:
        """The content of data.json: classes, counts, what was skipped and a fingerprint of names and labels."""
        sets = {"train": self.train, "val": self.val, "test": self.test}
        there = {name: part for name, part in sets.items() if part is not None}
        pose = getattr(self.train, "pose", None)
        return {
            "source": source,
            "classes": list(self.classes),
            "counts": {name: len(part) for name, part in there.items()},
            "watched": self.watched_name,
            "skipped": [list(pair) for pair in self.skipped],
            "fingerprint": _fingerprint(there, source),
            **({} if pose is None else {"pose": pose.as_json()}),
        }

    def asked_by(self, model: nn.Module) -> Inputs:
        """The same with what the network learns from besides boxes; see `tasks.detect.with_targets`."""
        train = with_targets(self.train, model)
        val, test = (None if part is None else with_targets(part, model) for part in (self.val, self.test))
        return replace(self, train=train, val=val, test=test)

    def describe(self) -> str:
        """One line for the log."""
        sets = (("train", self.train), ("val", self.val), ("test", self.test))
        counts = ", ".join(f"{len(part)} {name}" for name, part in sets if part is not None)
        skipped = f"; unreadable and skipped: {len(self.skipped)}" if self.skipped else ""
        return f"{len(self.classes)} classes; images: {counts}{skipped}"


def open_inputs(
    recipe: Recipe, unreadable: Collection[str] | None = None, progress: Callable[[int, int], None] | None = None
) -> Inputs:
    """Open the splits of a recipe's data, without the images that cannot be read (`strict` refuses those).

    The validation split is the data's own, else `holdout` of the training split, stratified and seeded. Where the names
    of the `unreadable` are known, nothing is decoded; else `progress` is called with (files read, files of the split).
    """
    splits = data_splits(recipe.data, recipe.task)
    if "train" not in splits:
        raise FovealError(
            f"{recipe.data} has no training split, only {', '.join(splits)}", "add a folder or file train"
        )
    found: dict[str, VisionSet] = {}
    skipped: list[tuple[str, str]] = []
    for split in splits:
        images = chosen(recipe, split)
        if unreadable is not None:
            found[split] = without(images, unreadable)
            continue
        found[split], bad = readable(images, recipe.strict, progress)
        skipped += bad
    train, val = found["train"], found.get("val")
    if val is None and recipe.holdout:
        rest, part = stratified(train.strata, recipe.holdout, recipe.seed)
        val, train = train.select(part, split="val"), train.select(rest)
    if recipe.patience and val is None:
        raise FovealError(f"patience={recipe.patience} needs a validation split", "set holdout=0.1 or patience=0")
    return Inputs(train, val, found.get("test"), tuple(skipped))


def chosen(recipe: Recipe, split: str) -> VisionSet:
    """A split of a recipe's data, with the classes that it names."""
    images = open_data(recipe.data, split, seed=recipe.seed, task=recipe.task)
    return only(images, recipe.classes) if recipe.classes and isinstance(images, ImageSet) else images


def without(images: AnySet, names: Collection[str]) -> AnySet:
    """The images that are not called so."""
    rest = [i for i in range(len(images)) if images.name(i) not in names] if names else range(len(images))
    return images if len(rest) == len(images) else images.select(rest)


def check_same(summary: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Raise FovealError when a run would go on with other data than it began with."""
    for key in ("classes", "counts", "fingerprint"):
        if summary[key] != before[key]:
            then, now = (before[key], summary[key]) if key != "fingerprint" else ("one list of images", "another")
            raise FovealError(
                f"the data at {summary['source']} is not what this run began with: {key} were {then}, now {now}",
                "restore the data, or start a new run with another out=",
            )


def resident(dataset: ImageSet, recipe: Recipe) -> ImageSet:
    """The set with its test-time preparation done and kept in memory, where it fits, so that each evaluation is cheap.

    A set that does not fit is returned as it is; `is_prepared` tells which.
    """
    pipeline = view(recipe)
    with Loader(
        dataset, pipeline, _BATCH, seed=recipe.seed, train=False, workers=recipe.workers, cache=recipe.cache
    ) as loader:
        if not loader.cached:
            return dataset
        images = torch.cat([batch.images for batch in loader.batches(0)])
    return PreparedSet(images, dataset.labels, dataset.classes, dataset.split)


class PreparedSet(ArraySet):
    """Images as the network sees them at test time, uint8 [N, *input]."""


class Reduced:
    """A set whose large images are decoded no larger than the network needs, as in training."""

    def __init__(self, images: VisionSet, min_side: int | None) -> None:
        self.images, self.min_side = images, min_side

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, Any]:
        return self.images.load(i, self.min_side), self.images.target(i)

    def name(self, i: int) -> str:
        """Where image i comes from."""
        return self.images.name(i)


def view(recipe: Recipe) -> Pipeline:
    """The pipeline of a recipe: what its images go through in training and in test."""
    return Pipeline(recipe.prepare, recipe.augment, recipe.input, recipe.seed, recipe.test)


def _fingerprint(sets: Mapping[str, VisionSet], source: str) -> str:
    """SHA-256 over the splits' names and labels. Paths count from `source`, however it is spelt, so that the data may
    move."""
    root = root_of(source)
    if root.is_file():
        root = root.parent  # of a table, whose paths are relative to its folder
    places = os.path.abspath(root), os.path.realpath(root)  # noqa: PTH100
    digest = hashlib.sha256()
    for split, part in sets.items():
        names = (_relative(part.name(i), places, not isinstance(part, ArraySet)) for i in range(len(part)))
        digest.update("\n".join([split, *names]).encode())
        digest.update(part.signature())
    return digest.hexdigest()


def _relative(name: str, places: tuple[str, str], is_path: bool) -> str:
    whole = os.path.abspath(name)  # noqa: PTH100 (pathlib is ten times slower; sets have millions of files)
    for place in places:
        if whole.startswith(place):
            return whole[len(place) :].lstrip(os.sep).replace(os.sep, "/")
    return (whole if is_path else name).replace(os.sep, "/")
