"""The report of a tagger: its data, the table of classes, and for each the images that are ranked wrongly."""

from __future__ import annotations

from foveal.data.tagset import TagSet
from foveal.evaluation.tags import TagEvaluation, load_tag_evaluation
from foveal.report.content import Content, opened
from foveal.report.datacard import datacard
from foveal.report.html import Html, escape, join, paragraph, section, table, tag
from foveal.report.parts import named, percent, unreadable
from foveal.report.pictures import Album
from foveal.training.run import Run
from foveal.types import IGNORED

_SIDES = (160, 96, 48)  # pixels of thumbnails
_EACH = 5  # images of a class, of either kind
_SHOWN = 20  # classes with pictures, the worst first
_MEASURED = (("classes", "Classes"), ("ranking", "Ranking"))


def content(run: Run) -> Content:
    """Its part of the report, as much of it as was measured and is still there."""
    found = load_tag_evaluation(run.path)
    train, test, trouble = opened(run, "tag", TagSet, found is not None)

    def sections(side: int) -> list[Html]:
        counted = [] if train is None else [_counts(train)]
        album = None if test is None else Album(test, side)
        measured = () if found is None else (_classes(found), _ranked(found, album))
        return [datacard(run, *counted), *measured]

    return Content(
        headline=None if found is None else _headline(found),
        figures=[] if found is None else _figures(found),
        trouble=trouble,
        parts=(("data", "Data"), *(_MEASURED if found else ())),
        sides=_SIDES,
        sections=sections,
    )


def _headline(e: TagEvaluation) -> Html:
    said = f"mean average precision over the classes of {e.images:,} {e.split} images, each ranked by its class's score"
    return tag("p", tag("b", escape(f"{e.metrics['mean_ap']:.2f} %")), tag("span", escape(said)), class_="headline")


def _figures(e: TagEvaluation) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), f"{value:.2f} %") for name, value in e.metrics.items() if name != "mean_ap"]


def _counts(train: TagSet) -> Html:
    rows = [
        [escape(name), escape(f"{there:,}"), escape(f"{left_out:,}")]
        for name, there, left_out in zip(
            train.classes,
            (train.labels == 1).sum(0).tolist(),
            (train.labels == IGNORED).sum(0).tolist(),
            strict=True,
        )
    ]
    return table(("class", "training images", "not counted"), rows, numbers=(1, 2))


def _worst_first(e: TagEvaluation) -> list[int]:
    return sorted(range(len(e.classes)), key=lambda i: (e.class_table[i]["ap"] or 0.0, e.classes[i]))


def _classes(e: TagEvaluation) -> Html:
    """Every class, the worst first."""
    rows = []
    for i in _worst_first(e):
        row = e.class_table[i]
        bar = tag("span", tag("i", style=f"width:{row['ap'] or 0:.1f}%"), class_="bar")
        cells = (percent(row["ap"]), f"{row['images']:,}", f"{row['not_counted']:,}")
        rows.append([named(i, e.classes), *map(escape, cells), bar])
    said = "The worst first. AP: average precision of the images ranked by this class's score. A dash: no image has it."
    head = ("class", "AP", "images", "not counted", "")
    return section("classes", "Classes", paragraph(said), table(head, rows, numbers=(1, 2, 3)))


def _ranked(e: TagEvaluation, album: Album | None) -> Html:
    """Of the worst classes the images without it that are ranked first, and those with it that are ranked last."""
    parts = [
        paragraph(
            "Of each class the images without it that score highest, in orange, and those with it that score lowest."
        )
    ]
    for i in _worst_first(e)[:_SHOWN]:
        order = e.scores[:, i].argsort(descending=True, stable=True)
        absent = order[e.labels[order, i] == 0][:_EACH].tolist()
        present = order.flip(0)[e.labels[order.flip(0), i] == 1][:_EACH].tolist()
        cards = [*(_card(e, n, i, album) for n in absent), *(_card(e, n, i, album) for n in present)]
        parts += [tag("h3", escape(e.classes[i])), tag("div", *cards, class_="gallery")]
    return section("ranking", "Ranking", *parts, unreadable(e.skipped))


def _card(e: TagEvaluation, image: int, label: int, album: Album | None) -> Html:
    name, there = e.names[image], int(e.labels[image, label]) == 1
    picture = album.thumbnail(album.find(name), name) if album else Html("")
    said = [
        tag("p", escape(f"score {float(e.scores[image, label]):.2f}"), class_="right" if there else "wrong"),
        tag("p", escape(name.replace("\\", "/").rpartition("/")[2]), class_="name", title=name),
    ]
    return tag("div", picture, join(said), class_="card")
