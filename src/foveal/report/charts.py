"""Charts as inline SVG. Colours are the page's CSS variables, so that they follow its light or dark scheme."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from foveal.metrics.calibration import Calibration
from foveal.report.html import Html, escape

_INK, _MUTED, _LINE, _ACCENT, _WARM = "#010203", "#010204", "#010205", "#010206", "#010207"
_VARIABLES = {_INK: "ink", _MUTED: "muted", _LINE: "line", _ACCENT: "accent", _WARM: "warm"}
_LIGHT = {
    "ink": "#1b1e23",
    "muted": "#62686f",
    "line": "#d9dad6",
    "accent": "#2458c5",
    "warm": "#cf5a1b",
    "paper": "#fcfcfa",
}
_HUES = (_ACCENT, _WARM, _INK, _MUTED)
_DASHES: Any = ("solid", (0, (5, 2)), (0, (1.5, 1.5)))
_MOST_POINTS = 600  # of a curve; more would not be seen
_FEW = 12  # points of a curve that are drawn as such
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "path.simplify": True,
    "path.simplify_threshold": 0.5,
}


@dataclass(frozen=True)
class Curve:
    """Points of one curve; validation is drawn bold, training thin; `dots` are not joined."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    bold: bool = False
    dots: bool = False


def curves(name: str, lines: Sequence[Curve], *, x: str, y: str, log: bool = False, height: float = 2.9) -> Html:
    """Curves over the training, training ones thin and validation ones bold. `name` is unique on the page."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, height), layout="constrained")
        axes: Axes = figure.subplots()
        for line in lines:
            colour = _WARM if line.bold else _ACCENT
            few = len(line.x) < 2
            axes.plot(
                *_thinned(line.x, line.y),
                color=colour,
                linewidth=2.4 if line.bold else 0.9,
                marker="o" if few else None,
                label=line.label,
            )
        if log:
            axes.set_yscale("log")
        elif all(value >= 0 for line in lines for value in line.y):
            axes.set_ylim(0, 1.05 * max(value for line in lines for value in line.y) or 1)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.set(xlabel=x, ylabel=y)
        if len(lines) > 1:
            axes.legend()
        return _svg(figure, name, f"{y} over {x}")


def lines(
    name: str, drawn: Sequence[Curve], *, x: str, y: str, log: bool = False, limits: tuple[float, float] | None = None
) -> Html:
    """Curves that are to be compared, each with a colour and a dash of its own; `limits` of the vertical axis."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.9), layout="constrained")
        axes: Axes = figure.subplots()
        for place, line in enumerate(drawn):
            axes.plot(
                *_thinned(line.x, line.y),
                color=_HUES[place % len(_HUES)],
                linewidth=0 if line.dots else 2.4 if line.bold else 1.5,
                linestyle=_DASHES[place // len(_HUES) % len(_DASHES)],
                marker="o" if line.dots or len(line.x) <= _FEW else None,
                markersize=None if line.dots else 3.5,
                label=line.label,
            )
        if all(float(value).is_integer() for line in drawn for value in line.x):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if log:
            axes.set_yscale("log")
        elif all(value >= 0 for line in drawn for value in line.y):
            axes.set_ylim(bottom=0)
        if limits:
            axes.set_ylim(limits)
        axes.margins(x=0.01)
        axes.set(xlabel=x, ylabel=y)
        axes.legend(handlelength=3.5)  # so that dashes are seen
        return _svg(figure, name, f"{y} over {x}")


@dataclass(frozen=True)
class Bar:
    """One figure with its deviation over seeds; bars of one `group` stand together."""

    label: str
    value: float
    deviation: float = 0.0
    group: str = ""


def bars(name: str, drawn: Sequence[Bar], *, x: str, at: float | None = None) -> Html:
    """Figures as points with their deviations, one below the other, groups apart; a line at `at`, to compare with."""
    with mpl.rc_context(_STYLE):
        groups = list(dict.fromkeys(bar.group for bar in drawn))
        places = [i + 0.6 * groups.index(bar.group) for i, bar in enumerate(drawn)]
        figure = Figure(figsize=(6.4, 0.7 + 0.27 * (places[-1] + 1)), layout="constrained")
        axes: Axes = figure.subplots()
        values, deviations = [bar.value for bar in drawn], [bar.deviation for bar in drawn]
        if at is not None:
            axes.axvline(at, color=_MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.hlines(places, at, values, color=_ACCENT, linewidth=1)
        axes.errorbar(values, places, xerr=deviations, fmt="o", color=_ACCENT, ecolor=_WARM, elinewidth=1.6, capsize=3)
        axes.set_yticks(places, [bar.label for bar in drawn])
        axes.tick_params(axis="y", length=0, labelcolor=_INK)
        axes.grid(axis="y", visible=False)
        axes.set_ylim(places[-1] + 0.7, -0.7)
        axes.set_xlabel(x)
        return _svg(figure, name, x)


def standalone(chart: Html) -> str:
    """A chart as an SVG file of its own, in light colours."""
    text = re.sub(r"var\(--(\w+)\)", lambda found: _LIGHT[found[1]], chart)
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'font-family="system-ui, Helvetica, Arial, sans-serif"'
    )
    sheet = f'<rect width="100%" height="100%" fill="{_LIGHT["paper"]}"/>'
    return re.sub(r"^<svg([^>]*)>", lambda found: f"{head}{found[1]}>{sheet}", text, count=1) + "\n"


def reliability(found: Calibration) -> Html:
    """The reliability diagram: accuracy per bin of confidence against the diagonal, and the share of images per bin."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 4.4), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        edges, total = found.edges.tolist(), int(found.counts.sum())
        columns = (found.counts.tolist(), found.confidence.tolist(), found.accuracy.tolist())
        for low, high, count, confidence, accuracy in zip(edges[:-1], edges[1:], *columns, strict=True):
            if not count:
                continue
            place, width = (low + high) / 2, 0.92 * (high - low)
            upper.bar(place, accuracy, width, color=_ACCENT, alpha=0.7)
            upper.plot([place, place], [accuracy, confidence], color=_WARM, linewidth=1.2)
            upper.plot([place - 0.4 * width, place + 0.4 * width], [confidence] * 2, color=_WARM, linewidth=2.4)
            lower.bar(place, 100 * count / total, width, color=_MUTED, alpha=0.6)
        upper.plot([0, 1], [0, 1], color=_INK, linewidth=0.9, linestyle=(0, (4, 3)))
        upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
        lower.set(xlabel="confidence", ylabel="images, %", ylim=(0, None))
        return _svg(figure, "reliability", "accuracy over confidence")


def confusion(table: Sequence[Sequence[int]], classes: Sequence[str], *, shares: bool = False) -> Html:
    """The confusion matrix, true class by row. Up to 20 classes the counts are written, or with `shares` their % of the
    row; a pointer always shows the counts."""
    n = len(classes)
    cell = min(44.0, max(7.0, 640 / n))
    font = min(12.0, 0.8 * cell) if n <= 60 else 6.5
    names = [name if len(name) <= 18 else name[:17] + "…" for name in classes]
    margin = 14 + 0.62 * font * max(map(len, names))
    slanted = any(0.62 * font * len(name) > 0.95 * cell for name in names)
    head = margin if slanted else 2.2 * font
    axes = "predicted class →, true class ↓"
    width, top = margin + max(n * cell, 0.62 * font * len(axes)) + 4, head + n * cell
    parts = [
        f'<svg class="chart confusion" viewBox="0 0 {width:.0f} {top + 22:.0f}" style="max-width:{width:.0f}px" '
        f'role="img" aria-label="confusion matrix" font-size="{font:.1f}">'
    ]
    for i, name in enumerate(names):
        middle = (i + 0.5) * cell
        parts.append(_label(name, margin - 6, head + middle + 0.35 * font, "end"))
        turned = f' transform="rotate(-90 {margin + middle + 0.35 * font:.1f} {head - 6:.1f})"' if slanted else ""
        anchor = "start" if slanted else "middle"
        x = margin + middle + (0.35 * font if slanted else 0)
        parts.append(_label(name, x, head - 6, anchor, turned))
    for row, counts in enumerate(table):
        total = sum(counts)
        for column, count in enumerate(counts):
            place = (margin + column * cell, head + row * cell)
            words = f"{100 * count / total:.0f}" if shares and count else str(count)
            parts.append(_cell(place, cell, (count, total), words if n <= 20 else "", right=row == column))
            if count:
                said = f"{classes[row]} taken for {classes[column]}: {count} of {total}"
                parts[-1] = f"<g>{parts[-1]}<title>{escape(said)}</title></g>"
    parts.append(_label(axes, margin, top + 16, "start"))
    return Html("".join(parts) + "</svg>")


def _label(text: str, x: float, y: float, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _cell(place: tuple[float, float], size: float, counted: tuple[int, int], words: str, *, right: bool) -> str:
    """One square with its words; mistakes are drawn stronger than their share, for they are few."""
    count, total = counted
    if not count:
        return _square(place, size, "line", 0.25) if words else ""
    share = count / total
    strength = 0.12 + 0.8 * share if right else 0.12 + 0.8 * math.sqrt(share)
    square = _square(place, size, "accent" if right else "warm", strength)
    if not words:
        return square
    x, y = place[0] + size / 2, place[1] + size / 2
    style = ' class="on"' if strength > 0.55 else ""
    return square + f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle"{style}>{words}</text>'


def _square(place: tuple[float, float], size: float, colour: str, strength: float) -> str:
    inner = size - (1.5 if size > 12 else 0.5)
    return (
        f'<rect x="{place[0]:.1f}" y="{place[1]:.1f}" width="{inner:.1f}" height="{inner:.1f}" '
        f'fill="var(--{colour})" fill-opacity="{strength:.2f}"/>'
    )


def _thinned(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most _MOST_POINTS points: means of neighbours, so that a noisy curve stays honest about its course."""
    share = -(-len(x) // _MOST_POINTS)
    starts = range(0, len(x), max(1, share))
    return tuple([sum(part) / len(part) for s in starts if (part := values[s : s + share])] for values in (x, y))  # type: ignore[return-value]


def _svg(figure: Figure, name: str, label: str) -> Html:
    """The figure as an SVG element of the page: no size of its own, no prologue, the page's font and colours."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):  # the ids of clip paths and markers: unique on the page
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None  # matplotlib always writes one
    opening = f'<svg class="chart" {box[0]} role="img" aria-label="{escape(label)}">'
    text = re.sub(r"^<svg[^>]*>", opening, text, count=1)
    return Html(re.sub(r">\s+<", "><", text).strip())
