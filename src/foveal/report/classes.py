"""The report of a classifier: its data, confusion, calibration, table of classes and mistakes."""

from __future__ import annotations

import numpy as np

from foveal.data.dataset import ImageSet, only
from foveal.data.open import open_data
from foveal.errors import FovealError
from foveal.evaluation import PREDICTIONS, Evaluation, load_evaluation
from foveal.evaluation.splits import held_out, open_labelled
from foveal.report import quality
from foveal.report.content import Content
from foveal.report.datacard import class_samples, datacard
from foveal.report.html import Html, join, tag
from foveal.report.mistakes import mistakes
from foveal.report.pictures import Album
from foveal.training.run import Run

_HALF_PAGE = 12  # classes
_SIDES = (160, 96, 48)  # pixels of thumbnails
_MEASURED = (
    ("confusion", "Confusion"),
    ("calibration", "Calibration"),
    ("classes", "Classes"),
    ("mistakes", "Mistakes"),
)


def content(run: Run) -> Content:
    """Its part of the report, as much of it as was measured and is still there."""
    found = load_evaluation(run)
    train, test, trouble = _pictures(run, found)

    def sections(side: int) -> list[Html]:
        samples = [] if train is None else [class_samples(run.classes, train, Album(train, side))]
        measured = () if found is None else _measured(run, found, None if test is None else Album(test, side))
        return [datacard(run, *samples), *measured]

    return Content(
        headline=None if found is None else join([quality.headline(found), quality.remarks(found)]),
        figures=[] if found is None else quality.figures(found),
        trouble=trouble,
        parts=(("data", "Data"), *(_MEASURED if found else ())),
        sides=_SIDES,
        sections=sections,
    )


def _measured(run: Run, evaluation: Evaluation, album: Album | None) -> tuple[Html, ...]:
    with np.load(run.path / PREDICTIONS, allow_pickle=False) as saved:
        names = [str(name) for name in saved["names"]]
    return (
        *_side_by_side(quality.confusions(evaluation), quality.calibrated(evaluation), len(evaluation.classes)),
        quality.classes(evaluation),
        mistakes(evaluation, names, album),
    )


def _side_by_side(confusion: Html, calibration: Html, classes: int) -> tuple[Html, ...]:
    """Both charts in one row, where the matrix is small enough for half a page."""
    if classes > _HALF_PAGE:
        return confusion, calibration
    return (tag("div", confusion, calibration, class_="halves"),)


def _pictures(run: Run, found: Evaluation | None) -> tuple[ImageSet | None, ImageSet | None, str]:
    """The training and the held-out images, or the reason why they cannot be had."""
    recipe = run.recipe
    try:
        train = open_data(recipe.data, "train", seed=recipe.seed, task="classify")
        train = only(train, recipe.classes) if recipe.classes else train
        test = open_labelled(run, held_out(run)) if found else None
    except FovealError as error:
        return None, None, error.what
    return train, test, ""
