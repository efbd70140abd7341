"""A run's own data: whether a source is that, and whether it is still as in training."""

from __future__ import annotations

from foveal.data.dataset import VisionSet
from foveal.data.open import open_data, root_of
from foveal.errors import FovealError
from foveal.training.inputs import open_inputs
from foveal.training.run import Run


def is_own(run: Run, source: str) -> bool:
    """Whether `source` is where the run's data lie, however it is spelt."""
    trained = run.recipe.data
    if "digits" in (source, trained):  # the embedded set has no place
        return source == trained
    return source == trained or root_of(source).resolve() == root_of(trained).resolve()


def check_own(run: Run) -> None:
    """Raise FovealError unless the run's data have the names and labels of its training. Nothing is decoded.

    Otherwise a set that is cut by class and seed would be cut elsewhere, and test images would be training images.
    """
    before = run.data
    inputs = open_inputs(run.recipe, unreadable=unreadable(run))
    now = inputs.summary(run.recipe.data)
    if now["fingerprint"] != before["fingerprint"]:
        counts = [", ".join(f"{n} {split}" for split, n in found["counts"].items()) for found in (before, now)]
        change = "other names or labels" if counts[0] == counts[1] else f"{counts[0]} images then, {counts[1]} now"
        raise FovealError(
            f"the data at {run.recipe.data} are not those that {run.path} was trained on: {change}",
            "restore them, measure on images elsewhere with data=DIR, or train again",
        )


def unreadable(run: Run) -> frozenset[str]:
    """The names of the images that training left out."""
    return frozenset(str(name) for name, _ in run.data["skipped"])


def cut_by_seed(source: str, images: VisionSet, split: str, seed: int) -> bool:
    """Whether a source has no splits of its own, so that `images`, its `split`, depend on the seed."""
    other = open_data(source, split, seed=seed + 1, task=images.task)
    return len(other) == len(images) and any(images.name(i) != other.name(i) for i in range(len(images)))
