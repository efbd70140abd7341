"""The tree of word meanings that ImageNet's classes hang in, and mistakes told by their place in it.

Two classes of one near ancestor are alike (two breeds of dog): to confuse them is a fine-grained mistake. A synset is a
meaning, numbered as n02084071; an edge says that a meaning is a kind of another. A meaning may be of two kinds, so the
tree is a graph without cycles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from foveal.data.formats._common import read_lines
from foveal.errors import FovealError

_SYNSET = re.compile(r"\bn\d{8}\b")
IS_A, WORDS = "wordnet.is_a.txt", "words.txt"


class Wordnet:
    """Meanings and their kinds. `edges` are pairs (kind, meaning): parent first, as ImageNet's list has them."""

    def __init__(self, edges: Sequence[tuple[str, str]], words: Mapping[str, str] | None = None) -> None:
        self.words = dict(words or {})
        self.parents: dict[str, list[str]] = {}
        self.children: dict[str, list[str]] = {}
        for parent, child in dict.fromkeys(edges):
            for table in (self.parents, self.children):
                table.setdefault(parent, []), table.setdefault(child, [])
            self.parents[child].append(parent)
            self.children[parent].append(child)
        self._check_cycles()

    def __contains__(self, synset: str) -> bool:
        return synset in self.parents

    def name(self, synset: str) -> str:
        """All words of a meaning, "dog, domestic dog, Canis familiaris", or its number where they are not known."""
        return self.words.get(synset, synset)

    def ancestors(self, synset: str) -> set[str]:
        """The meaning itself and all kinds that it is of. FovealError for a synset that the tree does not have."""
        return self._reach(synset, self.parents)

    def below(self, synset: str) -> set[str]:
        """All kinds of a meaning, without itself."""
        return self._reach(synset, self.children) - {synset}

    def count(self, synset: str) -> int:
        """How many synsets are in the subtree below a meaning, 0 for one without kinds; each counts once."""
        return len(self.below(synset))

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """The meanings that are of no kind, by number."""
        return tuple(sorted(synset for synset, parents in self.parents.items() if not parents))

    def common(self, first: str, second: str) -> str | None:
        """The nearest kind that two meanings share: the one with the smallest subtree; None if they share none."""
        shared = self.ancestors(first) & self.ancestors(second)
        return min(shared, key=lambda synset: (self.count(synset), synset), default=None)

    def outline(self, synset: str, depth: int = 1) -> str:
        """The tree below a meaning as indented lines, "plant, flora, plant life (4486)": words, synsets below."""
        return "\n".join(self._lines(synset, depth, 0))

    def _lines(self, synset: str, depth: int, level: int) -> Iterator[str]:
        yield f"{'  ' * level}{self.name(synset)} ({self.count(synset)})"
        if level < depth:
            for child in sorted(self.children[synset], key=lambda child: (-self.count(child), self.name(child))):
                yield from self._lines(child, depth, level + 1)

    def _reach(self, synset: str, edges: Mapping[str, Sequence[str]]) -> set[str]:
        if synset not in edges:
            raise FovealError(f"the tree has no synset {synset}", f"is {IS_A} whole, and of the same release?")
        found, waiting = {synset}, [synset]
        while waiting:
            new = [near for near in edges[waiting.pop()] if near not in found]
            found.update(new)
            waiting += new
        return found

    def _check_cycles(self) -> None:
        """Take away what has no parents left, again and again; what stays lies on a cycle or below one."""
        left = {synset: len(parents) for synset, parents in self.parents.items()}
        waiting = [synset for synset, count in left.items() if not count]
        while waiting:
            for child in self.children[waiting.pop()]:
                left[child] -= 1
                if not left[child]:
                    waiting.append(child)
        stuck = [synset for synset, count in left.items() if count]
        if stuck:
            raise FovealError(f"{stuck[0]} is a kind of itself, round a cycle", "mend the is-a list: parent first")


@dataclass(frozen=True)
class Meta:
    """What the challenge's meta.mat tells: the tree, the words, and each class's number → synset."""

    tree: Wordnet
    words: Mapping[str, str]
    numbers: Mapping[int, str]


@dataclass(frozen=True)
class Kind:
    """The mistakes under one ancestor of some classes.

    images: images of its classes. mistakes: those taken for any other class. within: those taken for another class
    below the same ancestor, which is what `share` is of the mistakes. nearest: those whose two classes have no nearer
    common ancestor.
    """

    synset: str
    name: str
    classes: int
    images: int
    mistakes: int
    within: int
    nearest: int

    @property
    def share(self) -> float | None:
        """Per cent of the mistakes on its classes that stay below it: high for a kind whose members look alike."""
        return 100 * self.within / self.mistakes if self.mistakes else None


def synset_of(name: str) -> str | None:
    """The synset in a class's name, `tench (n01440764)` or `n01440764`; None without one."""
    match = _SYNSET.search(name)
    return match[0] if match else None


def read_wordnet(path: str | Path) -> Wordnet:
    """The tree from wordnet.is_a.txt (a line: parent child) with words.txt beside it, or from the devkit's meta.mat.

    `path` is the file or its folder. FovealError naming the line that is wrong.
    """
    file = Path(path)
    if file.is_dir():
        file = next((file / name for name in (IS_A, "meta.mat") if (file / name).is_file()), file / IS_A)
    if not file.is_file():
        raise FovealError(f"{file}: there is no such file", f"give ImageNet's {IS_A}, or the devkit's meta.mat")
    if file.suffix == ".mat":
        return read_meta(file).tree
    edges = []
    for number, line in enumerate(read_lines(file), 1):
        pair = line.split()
        if len(pair) != 2 or not all(map(_SYNSET.fullmatch, pair)):
            raise FovealError(f"{file}, line {number}: '{line[:40]}' is not two synsets", "a line is: parent child")
        edges.append((pair[0], pair[1]))
    words = file.with_name(WORDS)
    return Wordnet(edges, read_words(words) if words.is_file() else {})


def read_words(file: Path) -> dict[str, str]:
    """Synset → words, from lines such as `n02084071 dog, domestic dog`, with a space or a tab between."""
    words = {}
    for number, line in enumerate(read_lines(file), 1):
        synset, _, text = line.replace("\t", " ", 1).partition(" ")
        if not _SYNSET.fullmatch(synset) or not text.strip():
            raise FovealError(f"{file}, line {number}: '{line[:40]}' is not a synset and its words", "mend the line")
        words[synset] = text.strip()
    return words


def read_meta(file: Path) -> Meta:
    """The challenge's meta.mat: an array `synsets` with ILSVRC20.._ID, WNID, words and children (numbers)."""
    from scipy.io import loadmat  # comes with scikit-learn; half a second, only for who has this file

    try:
        rows: list[dict[str, Any]] = list(loadmat(file, variable_names=["synsets"], simplify_cells=True)["synsets"])
        key = next(name for name in rows[0] if re.fullmatch(r"ILSVRC\d{4}_ID", name))
        numbers = {int(row[key]): str(row["WNID"]) for row in rows}
        words = {str(row["WNID"]): str(row["words"]) for row in rows}
        kinds = {numbers[int(row[key])]: np.atleast_1d(row["children"]).astype(int).tolist() for row in rows}
        edges = [(parent, numbers[child]) for parent, children in kinds.items() for child in children]
    except Exception as error:  # whatever scipy and the fields of another file raise
        raise FovealError(
            f"{file}: is not the challenge's table of synsets ({error})", "take it from the devkit"
        ) from error
    return Meta(Wordnet(edges, words), words, numbers)


def kinds(confusion: Tensor, classes: Sequence[str], tree: Wordnet) -> list[Kind]:
    """Mistakes by ancestor: every kind in the tree that two or more of the classes are of, widest first.

    confusion: int64 [classes, classes], true class by row. classes: their names, which must hold their synsets. Of
    kinds with the same classes the nearest stands for all. FovealError for a class without synset or not in the tree.
    """
    synsets = []
    for name in classes:
        synset = synset_of(name)
        if synset is None:
            raise FovealError(f"class '{name}' names no synset", "call classes as 'tench (n01440764)', or n01440764")
        synsets.append(synset)
    lines = [tree.ancestors(synset) for synset in synsets]
    nodes = sorted(set().union(*lines), key=lambda node: (tree.count(node), node)) if lines else []
    member = np.array([[node in line for line in lines] for node in nodes], dtype=np.int64).reshape(len(nodes), -1)
    kept: dict[bytes, int] = {}
    for number, row in enumerate(member):  # nearest first
        if row.sum() > 1:
            kept.setdefault(row.tobytes(), number)
    chosen = list(kept.values())
    member, nodes = member[chosen], [nodes[number] for number in chosen]
    counts = confusion.numpy().astype(np.int64)
    wrong = counts - np.diag(counts.diagonal())
    within = ((member @ wrong) * member).sum(1)
    nearest = np.zeros(len(nodes), dtype=np.int64)
    for true, taken in np.argwhere(wrong):
        shared = np.flatnonzero(member[:, true] & member[:, taken])
        if len(shared):  # two trees share nothing
            nearest[shared[0]] += wrong[true, taken]  # the smallest subtree first
    images, mistakes = member @ counts.sum(1), member @ wrong.sum(1)
    found = [
        Kind(node, tree.name(node), *(int(value) for value in values))
        for node, *values in zip(nodes, member.sum(1), images, mistakes, within, nearest, strict=True)
    ]
    return sorted(found, key=lambda kind: (-kind.classes, kind.synset))
