"""Small pieces of HTML. Whatever is text and not markup passes through `escape`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as _escape
from typing import NewType

Html = NewType("Html", str)


def escape(text: object) -> Html:
    """Text as it may stand in an element or in a quoted attribute."""
    return Html(_escape(str(text), quote=True))


def join(parts: Iterable[Html]) -> Html:
    """Pieces one after the other."""
    return Html("\n".join(parts))


def tag(name: str, *content: Html, **attributes: str) -> Html:
    """An element. Attributes are escaped; `class_` is written class, and `_` in names as a hyphen."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items() if value
    )
    return Html(f"<{name}{written}>{''.join(content)}</{name}>")


def section(anchor: str, title: str, *content: Html) -> Html:
    """A part of the page with its heading."""
    return tag("section", tag("h2", escape(title)), *content, id=anchor)


def paragraph(text: str, class_: str = "") -> Html:
    """A paragraph of plain text."""
    return tag("p", escape(text), class_=class_)


def table(head: Sequence[str], rows: Iterable[Sequence[Html]], *, numbers: Iterable[int] = ()) -> Html:
    """A table; columns whose place is among `numbers` are set flush right with figures of one width."""
    right = set(numbers)

    def row(kind: str, cells: Sequence[Html]) -> Html:
        return tag("tr", *(tag(kind, cell, class_="n" if i in right else "") for i, cell in enumerate(cells)))

    body = tag("tbody", *(row("td", cells) for cells in rows))
    return tag("div", tag("table", tag("thead", row("th", [escape(name) for name in head])), body), class_="scroll")


def pairs(rows: Iterable[tuple[str, str]]) -> Html:
    """Names with their values, two columns."""
    cells = (tag("tr", tag("th", escape(name)), tag("td", escape(value))) for name, value in rows)
    return tag("div", tag("table", tag("tbody", *cells), class_="pairs"), class_="scroll")


def figure(content: Html, caption: str, class_: str = "") -> Html:
    """A chart or a picture with its caption."""
    return tag("figure", content, tag("figcaption", escape(caption)), class_=class_)


def folded(summary: str, *content: Html) -> Html:
    """Something that opens at a click, without a script."""
    return tag("details", tag("summary", escape(summary)), *content)
