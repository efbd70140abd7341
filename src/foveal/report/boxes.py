"""The report of a detector: its data, curves of precision and recall, the table of classes, what it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveal.data.boxset import BoxSet
from foveal.evaluation.boxes import BoxEvaluation, load_box_evaluation
from foveal.metrics.boxes import Floats
from foveal.report import charts
from foveal.report.box_pictures import Galleries, samples
from foveal.report.charts import Curve
from foveal.report.content import Content, opened
from foveal.report.datacard import datacard
from foveal.report.html import Html, escape, figure, join, paragraph, section, table, tag
from foveal.report.parts import legend, named, percent, unreadable
from foveal.training.run import Run

_SIDES = (320, 220, 130)  # pixels of pictures
_CURVES = 12  # classes in one chart; of more, those with the least AP
_MEASURED = (("curves", "Curves"), ("classes", "Classes"), ("mistakes", "Mistakes"))
_COMPARED = {"mask": "the IoU of masks", "keypoint": "the similarity of keypoints (OKS)"}
_MEANING = {
    "localisation": "the right class, but an IoU of 0.1 to 0.5",
    "confusion": "an object of another class",
    "background": "no object there",
    "duplicate": "an object that was found already",
    "missed": "an object that was not found",
}


def content(run: Run) -> Content:
    """Its part of the report, as much of it as was measured and is still there."""
    found = load_box_evaluation(run.path)
    train, test, trouble = opened(run, "detect", BoxSet, found is not None)

    def sections(side: int) -> list[Html]:
        shown = [_counts(run, train, test), *([] if train is None else [legend(run.classes), samples(train, side)])]
        measured: Sequence[Html] = ()
        if found is not None:
            pictures = None if test is None else Galleries(test, found, side)
            measured = (_curves(found), _classes(found), _mistakes(found, pictures))
        return [datacard(run, *shown), *measured]

    return Content(
        headline=None if found is None else join([_headline(found), _remarks(found)]),
        figures=[] if found is None else _figures(found),
        trouble=trouble,
        parts=(("data", "Data"), *(_MEASURED if found else ())),
        sides=_SIDES,
        sections=sections,
    )


def _counts(run: Run, train: BoxSet | None, test: BoxSet | None) -> Html:
    """How many objects of each class there are."""
    sets = [images for images in (train, test) if images is not None]
    if not sets:
        return Html("")
    columns = [images.counts.tolist() for images in sets]
    rows = [
        [escape(name), *(escape(f"{column[i]:,}") for column in columns)]
        for i, name in enumerate(run.classes)
        if max(column[i] for column in columns)
    ]
    return table(["objects", *(images.split for images in sets)], rows, numbers=range(1, len(sets) + 1))


def _headline(e: BoxEvaluation) -> Html:
    name, value = next(iter(e.metrics.items()))
    said = f"{_called(name)} on {e.images:,} {e.split} images, boxes compared in their own pixels"
    return tag("p", tag("b", escape(f"{value:.2f} %")), tag("span", escape(said)), class_="headline")


def _called(name: str) -> str:
    return {"ap50": "mean average precision at IoU 0.5 (PASCAL VOC)"}.get(name, name.replace("_", " "))


def _figures(e: BoxEvaluation) -> list[tuple[str, str]]:
    others = list(e.metrics.items())[1:]
    figures = [(name.replace("_", " "), f"{value:.2f} %") for name, value in others]
    sizes = (("APs", "AP, small"), ("APm", "AP, medium"), ("APl", "AP, large"), ("AR100", "recall, 100 boxes"))
    coco = e.coco.figures
    return [*figures, *((title, f"{100 * coco[key]:.2f} %") for key, title in sizes if coco[key] >= 0)]


def _remarks(e: BoxEvaluation) -> Html:
    notes = []
    if absent := [row["name"] for row in e.class_table if row["ap50"] is None]:
        notes.append(f"There was no object of: {', '.join(absent)}.")
    if e.skipped:
        notes.append(f"Unreadable images that were left out: {len(e.skipped)}; they are listed at the end of Mistakes.")
    return join(paragraph(note, "note") for note in notes)


def _curves(e: BoxEvaluation) -> Html:
    there = [k for k in range(len(e.classes)) if e.curves[k].wanted and len(e.curves[k].scores)]
    known = sorted(sorted(there, key=lambda k: e.curves[k].ap)[:_CURVES])
    if not known:
        return section("curves", "Precision and recall", paragraph("Nothing was found.", "note"))
    drawn = [
        Curve(e.classes[k], [0.0, *(100 * e.curves[k].recall).tolist()], (100 * _hull(e.curves[k].precision)).tolist())
        for k in known
    ]
    caption = "At IoU 0.5, from the surest detection on; precision is the best at that recall or a higher one."
    caption += f" The {_CURVES} classes with the least AP." if len(known) < len(there) else ""
    chart = charts.lines("precision", drawn, x="recall, %", y="precision, %", limits=(0, 103))
    return section("curves", "Precision and recall", figure(chart, caption, "narrow"))


def _hull(precision: Floats) -> Floats:
    """The precision made monotone, with its start at recall 0: [K] → [K + 1]."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return np.append(best[:1], best)


def _classes(e: BoxEvaluation) -> Html:
    """Every class, the worst first."""
    order = sorted(range(len(e.classes)), key=lambda i: (e.class_table[i]["ap50"] or 0.0, e.classes[i]))
    more = [f"{name}_ap" for name in e.shapes]
    rows = []
    for i in order:
        row = e.class_table[i]
        rows.append(
            [
                named(i, e.classes),
                *(escape(percent(row[key])) for key in ("ap50", "ap", *more, "precision", "recall")),
                escape(f"{row['boxes']:,}"),
                tag("span", tag("i", style=f"width:{row['ap50'] or 0:.1f}%"), class_="bar"),
            ]
        )
    head = ("class", "AP50", "AP", *(f"{name} AP" for name in e.shapes), "precision", "recall", "objects", "")
    said = "The worst first. AP50: PASCAL VOC's average precision at IoU 0.5; AP: COCO's mean over IoU 0.50 to 0.95. "
    said += "".join(f"{name.capitalize()} AP: the same by {_COMPARED[name]}. " for name in e.shapes)
    said += f"Precision and recall: of detections that score {e.score:.2f} or more, where all classes together have "
    said += "the best F1. A dash: nothing to compute from."
    return section("classes", "Classes", paragraph(said), table(head, rows, numbers=range(1, 6 + len(more))))


def _mistakes(e: BoxEvaluation, pictures: Galleries | None) -> Html:
    rows = [[escape(kind), escape(f"{count:,}"), escape(_MEANING[kind])] for kind, count in e.mistakes.items()]
    parts = [
        paragraph(f"Of detections that score {e.score:.2f} or more:"),
        table(("kind", "boxes", "meaning"), rows, numbers=(1,)),
    ]
    if pictures is not None:
        parts += [
            tag("h3", escape("False detections, the surest first")),
            paragraph("Orange is what was found, with its class and score; blue is what is there."),
            pictures.false(),
            tag("h3", escape("Missed objects, those of rare classes first")),
            pictures.misses(),
            tag("h3", escape("Images drawn at random, with all that was found")),
            legend(e.classes),
            pictures.whole(),
        ]
    parts.append(unreadable(e.skipped))
    return section("mistakes", "Mistakes", *parts)
