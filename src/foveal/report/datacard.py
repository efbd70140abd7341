"""What the network learned from: counts per split and class, and sample pictures."""

from __future__ import annotations

from foveal.data.dataset import ImageSet
from foveal.report.html import Html, escape, join, paragraph, section, tag
from foveal.report.pictures import Album, per_class
from foveal.training.run import Run

_MOST_CLASSES = 40
_PER_CLASS = 6
_MOST_PICTURES = 160


def datacard(run: Run, *samples: Html) -> Html:
    """Counts from the run's record, and what the task shows of its data."""
    data = run.data
    counts = ", ".join(f"{count:,} {split}" for split, count in data["counts"].items())
    said = [paragraph(f"{data['source']}: {len(run.classes)} classes; images: {counts}.")]
    if data["skipped"]:
        first = data["skipped"][0]
        said.append(
            paragraph(
                f"Unreadable images that were left out: {len(data['skipped'])}, such as {first[0]}: {first[1]}.", "note"
            )
        )
    fingerprint = tag(
        "p", escape("Fingerprint of names and labels: "), tag("code", escape(data["fingerprint"])), class_="fine"
    )
    return section("data", "Data", *said, *samples, fingerprint)


def class_samples(classes: tuple[str, ...], train: ImageSet, album: Album) -> Html:
    """Pictures of each class, the first of many classes."""
    shown = min(len(classes), _MOST_CLASSES)
    chosen = per_class(train.labels, len(classes), min(_PER_CLASS, _MOST_PICTURES // shown))[:shown]
    total = train.labels.bincount(minlength=len(classes)).tolist()
    blocks = [
        tag(
            "div",
            tag("h4", escape(classes[i]), tag("span", escape(f" {total[i]:,} images"))),
            tag("div", *(album.thumbnail(k, train.name(k)) for k in indices), class_="strip"),
        )
        for i, indices in enumerate(chosen)
    ]
    parts = [tag("div", join(blocks), class_="samples")]
    if shown < len(classes):
        parts.append(paragraph(f"The first {shown} of {len(classes)} classes."))
    return join(parts)
