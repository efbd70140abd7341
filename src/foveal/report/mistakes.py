"""The mistakes as pictures: the most confident wrong answers, and examples of the most confused pairs."""

from __future__ import annotations

from collections.abc import Sequence

from foveal.evaluation import Evaluation
from foveal.metrics.classification import most_confused
from foveal.report.html import Html, escape, join, paragraph, section, tag
from foveal.report.parts import unreadable
from foveal.report.pictures import Album

_WORST = 21
_PAIRS, _PER_PAIR = 6, 7


def mistakes(e: Evaluation, names: Sequence[str], album: Album | None) -> Html:
    """Both galleries and the unreadable images. Without an album only the texts are shown."""
    confidence, predicted = e.probabilities.max(1)
    wrong = (predicted != e.labels).nonzero().flatten()
    wrong = wrong[confidence[wrong].argsort(descending=True, stable=True)]
    content = []
    if len(wrong):
        content += [
            paragraph(
                f"{len(wrong):,} of {e.images:,} images were misjudged; first those that the network was surest of. In "
                "orange the predicted class and its probability, below it the true class and what the network gave it."
            ),
            tag("div", *(_card(e, i, names[i], album) for i in wrong[:_WORST].tolist()), class_="gallery"),
        ]
        for true, taken, count in most_confused(e.confusion, _PAIRS):
            of = int((e.labels == true).sum())
            chosen = wrong[(e.labels[wrong] == true) & (predicted[wrong] == taken)][:_PER_PAIR]
            content += [
                tag("h3", escape(f"{e.classes[true]} taken for {e.classes[taken]}: {count:,} of {of:,}")),
                tag("div", *(_card(e, i, names[i], album) for i in chosen.tolist()), class_="gallery"),
            ]
    else:
        content.append(paragraph("There are none: every image was recognised."))
    content.append(unreadable(e.skipped))
    return section("mistakes", "Mistakes", *content)


def _card(e: Evaluation, index: int, name: str, album: Album | None) -> Html:
    taken, true = int(e.predicted[index]), int(e.labels[index])
    p, q = float(e.probabilities[index, taken]), float(e.probabilities[index, true])
    picture = album.thumbnail(album.find(name), name) if album else Html("")
    said = [
        tag("p", escape(f"{e.classes[taken]} · {_percent(p)}"), class_="wrong"),
        tag("p", escape(f"is {e.classes[true]} · {_percent(q)}"), class_="right"),
        tag("p", escape(name.replace("\\", "/").rpartition("/")[2]), class_="name", title=name),
    ]
    return tag("div", picture, join(said), class_="card")


def _percent(p: float) -> str:
    """A probability that neither claims certainty by rounding nor hides a small one."""
    if 0.9995 <= p < 1:
        return ">99.9\u00a0%"
    return "<0.1\u00a0%" if p < 0.001 else f"{100 * p:.1f}\u00a0%"
