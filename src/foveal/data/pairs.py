"""Pairs of images for verification: those of a list in LFW's form, or drawn from any set with a class per identity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foveal.data.dataset import FileSet, ImageSet
from foveal.data.image import SUFFIXES
from foveal.errors import FovealError


@dataclass(frozen=True)
class Pairs:
    """Numbers of images in a set, `left` and `right` int64 [N]; whether they are of one identity, `same` bool [N]; and
    the fold of each pair, `folds` int64 [N]. `note` says how they were made."""

    left: Tensor
    right: Tensor
    same: Tensor
    folds: Tensor
    note: str

    def __len__(self) -> int:
        return len(self.left)


def draw_pairs(images: ImageSet, *, folds: int = 10, each: int = 300, seed: int = 0) -> Pairs:
    """In each fold `each` pairs of one identity and as many of two, as LFW's list has them: no image is in two folds.

    Where there are at least two identities a fold, folds share no identity either, as in LFW; with fewer the images of
    each identity are divided among the folds, and the note says so. Identities are drawn evenly. Raises FovealError
    where a fold would have no pair of either kind.
    """
    if folds < 2 or each < 1:
        raise FovealError(f"folds={folds}, each={each}: no protocol", "give two folds or more, and a pair or more each")
    random = np.random.RandomState(seed)
    parts, apart = _divided(images, folds, random)
    left, right = [], []
    for fold, part in enumerate(parts):
        twice = [members for members in part if len(members) > 1]
        if not twice or len(part) < 2:
            raise FovealError(
                f"fold {fold + 1} of {folds} has {len(part)} identities, {len(twice)} of them with two images",
                "give more images, or fewer folds",
            )
        for _ in range(each):
            own = twice[random.randint(len(twice))]
            first, second = random.choice(len(own), 2, replace=False)
            left.append(own[first])
            right.append(own[second])
        for _ in range(each):
            one, other = random.choice(len(part), 2, replace=False)
            left.append(part[one][random.randint(len(part[one]))])
            right.append(part[other][random.randint(len(part[other]))])
    kinds = torch.tensor([True] * each + [False] * each).repeat(folds)
    shared = "no identity in two folds" if apart else "folds share identities, but no image"
    note = f"{folds} folds of {each} + {each} pairs drawn with seed {seed}: {shared}"
    return Pairs(torch.tensor(left), torch.tensor(right), kinds, torch.arange(folds).repeat_interleave(2 * each), note)


def read_pairs(file: str | Path, root: str | Path) -> tuple[FileSet, Pairs]:
    """LFW's pairs.txt and the images that it names, NAME/NAME_0001.jpg below `root`.

    The first line is the number of folds and of pairs of each kind in a fold (one number alone: of one fold); a pair of
    one person is «name n m», of two «name n name m», with tabs between. Raises FovealError that names the line.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FovealError(f"{file} cannot be read: {error}", "give LFW's pairs.txt") from error
    head = lines[0].split() if lines else []
    if not head or len(head) > 2 or not all(word.isdigit() for word in head):
        raise FovealError(f"{file}: line 1 is not «folds pairs»", "give a list in the form of LFW's pairs.txt")
    folds, each = (int(head[0]), int(head[1])) if len(head) == 2 else (1, int(head[0]))
    body = [(number, line) for number, line in enumerate(lines[1:], 2) if line.strip()]
    if len(body) != 2 * folds * each:
        raise FovealError(f"{file} has {len(body)} pairs, and its first line says {2 * folds * each}", "restore it")
    paths: dict[str, int] = {}
    people: dict[str, int] = {}
    labels: list[int] = []
    ends: list[tuple[int, int]] = []
    for place, (number, line) in enumerate(body):
        same = place % (2 * each) < each
        pair = []
        for name, index in _named(line, same, f"{file}, line {number}"):
            path = _picture(Path(root), name, index, f"{file}, line {number}")
            if path not in paths:
                paths[path] = len(paths)
                labels.append(people.setdefault(name, len(people)))
            pair.append(paths[path])
        ends.append((pair[0], pair[1]))
    images = FileSet(list(paths), torch.tensor(labels), list(people), "pairs")
    both = torch.tensor(ends)
    number_of = torch.arange(folds).repeat_interleave(2 * each)
    kinds = torch.tensor([True] * each + [False] * each).repeat(folds)
    return images, Pairs(both[:, 0], both[:, 1], kinds, number_of, f"{folds} folds of {each} + {each} pairs of {file}")


def _divided(images: ImageSet, folds: int, random: np.random.RandomState) -> tuple[list[list[list[int]]], bool]:
    """Per fold its identities' images, and whether folds share no identity."""
    members = [(images.labels == label).nonzero().flatten().numpy() for label in range(len(images.classes))]
    shuffled = [random.permutation(own) for own in members if len(own)]
    if len(shuffled) >= 2 * folds:
        order = random.permutation(len(shuffled))
        return [[shuffled[i].tolist() for i in order[fold::folds]] for fold in range(folds)], True
    parts = [[own[fold::folds].tolist() for own in shuffled] for fold in range(folds)]
    return [[own for own in part if own] for part in parts], False


def _named(line: str, same: bool, place: str) -> list[tuple[str, int]]:
    words = line.split("\t") if "\t" in line else line.split()
    if len(words) != (3 if same else 4) or not all(
        word.strip().isdigit() for word in (words[1:] if same else words[1::2])
    ):
        wanted = "«name n m», a pair of one person" if same else "«name n name m», a pair of two"
        raise FovealError(f"{place}: '{line[:60]}' is not {wanted}", "restore it from a copy")
    if same:
        return [(words[0], int(words[1])), (words[0], int(words[2]))]
    return [(words[0], int(words[1])), (words[2], int(words[3]))]


def _picture(root: Path, name: str, number: int, place: str) -> str:
    if Path(name).name != name:
        raise FovealError(f"{place}: '{name}' is no folder's name", "restore it from a copy")
    for suffix in SUFFIXES:
        path = root / name / f"{name}_{number:04d}{suffix}"
        if path.is_file():
            return str(path)
    raise FovealError(
        f"{place}: {root / name / name}_{number:04d} is not there", "give the folder of the people: data=DIR"
    )
