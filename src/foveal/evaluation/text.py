"""An evaluation in words and tables, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from foveal.metrics.classification import most_confused

if TYPE_CHECKING:
    from foveal.evaluation import Evaluation

_LONG_TABLE = 30  # classes; of more the terminal shows the worst
_UNITS = {"error": "%", "entropy": "nats"}
_COLUMNS = ("top-1 error", "95 % interval", "top-5 error", "95 % interval", "cross entropy", "multiply-adds")


def text(e: Evaluation) -> str:
    """Figures, classes (of many: the worst), the most frequent mistakes."""
    checkpoint = f" ({e.checkpoint})" if e.checkpoint else ""
    title = f"{e.model}{checkpoint} on {e.data}, {e.split} split: {e.images:,} images, {len(e.classes)} classes"
    several = len(e.measured) > 1 or any("/" in name for name in e.metrics)
    figures = [_text_of_protocols(e), _text_of_first(e)] if several else [_text_of_figures(e)]
    parts = [title, *figures, _text_of_classes(e), _text_of_mistakes(e), _remarks(e)]
    return "\n\n".join(part for part in parts if part)


def _text_of_figures(e: Evaluation) -> str:
    figures = {name: (value, _UNITS.get(name.rpartition("_")[2], "")) for name, value in e.metrics.items()}
    figures["calibration_error"] = (100 * e.calibration.ece, "%")
    width = max(map(len, figures))
    lines = []
    for name, (value, unit) in figures.items():
        label = name.replace("_", " ").replace("top1", "top-1").replace("top5", "top-5")
        lines.append(f"{label:<{width + 1}} {value:8.{2 if unit == '%' else 4}f} {unit}")
        if name == "top1_error":
            lines[-1] += "   95 % interval {:.2f} to {:.2f}".format(*e.interval)
    return "\n".join(lines)


def _text_of_protocols(e: Evaluation) -> str:
    """One line a protocol, and one for each of its parts; columns that none fills are left out."""
    lines = []
    for part in e.measured:
        lines.append((part.protocol, _cells(part.metrics, part.intervals)))
        sections = dict.fromkeys(name.rpartition("/")[0] for name in part.metrics if "/" in name)
        for section in sections:
            own = {name.rpartition("/")[2]: v for name, v in part.metrics.items() if name.startswith(f"{section}/")}
            lines.append((f"  {section}", _cells(own, {})))
    shown = [i for i in range(len(_COLUMNS)) if any(cells[i] for _, cells in lines)]
    rows = [("protocol", _COLUMNS), *lines]
    first = max(len(name) for name, _ in rows)
    widths = {i: max(len(cells[i]) for _, cells in rows) for i in shown}
    return "\n".join(
        "  ".join([name.ljust(first), *(cells[i].rjust(widths[i]) for i in shown)]).rstrip() for name, cells in rows
    )


def _cells(metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """A protocol's line under `_COLUMNS`; empty where it has no such figure."""
    cells = []
    for name in ("top1_error", "top5_error"):
        cells.append(f"{metrics[name]:.2f} %" if name in metrics else "")
        cells.append("{:.2f} to {:.2f}".format(*intervals[name]) if name in intervals else "")
    cells.append(f"{metrics['cross_entropy']:.4f} nats" if "cross_entropy" in metrics else "")
    cells.append(f"{metrics['macs']:,.0f}" if "macs" in metrics else "")
    return tuple(cells)


def _text_of_first(e: Evaluation) -> str:
    """What the tables below it are about."""
    return f"by {e.measured[0].protocol}: calibration error {100 * e.calibration.ece:.2f} %"


def _text_of_classes(e: Evaluation) -> str:
    table = e.per_class
    shown = [i for i in range(len(e.classes)) if table.support[i] > 0]
    left = len(shown) - _LONG_TABLE
    if left > 0:
        shown = sorted(shown, key=lambda i: float(table.f1[i]))[:_LONG_TABLE]
    width = max(len("class"), *(len(e.classes[i]) for i in shown))
    lines = [f"{'class':<{width}}  precision   recall       F1   images"]
    for i in shown:
        cells = (_percent(column[i]) for column in (table.precision, table.recall, table.f1))
        lines.append(f"{e.classes[i]:<{width}}    {'  '.join(cells)}  {int(table.support[i]):7,}")
    if left > 0:
        lines.append(f"({left} more classes whose F1 is no worse)")
    return "\n".join(lines)


def _text_of_mistakes(e: Evaluation) -> str:
    table = e.confusion
    pairs = [
        f"{e.classes[true]} taken for {e.classes[taken]}: {count:,} of {int(table[true].sum()):,}"
        for true, taken, count in most_confused(table, 5)
    ]
    return "most frequent mistakes\n" + "\n".join(f"  {pair}" for pair in pairs) if pairs else "no mistakes"


def _remarks(e: Evaluation) -> str:
    lines = [e.note] if e.note else []
    if e.absent:
        lines.append(f"no images of {listed(e.absent)}")
    if e.skipped:
        file, reason = e.skipped[0]
        lines.append(f"unreadable and skipped: {len(e.skipped)}, the first one being {file}: {reason}")
    return "\n".join(lines)


def _percent(share: Tensor) -> str:
    return "     –" if share.isnan() else f"{100 * float(share):5.1f}%"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names of classes for a message, the first ones of many."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    kind = "class" if len(names) == 1 else "classes"
    return f"{kind} {shown}" + (f" and {len(names) - most} more" if len(names) > most else "")
