"""Small parts that the reports of several tasks show alike."""

from __future__ import annotations

from collections.abc import Sequence

from foveal.data.drawing import class_colour
from foveal.report.html import Html, escape, folded, table, tag

_SKIPPED = 50  # unreadable files that are listed


def legend(classes: Sequence[str]) -> Html:
    """The colours of the classes."""
    return tag("p", *(named(i, classes) for i in range(len(classes))), class_="legend")


def named(index: int, classes: Sequence[str]) -> Html:
    """A class after its colour."""
    red, green, blue = class_colour(index, len(classes))
    swatch = tag("i", class_="swatch", style=f"background:rgb({red},{green},{blue})")
    return tag("span", swatch, escape(classes[index]))


def unreadable(files: Sequence[tuple[str, str]]) -> Html:
    """The images that were left out with their reasons, folded; nothing where there is none."""
    if not files:
        return Html("")
    rows = [[escape(file), escape(reason)] for file, reason in files[:_SKIPPED]]
    first = f", the first {_SKIPPED}" if len(files) > _SKIPPED else ""
    return folded(f"Unreadable images: {len(files):,}{first}", table(("file", "reason"), rows))


def percent(value: float | None) -> str:
    """A figure in %, or a dash where there is none."""
    return "–" if value is None else f"{value:.2f} %"
