"""Several runs as one recogniser: the mean of their probabilities."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.data.dataset import ImageSet, VisionSet
from foveal.data.open import readable
from foveal.errors import FovealError
from foveal.evaluation import Evaluation, check_task, configured, measure, of_protocol, together
from foveal.evaluation.base import Measured
from foveal.evaluation.own import check_own, is_own
from foveal.evaluation.splits import open_labelled, open_split, renumbered
from foveal.protocols._scoring import figures
from foveal.training.run import Run

Source = Run | str | os.PathLike[str]


def ensemble(
    runs: Sequence[Source],
    data: str | os.PathLike[str] | None = None,
    split: str = "test",
    protocols: Sequence[str] = ("center_crop",),
    checkpoint: str = "best",
) -> Evaluation:
    """Measure several runs together: of each image the mean of the probabilities that the runs give it.

    All see the same images, those of `data` or else the first run's, each prepared as its own recipe says; networks,
    inputs and the order of the classes may differ, the classes may not. In the result `measured` has the ensemble by
    each protocol, then the runs by themselves. Of a protocol that yields more than `center_crop` does, the ensemble has
    that much. Nothing is written into the runs' folders.

    Raises FovealError for fewer than two runs, for runs of other classes, for runs whose own cut of the data is another
    (they may have been trained on what is measured), and as `evaluate`.
    """
    members = _opened(runs)
    functions = configured(protocols)
    check_task(functions, "classify")
    head = members[0]
    source = head.recipe.data if data is None else os.fspath(data)
    chosen = open_labelled(head, split, source)
    _check_unseen(members, chosen, source, own=data is None)
    images, skipped = readable(chosen, any(run.recipe.strict for run in members))
    sums: dict[str, Tensor] = {}
    singles: list[Measured] = []
    for run in members:
        own = images if run.classes == head.classes else renumbered(images, run, source)
        order = torch.tensor([run.classes.index(name) for name in head.classes])
        for name, values in measure(run.predictor(checkpoint), own, functions).items():
            sums[name] = sums.get(name, 0) + values["probabilities"][:, order].double()
            singles.append(of_protocol(f"{run.path} by {name}", values))
    means = {name: (total / len(members)).float() for name, total in sums.items()}
    measured = [of_protocol(name, dict(figures(p, images.labels))) for name, p in means.items()]
    return Evaluation(
        run=", ".join(str(run.path) for run in members),
        model=f"mean of {', '.join(run.recipe.model for run in members)}",
        checkpoint=checkpoint,
        data=source,
        split=split,
        classes=head.classes,
        metrics=together(measured),
        probabilities=means[next(iter(functions))],
        labels=images.labels,
        skipped=tuple(skipped),
        measured=(*measured, *singles),
    )


def _opened(runs: Sequence[Source]) -> list[Run]:
    """The runs. FovealError unless they are two or more that tell the same classes."""
    opened = [run if isinstance(run, Run) else Run(os.fspath(run)) for run in runs]
    if len(opened) < 2:
        raise FovealError("one run is no ensemble", "name at least two, or use evaluate")
    for run in opened:
        if run.recipe.task != "classify":
            raise FovealError(f"{run.path} was trained to {run.recipe.task}", "only classifiers are averaged")
    for run in opened[1:]:
        if sorted(run.classes) != sorted(opened[0].classes):
            raise FovealError(
                f"{run.path} tells other classes than {opened[0].path}", "average runs that learned the same classes"
            )
    return opened


def _check_unseen(members: Sequence[Run], images: ImageSet, source: str, *, own: bool) -> None:
    """Raise FovealError when a member's own cut of `source` is not `images`, the first one's.

    `own`: nobody asked for other data, so all members must have been trained on the first one's.
    """
    head, split = members[0], images.split
    for run in members:
        mine = is_own(run, source)
        if mine:
            check_own(run)
        same = run.data["fingerprint"] == head.data["fingerprint"] if own else not mine
        if not same and mine:
            same = _names(open_split(run, split, source)) == _names(images)
        if not same:
            raise FovealError(
                f"{run.path} may have been trained on the {split} images of {head.path}: it has another {split} split",
                "name images that none has seen with data=DIR, or average runs that cut their data alike (same seed)",
            )


def _names(images: VisionSet) -> list[str]:
    return [images.name(i) for i in range(len(images))]
