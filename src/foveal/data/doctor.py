"""What is in a data set, and what is wrong with it: `diagnose`.

A set that cannot be trained on is diagnosed all the same: what opening it would refuse becomes a finding.
"""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from foveal.data.ailments import examine
from foveal.data.findings import Finding
from foveal.data.formats import folder
from foveal.data.open import root_of
from foveal.data.scan import open_all, scan, tally

_WIDTH = 100
_CLASSES_SHOWN = 20
_PLACES_SHOWN = 5
_MARKS = {"error": "✗", "warning": "!", "note": "·"}


@dataclass(frozen=True)
class Diagnosis:
    """A data set as it is. `per_split` counts its images, readable or not; sizes are in pixels.

    `counts` is split → class → images; of a set of boxes its objects, of a set of masks the images where it occurs.

    `size` has min, median and max of width and height, `sizes` the number of distinct ones, `channels` the number of
    grey and colour images. `duplicates` counts groups of equal images (`exact_groups`) and the copies in them beyond
    the first (`exact_copies`), pairs that nearly agree (`near_pairs`, None when not looked for) with the similarity
    from which they were taken for copies (`near_limit`), and held-out images that training has seen (`leaked`: split →
    images). `findings` are in order of severity.
    """

    path: str
    format: str
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    size: Mapping[str, tuple[float, float]]
    sizes: int
    channels: Mapping[str, int]
    unreadable: int
    duplicates: Mapping[str, Any]
    findings: tuple[Finding, ...]
    task: str
    per_split: Mapping[str, int]

    @property
    def images(self) -> int:
        """All images, readable or not."""
        return sum(self.per_split.values())

    @property
    def objects(self) -> int:
        """All objects of a set of boxes; 0 for other sets."""
        return sum(sum(classes.values()) for classes in self.counts.values()) if self.task == "detect" else 0

    @property
    def imbalance(self) -> Mapping[str, float | None]:
        """Images of the largest class over those of the smallest, for each split; None where a class has none."""
        out: dict[str, float | None] = {}
        for split, counts in self.counts.items():
            least = min(counts.values(), default=0)
            out[split] = round(max(counts.values()) / least, 3) if least else None
        return out

    @property
    def healthy(self) -> bool:
        """Whether there is no finding of severity error."""
        return all(finding.severity != "error" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """All of it in plain JSON values."""
        return {
            "path": self.path,
            "format": self.format,
            "task": self.task,
            "images": self.images,
            "objects": self.objects,
            "classes": list(self.classes),
            "splits": {
                split: {"images": self.per_split[split], "imbalance": self.imbalance[split], "classes": dict(counts)}
                for split, counts in self.counts.items()
            },
            "size": {name: list(pair) for name, pair in self.size.items()} | {"distinct": self.sizes},
            "channels": dict(self.channels),
            "unreadable": self.unreadable,
            "duplicates": dict(self.duplicates),
            "healthy": self.healthy,
            "findings": [asdict(finding) | {"places": list(finding.places)} for finding in self.findings],
        }

    def text(self) -> str:
        """All of it for a terminal: plain lines of at most 100 columns, the longest lists cut short and saying so."""
        return "\n".join([*self._summary(), "", *self._table(), "", *self._findings()])

    def _summary(self) -> Iterator[str]:
        boxes = f", {self.objects:,} objects" if self.task == "detect" else ""
        yield from _wrapped(
            f"{self.path}: {self.images:,} images{boxes}, {len(self.classes)} classes, format {self.format}"
        )
        if self.size:
            low, middle, high = (
                " × ".join(f"{side:g}" for side in self.size[name]) for name in ("min", "median", "max")
            )
            yield f"sizes       {high}" if low == high else f"sizes       {low} to {high}, median {middle}"
            if self.sizes > 1:
                yield f"            {self.sizes:,} different sizes"
        yield "channels    " + ", ".join(f"{count:,} {kind}" for kind, count in self.channels.items() if count)
        yield f"unreadable  {self.unreadable:,}"
        twins = self.duplicates
        near = twins["near_pairs"]
        shown = "near ones not looked for" if near is None else f"{near:,} near pairs"
        yield f"duplicates  {twins['exact_copies']:,} exact copies, {shown}"
        for split, count in twins["leaked"].items():
            yield f"            {count:,} of {split} are in train too"

    def _table(self) -> Iterator[str]:
        splits = list(self.counts)
        rank = Counter({name: sum(counts.get(name, 0) for counts in self.counts.values()) for name in self.classes})
        rows = list(self.classes)
        if len(rows) > _CLASSES_SHOWN:
            ordered = [name for name, _ in rank.most_common()]
            rows = [*ordered[: _CLASSES_SHOWN // 2], "", *ordered[-_CLASSES_SHOWN // 2 :]]
        wide = min(max(map(len, [*rows, "class"]), default=5), _WIDTH - 12 * len(splits))
        yield "class".ljust(wide) + "".join(split.rjust(12) for split in splits)
        for name in rows:
            if not name:
                yield f"… {len(self.classes) - _CLASSES_SHOWN:,} more classes, between these in size …"
                continue
            shown = name if len(name) <= wide else name[: wide - 1] + "…"
            yield shown.ljust(wide) + "".join(f"{self.counts[split].get(name, 0):12,}" for split in splits)
        yield "all".ljust(wide) + "".join(f"{sum(self.counts[split].values()):12,}" for split in splits)
        ratios = ["-" if ratio is None else f"{ratio:.1f} : 1" for ratio in self.imbalance.values()]
        yield "imbalance".ljust(wide) + "".join(ratio.rjust(12) for ratio in ratios)

    def _findings(self) -> Iterator[str]:
        if not self.findings:
            yield "nothing is wrong"
            return
        tally = Counter[str](finding.severity for finding in self.findings)
        yield ", ".join(f"{tally[s]} {s}{'s' * (tally[s] > 1)}" for s in _MARKS if tally[s])
        for finding in self.findings:
            yield from _wrapped(f"{_MARKS[finding.severity]} {finding.what}", "  ")
            for place in finding.places[:_PLACES_SHOWN]:
                yield from _wrapped(f"    {place}", "      ")
            if len(finding.places) > _PLACES_SHOWN:
                yield f"    … and {len(finding.places) - _PLACES_SHOWN:,} more (all with --json)"
            yield from _wrapped(f"  → {finding.mend}", "    ")


def diagnose(
    path: str | os.PathLike[str],
    *,
    near: bool = True,
    threshold: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Read every image of every split at `path` once and say what is there and what is wrong.

    `near` looks for near duplicates as well as for exact ones; `threshold` is the least similarity (-1 to 1) of such a
    pair, by default decided from the set itself (see `foveal.data.duplicates.limit`). `progress` is called with
    (images done, all images). Raises FovealError only when there is nothing to diagnose: no such path, no image, no
    format that recognises it.
    """
    root = root_of(path)
    name, sets, refused = open_all(path)
    seen = scan(sets, progress)
    classes = next(iter(sets.values())).classes
    tallies = {split: tally(images) for split, images in sets.items()}
    counts = {split: {name: found[name] for name in classes} for split, found in tallies.items()}
    flat = folder.flat_splits(root).keys() & {"test"} if name == "folder" else ()  # training refuses the others
    findings, duplicates = examine(os.fspath(root), sets, seen, refused, flat=flat, near=near, threshold=threshold)
    sides = seen.sizes[:, :2]
    size: dict[str, tuple[float, float]] = {}
    if len(sides):
        for kind, found in (("min", sides.min(0)), ("median", np.median(sides, 0)), ("max", sides.max(0))):
            size[kind] = (float(found[0]), float(found[1]))
    channels = {"grey": int((seen.sizes[:, 2] == 1).sum()), "colour": int((seen.sizes[:, 2] == 3).sum())}
    named = tuple(name for name in classes if any(found[name] for found in tallies.values()))
    return Diagnosis(
        os.fspath(root),
        name,
        named,
        {split: {label: count for label, count in found.items() if label in named} for split, found in counts.items()},
        size,
        len(np.unique(sides, axis=0)),
        channels,
        len(seen.unreadable),
        duplicates,
        tuple(findings),
        next(iter(sets.values())).task,
        {split: len(images) for split, images in sets.items()},
    )


def _wrapped(line: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        line, _WIDTH, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False, replace_whitespace=False
    )
