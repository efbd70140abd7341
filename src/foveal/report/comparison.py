"""Accuracy against operations and parameters: the published figures of the catalogue in one chart.

After A. Canziani, A. Paszke, E. Culurciello, «An analysis of deep neural network models for practical applications»,
2017, figure 2: each network is a disc over its multiply-adds, whose area is its number of parameters.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox

from foveal import catalog
from foveal.errors import FovealError

_INK, _MUTED, _LINE, _PAPER = "#1b2733", "#5f6e7c", "#dfe5ea", "#ffffff"
_YEARS = LinearSegmentedColormap.from_list("years", ["#2b3a8f", "#2f7fc1", "#2fae9b", "#8cc152", "#f2b134"])
_IMAGENET, _CIFAR = 7.5, 34.0  # points² of disc for a million parameters
_FORMATS = (".png", ".svg", ".pdf")
_STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": _INK, "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "axes.axisbelow": True, "grid.color": _LINE, "grid.linewidth": 0.7, "xtick.color": _LINE, "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED, "ytick.labelcolor": _MUTED, "figure.facecolor": _PAPER, "axes.facecolor": _PAPER,
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One network of the chart; networks of one `family` (resnet18, resnet34, …) are joined by a line."""

    name: str
    family: str
    year: int
    macs: int
    parameters: int
    accuracy: float


def points(dataset: str, top: int) -> list[Point]:
    """The networks with a published top-`top` error (1 or 5) on `dataset`, in the catalogue's order; one of several
    names for the same network."""
    found: dict[tuple[object, ...], Point] = {}
    for name, entry in catalog.entries("model").items():
        facts = catalog.facts(name)
        if facts is None or facts.dataset != dataset or facts.macs is None or facts.parameters is None:
            continue
        error = facts.top1_error if top == 1 else facts.top5_error
        if error is not None:
            series = (re.match("[a-z]+", name) or [name])[0]
            point = Point(name, f"{entry.module} {series}", facts.year, facts.macs, facts.parameters, 100 - error)
            found[entry.module, point.macs, point.parameters, error] = point
    return list(found.values())


def compare(path: Path | str) -> Path:
    """Draw the chart of ImageNet (top-5) and CIFAR-10 (top-1) networks into `path` (.png, .svg or .pdf); the path.

    Raises FovealError for another kind of file and for a place that cannot be written to.
    """
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise FovealError(f"cannot draw into '{target.name}'", f"give a file that ends in {', '.join(_FORMATS)}")
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(13.2, 7.4), dpi=150)
        FigureCanvasAgg(figure)
        years = Normalize(2012, 2017)
        left, right = figure.subplots(1, 2, width_ratios=(1.55, 1))
        figure.subplots_adjust(left=0.055, right=0.985, top=0.835, bottom=0.175, wspace=0.15)
        _panel(left, points("ImageNet", 5), years, "ImageNet, top-5 accuracy", _IMAGENET)
        _panel(right, points("CIFAR-10", 1), years, "CIFAR-10, accuracy", _CIFAR)
        figure.text(0.055, 0.945, "Accuracy, operations and parameters", fontsize=17, fontweight="bold")
        figure.text(
            0.055, 0.905, "Each disc is a network, its area the number of parameters; lines join those of one family.",
            fontsize=10, color=_MUTED,
        )  # fmt: skip
        figure.text(
            0.055, 0.022,
            "Accuracies are the papers' own; their test protocols differ (one crop, ten crops, several sizes). "
            "Operations and parameters are counted by foveal. After Canziani, Paszke and Culurciello (2017).",
            fontsize=8, color=_MUTED,
        )  # fmt: skip
        _year_bar(figure, years)
        try:
            figure.savefig(target, metadata={"Date": None} if target.suffix.lower() == ".svg" else None)
        except OSError as error:
            reason = error.strerror or str(error)
            raise FovealError(f"cannot write {target}: {reason}", "choose another place for the chart") from error
    return target


def _panel(axes: Axes, networks: Sequence[Point], years: Normalize, title: str, scale: float) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=_INK, pad=10)
    axes.set_xscale("log")
    macs, accuracy = [p.macs / 1e9 for p in networks], [p.accuracy for p in networks]
    axes.set_xlim(min(macs) / 1.5, max(macs) * 1.7)
    room = 0.09 * (max(accuracy) - min(accuracy))
    axes.set_ylim(min(accuracy) - room, max(accuracy) + room)
    axes.xaxis.set_major_locator(FixedLocator([m * 10.0**e for e in range(-2, 3) for m in (1, 2, 5)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_xlabel("multiply-adds of one image, billions")
    axes.tick_params(length=0)
    for family in dict.fromkeys(p.family for p in networks):
        chain = sorted((p for p in networks if p.family == family), key=lambda p: p.macs)
        axes.plot([p.macs / 1e9 for p in chain], [p.accuracy for p in chain], color="#b9c4ce", linewidth=1.1, zorder=1)
    order = sorted(networks, key=lambda p: -p.parameters)  # small discs lie on large ones
    for p in order:
        colour = _YEARS(years(p.year))
        disc: Any = {"s": p.parameters / 1e6 * scale, "edgecolors": _PAPER, "linewidths": 1.0, "zorder": 2}
        axes.scatter(p.macs / 1e9, p.accuracy, color=colour, alpha=0.78, **disc)
        axes.scatter(p.macs / 1e9, p.accuracy, s=5, color=_INK, linewidths=0, zorder=4)
    _key(axes, scale)
    _names(axes, networks, scale)


def _key(axes: Axes, scale: float) -> None:
    """What the areas mean."""
    sizes = (5, 50, 150) if scale == _IMAGENET else (1, 5, 20)
    discs: list[PathCollection] = [
        axes.scatter([], [], s=size * scale, color="#c9d3dc", edgecolors=_PAPER, label=f"{size} million")
        for size in sizes
    ]
    legend = axes.legend(
        handles=discs, loc="lower right" if scale == _IMAGENET else "upper left", frameon=False, title="parameters",
        alignment="left", labelspacing=1.9, handletextpad=1.6, borderpad=1.4, fontsize=8.5, labelcolor=_MUTED,
    )  # fmt: skip
    legend.get_title().set_color(_MUTED)
    legend.get_title().set_fontsize(8.5)


def _names(axes: Axes, networks: Sequence[Point], scale: float) -> None:
    """A name beside each disc, where it covers least of other names, points, discs and the key; the topmost first."""
    figure: Any = axes.figure
    renderer = figure.canvas.get_renderer()
    unit = figure.dpi / 72
    legend: Any = axes.get_legend()
    centres = [axes.transData.transform((p.macs / 1e9, p.accuracy)) for p in networks]
    radii = [unit * math.sqrt(p.parameters / 1e6 * scale / math.pi) for p in networks]
    discs = [Bbox.from_extents(x - r, y - r, x + r, y + r) for (x, y), r in zip(centres, radii, strict=True)]
    dots = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in centres]
    taken = [legend.get_window_extent(renderer)]
    frame = axes.get_window_extent(renderer)
    for place in sorted(range(len(networks)), key=lambda i: -centres[i][1]):
        (x, y), p = centres[place], networks[place]
        text = axes.annotate(
            p.name, (p.macs / 1e9, p.accuracy), xytext=(0, 0), textcoords="offset points", fontsize=8.2, ha="center",
            va="center", zorder=5, path_effects=[withStroke(linewidth=2.2, foreground=_PAPER, alpha=0.8)],
        )  # fmt: skip
        box = text.get_window_extent(renderer)

        def cost(spot: tuple[int, Bbox], place: int = place, area: float = box.width * box.height) -> float:
            gap, where = spot
            others = [i for i in range(len(networks)) if i != place]
            return (
                0.02 * gap
                + 60 * sum(_overlap(where, other) for other in taken) / area
                + 25 * sum(_overlap(where, dots[i]) for i in others) / 100
                + 6 * sum(_overlap(where, discs[i]) for i in others) / area
                + 100 * (1 - _overlap(where, frame) / area)
            )

        gap, best = min(_spots((x, y), box, radii[place], unit), key=cost)
        middle = ((best.x0 + best.x1) / 2 - x, (best.y0 + best.y1) / 2 - y)
        text.set_position((middle[0] / unit, middle[1] / unit))
        taken.append(best)
        if gap > 12:
            inverse = axes.transData.inverted()
            edge = (min(max(x, best.x0), best.x1), min(max(y, best.y0), best.y1))
            ends = (inverse.transform((x, y)), inverse.transform(edge))
            axes.plot(*zip(*ends, strict=True), color=_MUTED, linewidth=0.6, zorder=3)


def _spots(centre: tuple[float, float], box: Bbox, radius: float, unit: float) -> Iterator[tuple[int, Bbox]]:
    """Places around a disc, above first, with their distance from it in points."""
    for gap, turn in itertools.product((2, 7, 14, 22, 32), range(16)):
        angle = math.pi / 2 + turn * math.pi / 8
        x = centre[0] + math.cos(angle) * (radius + gap * unit + box.width / 2)
        y = centre[1] + math.sin(angle) * (radius + gap * unit + box.height / 2)
        yield gap, Bbox.from_bounds(x - box.width / 2, y - box.height / 2, box.width, box.height)


def _overlap(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(0.0, width) * max(0.0, height))


def _year_bar(figure: Figure, years: Normalize) -> None:
    axes = figure.add_axes((0.055, 0.075, 0.22, 0.016))
    bar = figure.colorbar(mpl.cm.ScalarMappable(years, _YEARS), cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.set_ticks(list(range(2012, 2018)))
    axes.tick_params(length=0, labelsize=8)
    figure.text(0.282, 0.077, "year of the paper", fontsize=8.5, color=_MUTED)
