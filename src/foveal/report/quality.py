"""How good the run is: the headline, the confusion matrix, the calibration and the table of classes."""

from __future__ import annotations

from torch import Tensor

from foveal.evaluation import Evaluation
from foveal.metrics.classification import most_confused
from foveal.report import charts
from foveal.report.html import Html, escape, figure, folded, join, paragraph, section, table, tag

_MATRIX = 100  # classes; of more the most confused pairs are listed
_LONG = 40  # rows that a table shows unfolded
_PAIRS = 30


def headline(e: Evaluation) -> Html:
    """The top-1 error with its interval, large."""
    low, high = e.interval
    said = f"top-1 error on {e.images:,} {e.split} images, 95 % interval {low:.2f} to {high:.2f} %"
    return tag("p", tag("b", escape(f"{e.top1_error:.2f} %")), tag("span", escape(said)), class_="headline")


def figures(e: Evaluation) -> list[tuple[str, str]]:
    """The other figures by name."""
    rows = [("accuracy", f"{100 - e.top1_error:.2f} %")]
    if "top5_error" in e.metrics:
        rows.append(("top-5 error", f"{e.metrics['top5_error']:.2f} %"))
    rows.append(("cross-entropy", f"{e.metrics['cross_entropy']:.3f} nats"))
    rows.append(("calibration error", f"{100 * e.calibration.ece:.2f} %"))
    return rows


def remarks(e: Evaluation) -> Html:
    """What a reader of the figures must know: classes without images, images left out."""
    notes = []
    if e.absent:
        notes.append(f"There was no image of: {', '.join(e.absent)}.")
    if e.skipped:
        notes.append(f"Unreadable images that were left out: {len(e.skipped)}; they are listed at the end of Mistakes.")
    return join(paragraph(note, "note") for note in notes)


def confusions(e: Evaluation) -> Html:
    """The matrix, or the pairs where there are too many classes for one."""
    matrix = e.confusion
    if len(e.classes) <= _MATRIX:
        chart = charts.confusion(matrix.tolist(), e.classes)
        caption = (
            "Rows are true classes, columns predicted ones: blue is right, orange is wrong, stronger is more often."
        )
        return section("confusion", "Confusion matrix", figure(chart, caption))
    rows = [
        [
            escape(e.classes[true]),
            escape(e.classes[taken]),
            escape(f"{count:,}"),
            escape(f"{int(matrix[true].sum()):,}"),
        ]
        for true, taken, count in most_confused(matrix, _PAIRS)
    ]
    pairs = table(("true class", "taken for", "images", "of"), rows, numbers=(2, 3))
    return section("confusion", f"The most confused of {len(e.classes)} classes", pairs)


def calibrated(e: Evaluation) -> Html:
    """The reliability diagram."""
    found = e.calibration
    mean = 100 * float(e.probabilities.max(1).values.mean())
    accuracy = 100 - e.top1_error
    kind = "over" if mean > accuracy else "under"
    caption = (
        f"Blue: how often predictions of each confidence are right; orange: how far that is from the bin's mean "
        f"confidence. Its mean, the expected calibration error, is {100 * found.ece:.2f} %. On average the "
        f"confidence is {mean:.1f} % and the accuracy {accuracy:.1f} %: {kind}confident."
    )
    return section("calibration", "Calibration", figure(charts.reliability(found), caption, "narrow"))


def classes(e: Evaluation) -> Html:
    """Precision, recall, F1 and support per class, the worst first."""
    columns = e.per_class
    order = sorted(range(len(e.classes)), key=lambda i: (float(columns.f1[i].nan_to_num(2.0)), e.classes[i]))
    rows = [
        [
            escape(e.classes[i]),
            escape(_percent(columns.precision[i])),
            escape(_percent(columns.recall[i])),
            escape(_percent(columns.f1[i])),
            escape(f"{int(columns.support[i]):,}"),
            _bar(columns.f1[i]),
        ]
        for i in order
    ]
    head = ("class", "precision", "recall", "F1", "images", "")
    content = [table(head, rows[:_LONG], numbers=(1, 2, 3, 4))]
    if len(rows) > _LONG:
        content.append(folded(f"{len(rows) - _LONG} more classes", table(head, rows[_LONG:], numbers=(1, 2, 3, 4))))
    said = "Sorted by F1, the worst first. Precision: of the images predicted as this class, how many are of it. "
    said += "Recall: of the images of this class, how many were found. A dash: nothing to divide by."
    return section("classes", "Classes", paragraph(said), *content)


def _percent(share: Tensor) -> str:
    return "–" if share.isnan() else f"{100 * float(share):.1f} %"


def _bar(share: Tensor) -> Html:
    width = 100 * float(share.nan_to_num(0.0))
    return tag("span", tag("i", style=f"width:{width:.1f}%"), class_="bar")
