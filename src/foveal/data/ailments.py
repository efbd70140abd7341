"""The doctor's knowledge: one function for each thing that can be wrong with a data set."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from foveal.data.box_ailments import box_findings
from foveal.data.dataset import FileSet, VisionSet
from foveal.data.duplicates import NearPairs, exact_groups, near_pairs
from foveal.data.findings import Finding, Severity
from foveal.data.mask_ailments import mask_findings
from foveal.data.scan import Scan, tally
from foveal.errors import FovealError

_ORDER = ("error", "warning", "note")
_FEW = 10  # images that a class needs to be learned and measured at all
_UNEVEN = 10.0  # largest class over smallest
_SMALL_SIDE = 8  # pixels


def examine(
    root: str,
    sets: Mapping[str, VisionSet],
    seen: Scan,
    refused: Sequence[FovealError],
    *,
    flat: Collection[str] = (),
    near: bool,
    threshold: float | None,
) -> tuple[list[Finding], dict[str, Any]]:
    """All findings, gravest first, and the numbers of duplicates as `Diagnosis.duplicates` has them.

    `flat` names the splits whose pictures lie in no class folder.
    """
    boxes = any(images.task == "detect" for images in sets.values())
    masks = any(images.task == "segment" for images in sets.values())
    present = {split: tally(images) for split, images in sets.items()}
    twins = _Twins(root, seen, near_pairs(seen.prints, threshold) if near else None)
    findings = [
        *(Finding("refused", "error", f"training would refuse it: {e.what}", (), e.mend) for e in refused),
        *_unreadable(root, seen),
        *_flat(flat),
        *_class_sets(present, alone=boxes or masks),
        *_empty_classes(sets, present, "warning" if masks else "error"),
        *box_findings(root, sets),
        *mask_findings(root, sets, seen),
        *_alike_names(present),
        *_class_sizes(present, "object" if boxes else "image"),
        *_small_images(root, seen),
        *_blank_images(root, seen),
        *_ignored_files(sets),
        *twins.findings(),
    ]
    return sorted(findings, key=lambda finding: _ORDER.index(finding.severity)), twins.numbers()


def _unreadable(root: str, seen: Scan) -> Iterator[Finding]:
    if seen.unreadable:
        places = tuple(f"{_short(root, one.name)}: {one.reason}" for one in seen.unreadable)
        mend = "training skips them; save or download them again, or delete them"
        yield Finding("unreadable", "error", f"{_many(len(places), 'image')} cannot be read", places, mend)


def _flat(splits: Collection[str]) -> Iterator[Finding]:
    for split in splits:
        what = f"the pictures of {split} lie in no class folder, so nothing says their class and they are not used"
        yield Finding("flat_split", "warning", what, (), "put them into one folder per class, or leave them to predict")


def _class_sets(present: Mapping[str, Counter[str]], *, alone: bool) -> Iterator[Finding]:
    """One class only, and a class that is not in every split it should be in. `alone`: images hold parts of any class,
    so that one may be the only one, or missing in test."""
    everywhere = sorted(set().union(*present.values()))
    if len(everywhere) < 2 and not alone:
        mend = "a recogniser needs two: add a folder of others"
        yield Finding("one_class", "error", f"there is one class only: {', '.join(everywhere)}", (), mend)
    train = present.get("train")
    if train is None:
        return
    for split, counts in present.items():
        if missing := tuple(sorted(set(train) - set(counts))):
            severity: Severity = "error" if split == "test" and not alone else "warning"
            what = f"{_many(len(missing), 'class')} of train without an image in {split}"
            yield Finding("missing_class", severity, what, missing, f"add {split} images, or rename the class")
        if extra := tuple(sorted(set(counts) - set(train))):
            what = f"{_many(len(extra), 'class')} of {split} without an image in train"
            yield Finding("missing_class", "error", what, extra, "add training images, or rename the class")


def _empty_classes(
    sets: Mapping[str, VisionSet], present: Mapping[str, Counter[str]], severity: Severity
) -> Iterator[Finding]:
    known = {name for images in sets.values() for name in images.classes}
    if empty := tuple(sorted(known.difference(*present.values()))):
        what = f"{_many(len(empty), 'class')} without any image"
        yield Finding("empty_class", severity, what, empty, "add images, or take the class out")


def _alike_names(present: Mapping[str, Counter[str]]) -> Iterator[Finding]:
    """Classes that are probably one: names equal but for case, spaces and plural, or one letter apart."""
    total = sum(present.values(), Counter[str]())
    places = []
    for a, b in combinations(sorted(total), 2):
        apart = not any(a in counts and b in counts for counts in present.values())
        rare = min(total[a], total[b]) * 10 <= max(total[a], total[b])
        # Two words of one letter's difference may both be right (house, mouse) when both are in use
        if _plain(a) == _plain(b) or ((apart or rare) and _one_letter_apart(a.casefold(), b.casefold())):
            where = [", ".join(split for split, counts in present.items() if name in counts) for name in (a, b)]
            places.append(f"'{a}' ({where[0]}) and '{b}' ({where[1]})")
    if places:
        what = f"{_many(len(places), 'pair')} of class names that probably mean the same"
        yield Finding("alike_names", "warning", what, tuple(places), "rename one, if they are one class")


def _class_sizes(present: Mapping[str, Counter[str]], unit: str) -> Iterator[Finding]:
    split = "train" if "train" in present else next(iter(present))
    counts = present[split]
    if not counts:
        return
    few = tuple(f"'{name}': {_many(count, unit)}" for name, count in sorted(counts.items()) if count < _FEW)
    if few:
        what = f"{_many(len(few), 'class')} of {split} with fewer than {_FEW} {unit}s"
        yield Finding("tiny_class", "warning", what, few, f"add {unit}s, or merge it with a class like it")
    (most, highest), (least, lowest) = counts.most_common()[0], counts.most_common()[-1]
    if highest >= _UNEVEN * lowest:
        places = (f"'{most}': {highest:,}, '{least}': {lowest:,}",)
        what = f"the classes of {split} are uneven, {highest / lowest:.0f} to 1"
        mend = "add images of the small ones, draw them more often, or judge by the per-class table and not by accuracy"
        yield Finding("imbalance", "warning", what, places, mend)


def _small_images(root: str, seen: Scan) -> Iterator[Finding]:
    """A side below 8 pixels, or below an eighth of what is usual in the set."""
    if not len(seen.sizes):
        return
    side = seen.sizes[:, :2].min(1)
    bound = max(_SMALL_SIDE, float(np.median(side)) / 8)
    small = np.flatnonzero(side < bound)
    if len(small):
        shown = tuple(f"{_short(root, seen.names[i])}: {seen.sizes[i, 0]} × {seen.sizes[i, 1]}" for i in small)
        what = f"{_many(len(small), 'image')} with a side below {bound:g} pixels"
        yield Finding(
            "small_image", "warning", what, shown, "look at them: thumbnails or icons? Replace or delete them"
        )


def _blank_images(root: str, seen: Scan) -> Iterator[Finding]:
    blank = np.flatnonzero(seen.prints.blank)
    if len(blank):
        mend = "look at them: one plain colour teaches nothing, and they are not compared for near duplicates"
        places = tuple(_short(root, seen.names[i]) for i in blank)
        yield Finding("blank_image", "warning", f"{_many(len(blank), 'image')} of one plain colour", places, mend)


def _ignored_files(sets: Mapping[str, VisionSet]) -> Iterator[Finding]:
    for split, images in sets.items():
        if isinstance(images, FileSet) and images.ignored:
            what = f"{_many(images.ignored, 'file')} of {split} passed over: not pictures by their name"
            yield Finding("ignored_files", "note", what, (), "none, if they are not meant as images")


class _Twins:
    """Duplicates of all kinds as findings. A near pair stands for all exact copies of its two images."""

    def __init__(self, root: str, seen: Scan, near: NearPairs | None) -> None:
        self.root = root
        self.seen = seen
        self.near = near
        self.exact = exact_groups(seen.prints.digests)
        self.copies = {group[0]: group for group in self.exact}
        self.close: list[tuple[int, int, float]] = []
        if near is not None:
            columns = (near.first.tolist(), near.second.tolist(), near.similarity.tolist())
            self.close = list(zip(*columns, strict=True))

    def numbers(self) -> dict[str, Any]:
        """The counts for `Diagnosis.duplicates`."""
        leaked: dict[str, set[int]] = defaultdict(set)
        for held_out, _, _ in (*self._leaks_exact(), *self._leaks_near()):
            leaked[self.seen.splits[held_out]].add(held_out)
        limit = None if self.near is None else self.near.limit
        return {
            "exact_groups": len(self.exact),
            "exact_copies": sum(len(group) - 1 for group in self.exact),
            "near_pairs": None if self.near is None else len(self.close),
            "near_limit": None if limit is None else round(limit, 6),
            "leaked": {split: len(images) for split, images in leaked.items()},
        }

    def findings(self) -> Iterator[Finding]:
        """Label conflicts, leaks and copies, exact and near."""
        labels, splits = self.seen.labels, self.seen.splits
        clash = [group for group in self.exact if len({labels[i] for i in group}) > 1]
        yield from self._finding(
            ("label_conflict", "error", "with equal pixels and different classes", "group"),
            [" = ".join(f"{self._name(i)} ('{labels[i]}')" for i in group) for group in clash],
            "keep one label of each, or delete all copies",
        )
        yield from self._finding(
            ("near_label_conflict", "warning", "that nearly agree and have different classes", "pair"),
            [
                f"{self._name(i)} ('{labels[i]}') ≈ {self._name(j)} ('{labels[j]}'), {similarity:.3f}"
                for i, j, similarity in self.close
                if labels[i] != labels[j]
            ],
            "look at them: which label is right?",
        )
        mend = "delete them from one of the two: they make the measured error too low"
        for kind, severity, leaks, what in (
            ("leak", "error", self._leaks_exact(), "is in train, pixel by pixel"),
            ("near_leak", "warning", self._leaks_near(), "is nearly in train"),
        ):
            found = {held_out: (other, similarity) for held_out, other, similarity in leaks}
            for split in dict.fromkeys(splits[i] for i in found):
                here = {i: pair for i, pair in reversed(found.items()) if splits[i] == split}
                places = [
                    f"{self._name(i)} = {self._name(j)}" + ("" if kind == "leak" else f", {similarity:.3f}")
                    for i, (j, similarity) in here.items()
                ]
                text = f"{_many(len(here), 'image')} of {split} {what.replace('is', 'is' if len(here) == 1 else 'are')}"
                shown = places if kind == "leak" else [place.replace(" = ", " ≈ ") for place in places]
                yield Finding(kind, "error" if severity == "error" else "warning", text, tuple(shown), mend)
        yield from self._finding(
            ("duplicate", "warning", "with equal pixels", "group"),
            [" = ".join(self._name(i) for i in group) for group in self.exact],
            "keep one of each: copies count twice and lessen variety",
        )
        yield from self._finding(
            ("near_duplicate", "warning", "that nearly agree", "pair"),
            [f"{self._name(i)} ≈ {self._name(j)}, {similarity:.3f}" for i, j, similarity in self.close],
            "look at them: recompressed, resized or retouched copies are best deleted",
        )

    def _leaks_exact(self) -> Iterator[tuple[int, int, float]]:
        """(held-out image, its copy in train, 1.0)."""
        for group in self.exact:
            known = next((i for i in group if self.seen.splits[i] == "train"), None)
            if known is not None:
                yield from ((i, known, 1.0) for i in group if self.seen.splits[i] != "train")

    def _leaks_near(self) -> Iterator[tuple[int, int, float]]:
        """(held-out image, an image of train that it resembles, similarity), strongest last: the last counts."""
        for i, j, similarity in reversed(self.close):
            pair = [self.copies.get(one, [one]) for one in (i, j)]
            for here, there in (pair, pair[::-1]):
                known = next((one for one in there if self.seen.splits[one] == "train"), None)
                if known is not None:
                    yield from ((one, known, similarity) for one in here if self.seen.splits[one] != "train")

    def _finding(self, kind: tuple[str, Severity, str, str], places: list[str], mend: str) -> Iterator[Finding]:
        if places:
            name, severity, what, unit = kind
            yield Finding(name, severity, f"{_many(len(places), unit)} of images {what}", tuple(places), mend)

    def _name(self, i: int) -> str:
        return _short(self.root, self.seen.names[i])


def _short(root: str, name: str) -> str:
    """A file's path below the root of the set."""
    return name.removeprefix(os.path.join(root, ""))  # noqa: PTH118 (text, not a path: it may be an array's name)


def _many(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def _plain(name: str) -> str:
    """A class name without case, spaces, hyphens and plural."""
    word = re.sub(r"[\s_.\-]+", "", name.casefold())
    for ending, single in (("ies", "y"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("s", "")):
        if len(word) > len(ending) + 1 and word.endswith(ending) and not word.endswith(("ss", "us", "is")):
            return word.removesuffix(ending) + single
    return word


def _one_letter_apart(a: str, b: str) -> bool:
    """One letter put in, left out, changed, or two neighbours swapped, in words of four letters or more."""
    if len(a) > len(b):
        a, b = b, a
    if len(a) < 4 or len(b) - len(a) > 1 or re.sub(r"\d", "", a) == re.sub(r"\d", "", b):
        return False  # names that differ in their number are meant to differ
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[at:] == b[at + 1 :]
    return a[at + 1 :] == b[at + 1 :] or (a[at : at + 2] == b[at : at + 2][::-1] and a[at + 2 :] == b[at + 2 :])
