"""The report of a run: one HTML file that needs nothing else, no network and no script."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

import foveal
from foveal.data.dataset import ImageSet
from foveal.data.open import open_data
from foveal.errors import FovealError
from foveal.evaluation import PREDICTIONS, Evaluation, load_evaluation
from foveal.evaluation.splits import held_out, open_labelled
from foveal.graph.table import Table, show
from foveal.report import course, quality
from foveal.report.datacard import datacard
from foveal.report.html import Html, escape, join, paragraph, tag
from foveal.report.mistakes import mistakes
from foveal.report.network import architecture, first_layer
from foveal.report.pictures import Album
from foveal.report.record import record
from foveal.training.checkpoint import replace_file
from foveal.training.run import Run

LIMIT = 5_000_000  # bytes of the whole file
_HALF_PAGE = 12  # classes
_SIDES = (160, 96, 48)  # pixels of thumbnails, tried until the file is small enough
_PARTS = (
    ("course", "Training"),
    ("data", "Data"),
    ("confusion", "Confusion"),
    ("calibration", "Calibration"),
    ("classes", "Classes"),
    ("mistakes", "Mistakes"),
    ("filters", "Filters"),
    ("architecture", "Architecture"),
    ("record", "Record"),
)


def write_report(run: Run) -> Path:
    """Write RUN/report.html from what the run's folder holds and return its path. Less than 5 MB, whatever the data.

    Tables and galleries of the test images need `evaluate(run)` first; without it, and where the images are not at
    their place any more, the report says so and goes without.
    """
    evaluation = load_evaluation(run)
    model = run.model()
    shown = show(model, run.recipe.input)
    train, test, trouble = _pictures(run)
    for side in _SIDES:
        albums = tuple(None if images is None else Album(images, side) for images in (train, test))
        body = join(
            [
                _opening(run, evaluation, shown, trouble),
                course.course(run, own_objective=hasattr(model, "losses")),
                datacard(run, train, albums[0]),
                *(() if evaluation is None else _measured(run, evaluation, albums[1])),
                first_layer(model, run.recipe.input),
                architecture(shown),
                record(run),
                _footer(run),
            ]
        )
        page = _page(f"{run.recipe.name} · foveal", body).encode()
        if len(page) < LIMIT:
            break
    else:
        raise RuntimeError(f"the report of {run.path} takes {len(page):,} bytes even with the smallest pictures")
    replace_file(run.path / "report.html", page)
    return run.path / "report.html"


def _opening(run: Run, evaluation: Evaluation | None, shown: Table, trouble: str) -> Html:
    r, position = run.recipe, run.position
    figures = [] if evaluation is None else quality.figures(evaluation)
    figures += [
        ("parameters", f"{shown.parameters:,}"),
        ("multiply-adds", _short(shown.macs)),
        ("updates", f"{position['step']:,}"),
    ]
    cells = (tag("div", tag("dt", escape(name)), tag("dd", escape(value))) for name, value in figures)
    links = (tag("a", escape(title), href=f"#{name}") for name, title in _PARTS if evaluation or name not in _MEASURED)
    parts = [
        tag("div", escape("foveal report"), class_="brand"),
        tag("h1", escape(f"{r.model} on {Path(r.data).name}")),
        tag("p", escape(course.told(run)), class_="lead"),
    ]
    if not position["finished"]:
        parts.append(paragraph(f"The training is not finished: go on with `foveal train {run.path}`.", "note"))
    if evaluation is None:
        parts.append(paragraph(f"Not measured on held-out images yet: `foveal evaluate {run.path}`.", "note"))
    else:
        parts += [quality.headline(evaluation), quality.remarks(evaluation)]
    if trouble:
        parts.append(paragraph(f"Without pictures of the data: {trouble}.", "note"))
    parts += [tag("dl", join(cells), class_="figures"), course.command(run), tag("nav", join(links))]
    return tag("header", join(parts))


_MEASURED = ("confusion", "calibration", "classes", "mistakes")


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


def _pictures(run: Run) -> tuple[ImageSet | None, ImageSet | None, str]:
    """The training and the held-out images, or the reason why they cannot be had."""
    recipe = run.recipe
    try:
        train = open_data(recipe.data, "train", seed=recipe.seed, task="classify")
        test = open_labelled(run, held_out(run)) if load_evaluation(run) else None
    except FovealError as error:
        return None, None, error.what
    return train, test, ""


def _footer(run: Run) -> Html:
    return tag("footer", escape(f"Written by foveal {foveal.__version__} for {run.path.name}."))


def _page(title: str, body: Html) -> str:
    style = files("foveal.report").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _short(count: int) -> str:
    """A large number with three figures and its unit."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
