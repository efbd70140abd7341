"""The report of a run: one HTML file that needs nothing else, no network and no script."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import foveal
from foveal.graph.table import Table
from foveal.report import course
from foveal.report.content import Content
from foveal.report.html import Html, escape, join, paragraph, tag
from foveal.report.network import architecture, first_layer, layers
from foveal.report.record import record
from foveal.training.checkpoint import replace_file
from foveal.training.run import Run

LIMIT = 5_000_000  # bytes of the whole file
_CONTENTS = {"classify": "classes", "tag": "tags", "segment": "masks", "detect": "boxes"}  # this folder's module
_LAST = (("filters", "Filters"), ("architecture", "Architecture"), ("record", "Record"))


def write_report(run: Run) -> Path:
    """Write RUN/report.html from what the run's folder holds and return its path. Less than 5 MB, whatever the data.

    Tables and galleries of the test images need `evaluate(run)` first; without it, and where the images are not at
    their place any more, the report says so and goes without.
    """
    content: Content = importlib.import_module(f"foveal.report.{_CONTENTS[run.recipe.task]}").content(run)
    model = run.model()
    part = "backbone" if run.recipe.task == "detect" and hasattr(model, "backbone") else ""  # that can be traced
    network = model.get_submodule(part)
    input = getattr(model, "backbone_input", run.recipe.input)  # R-CNN's sees windows
    shown = layers(network, input)
    figures = [("parameters", f"{sum(p.numel() for p in model.parameters()):,}")]
    if isinstance(shown, Table):
        figures.append((f"multiply-adds{f', {part}' if part else ''}", _short(shown.macs)))
    for side in content.sides:
        body = join(
            [
                _opening(run, content, figures),
                course.course(run, own_objective=hasattr(model, "losses")),
                *content.sections(side),
                first_layer(network, input),
                architecture(shown, part),
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


def _opening(run: Run, content: Content, figures: Sequence[tuple[str, str]]) -> Html:
    r, position = run.recipe, run.position
    figures = [*content.figures, *figures, ("updates", f"{position['step']:,}")]
    cells = (tag("div", tag("dt", escape(name)), tag("dd", escape(value))) for name, value in figures)
    sections = (("course", "Training"), *content.parts, *_LAST)
    links = (tag("a", escape(title), href=f"#{name}") for name, title in sections)
    parts = [
        tag("div", escape("foveal report"), class_="brand"),
        tag("h1", escape(f"{r.model} on {Path(r.data).name}")),
        tag("p", escape(course.told(run)), class_="lead"),
    ]
    if not position["finished"]:
        parts.append(paragraph(f"The training is not finished: go on with `foveal train {run.path}`.", "note"))
    if content.headline is None:
        parts.append(paragraph(f"Not measured on held-out images yet: `foveal evaluate {run.path}`.", "note"))
    else:
        parts.append(content.headline)
    if content.trouble:
        parts.append(paragraph(f"Without pictures of the data: {content.trouble}.", "note"))
    parts += [tag("dl", join(cells), class_="figures"), course.command(run), tag("nav", join(links))]
    return tag("header", join(parts))


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
