"""The report of a segmenter: its data, the table of classes, the confusion of pixels, the worst images."""

from __future__ import annotations

from collections.abc import Sequence

from foveal.data.masks import MaskSet
from foveal.evaluation.masks import MaskEvaluation, load_mask_evaluation
from foveal.report import charts
from foveal.report.content import Content, opened
from foveal.report.datacard import datacard
from foveal.report.html import Html, escape, figure, join, paragraph, section, table, tag
from foveal.report.mask_pictures import compared, samples
from foveal.report.parts import legend, named, percent, unreadable
from foveal.training.run import Run

_SIDES = (360, 240, 140)  # pixels of pictures
_WRITTEN = ("mean_iu", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iu")
_MATRIX = 60  # classes
_MEASURED = (("classes", "Classes"), ("confusion", "Confusion"), ("images", "Images"))


def content(run: Run) -> Content:
    """Its part of the report, as much of it as was measured and is still there."""
    found = load_mask_evaluation(run.path)
    train, test, trouble = opened(run, "segment", MaskSet, found is not None)

    def sections(side: int) -> list[Html]:
        shown = [] if train is None else [legend(run.classes), samples(train, side)]
        measured: Sequence[Html] = ()
        if found is not None:
            pictures = () if test is None else (legend(run.classes), compared(run, test, found, side))
            listed = section(
                "images", "Images", *(pictures or [paragraph("Not shown.", "note")]), unreadable(found.skipped)
            )
            measured = (_classes(found), *_confusion(found), listed)
        return [datacard(run, *shown), *measured]

    return Content(
        headline=None if found is None else join([_headline(found), _remarks(found)]),
        figures=[] if found is None else _figures(found),
        trouble=trouble,
        parts=(("data", "Data"), *(_MEASURED if found else ())),
        sides=_SIDES,
        sections=sections,
    )


def _headline(e: MaskEvaluation) -> Html:
    said = f"mean intersection over union on {e.images:,} {e.split} images, pixels counted at their own size"
    return tag("p", tag("b", escape(f"{e.metrics['mean_iu']:.2f} %")), tag("span", escape(said)), class_="headline")


def _figures(e: MaskEvaluation) -> list[tuple[str, str]]:
    names = [*_WRITTEN[1:], *(name for name in e.metrics if name not in _WRITTEN and "/" not in name)]
    return [(name.replace("_", " "), f"{e.metrics[name]:.2f} %") for name in names if name in e.metrics]


def _remarks(e: MaskEvaluation) -> Html:
    notes = []
    if absent := [row["name"] for row in e.class_table if row["iu"] is None]:
        notes.append(f"There was no pixel of: {', '.join(absent)}.")
    if e.skipped:
        notes.append(f"Unreadable images that were left out: {len(e.skipped)}; they are listed at the end of Images.")
    return join(paragraph(note, "note") for note in notes)


def _classes(e: MaskEvaluation) -> Html:
    """Every class, the worst first."""
    order = sorted(range(len(e.classes)), key=lambda i: (e.class_table[i]["iu"] or 0.0, e.classes[i]))
    rows = []
    for i in order:
        row = e.class_table[i]
        rows.append(
            [
                named(i, e.classes),
                *(escape(percent(row[key])) for key in ("iu", "accuracy", *_more(e), "share")),
                tag("span", tag("i", style=f"width:{row['iu'] or 0:.1f}%"), class_="bar"),
            ]
        )
    head = ("class", "IU", "accuracy", *(name.replace("_", " ") for name in _more(e)), "of the pixels", "")
    said = "The worst first. IU: pixels that both the network and the truth call so, of those that either does. "
    said += "Accuracy: of the pixels of this class, how many were found. A dash: no pixel of the class."
    return section("classes", "Classes", paragraph(said), table(head, rows, numbers=tuple(range(1, len(head) - 1))))


def _more(e: MaskEvaluation) -> tuple[str, ...]:
    """What else is told of each class."""
    return tuple(key for key in e.class_table[0] if key not in ("name", "iu", "accuracy", "share"))


def _confusion(e: MaskEvaluation) -> list[Html]:
    if len(e.classes) > _MATRIX:
        said = f"{len(e.classes)} classes are too many for a picture; evaluation.json has the matrix."
        return [section("confusion", "Confusion", paragraph(said))]
    chart = charts.confusion(e.confusion.tolist(), e.classes, shares=True)
    caption = "In % of the true class's pixels: blue is right, orange is wrong, stronger is more often."
    return [section("confusion", "Confusion of pixels", figure(chart, caption))]
