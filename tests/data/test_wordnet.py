"""The tree counts, finds ancestors and tells mistakes by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from foveal.data.wordnet import Wordnet, kinds, read_wordnet, synset_of
from foveal.errors import FovealError

# entity ── animal ─┬─ dog ─┬─ hound ─┬─ beagle       pet ── dog, cat: a second parent
#                   │       │         └─ basset
#                   │       └─ poodle
#                   └─ cat
#        └─ artifact ── car
NAMES = ("entity", "animal", "artifact", "pet", "dog", "cat", "hound", "poodle", "beagle", "basset", "car")
S = {name: f"n{number:08d}" for number, name in enumerate(NAMES, 1)}
EDGES = [
    ("entity", "animal"), ("entity", "artifact"), ("animal", "pet"), ("animal", "dog"), ("animal", "cat"),
    ("pet", "dog"), ("pet", "cat"), ("dog", "hound"), ("dog", "poodle"), ("hound", "beagle"), ("hound", "basset"),
    ("artifact", "car"),
]  # fmt: skip
TREE = Wordnet([(S[a], S[b]) for a, b in EDGES], {S[name]: f"{name}, a {name}" for name in NAMES})
CLASSES = tuple(f"{name} ({S[name]})" for name in ("beagle", "basset", "poodle", "cat", "car"))


def files(folder: Path, edges: str = "") -> Path:
    (folder / "wordnet.is_a.txt").write_text(edges or "".join(f"{S[a]} {S[b]}\n" for a, b in EDGES))
    (folder / "words.txt").write_text("".join(f"{S[name]}\t{name}, a {name}\n" for name in NAMES))
    return folder


def test_subtrees_count_each_synset_once() -> None:
    assert {name: TREE.count(S[name]) for name in NAMES} == {
        "entity": 10, "animal": 7, "artifact": 1, "pet": 6, "dog": 4, "cat": 0, "hound": 2,
        "poodle": 0, "beagle": 0, "basset": 0, "car": 0,
    }  # fmt: skip
    assert TREE.roots == (S["entity"],)
    assert TREE.ancestors(S["hound"]) == {S[name] for name in ("hound", "dog", "pet", "animal", "entity")}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("beagle", "basset", "hound"),
        ("beagle", "poodle", "dog"),
        ("beagle", "cat", "pet"),  # not animal: pet is nearer
        ("beagle", "car", "entity"),
        ("beagle", "hound", "hound"),
        ("cat", "cat", "cat"),
    ],
)
def test_nearest_common_ancestor(first: str, second: str, expected: str) -> None:
    assert TREE.common(S[first], S[second]) == TREE.common(S[second], S[first]) == S[expected]


def test_two_trees_share_nothing() -> None:
    forest = Wordnet([("n00000001", "n00000002"), ("n00000003", "n00000004")])
    assert forest.common("n00000002", "n00000004") is None and len(forest.roots) == 2


def test_outline_is_the_browsers() -> None:
    assert TREE.outline(S["entity"], 2).splitlines() == [
        "entity, a entity (10)",
        "  animal, a animal (7)",
        "    pet, a pet (6)",
        "    dog, a dog (4)",
        "    cat, a cat (0)",
        "  artifact, a artifact (1)",
        "    car, a car (0)",
    ]


def test_mistakes_by_ancestor() -> None:
    confusion = torch.tensor(
        [
            [10, 3, 1, 1, 0],  # beagle: three bassets, a poodle, a cat
            [2, 8, 0, 0, 0],
            [0, 0, 9, 0, 1],  # a poodle taken for a car
            [0, 0, 0, 10, 0],
            [0, 0, 0, 2, 8],
        ]
    )
    found = {kind.name.partition(",")[0]: kind for kind in kinds(confusion, CLASSES, TREE)}
    assert list(found) == ["entity", "pet", "dog", "hound"]  # animal has pet's classes, artifact only one
    figures = {name: (k.classes, k.images, k.mistakes, k.within, k.nearest) for name, k in found.items()}
    assert figures == {
        "entity": (5, 55, 10, 10, 3),
        "pet": (4, 45, 8, 7, 1),
        "dog": (3, 35, 8, 6, 1),
        "hound": (2, 25, 7, 5, 5),
    }
    assert found["dog"].share == 75.0
    assert sum(kind.nearest for kind in found.values()) == 10  # each mistake has one nearest ancestor
    perfect = kinds(torch.eye(5, dtype=torch.int64), CLASSES, TREE)
    assert [kind.share for kind in perfect] == [None] * 4


def test_classes_must_name_synsets_of_the_tree() -> None:
    assert synset_of("tench (n01440764)") == synset_of("n01440764") == "n01440764"
    assert synset_of("n0144076") is None and synset_of("tench") is None
    with pytest.raises(FovealError, match="class 'dog' names no synset"):
        kinds(torch.eye(2, dtype=torch.int64), ("dog", "cat"), TREE)
    with pytest.raises(FovealError, match="no synset n99999999"):
        kinds(torch.eye(2, dtype=torch.int64), ("n99999999", S["cat"]), TREE)


def test_reading_imagenets_lists(tmp_path: Path) -> None:
    for path in (files(tmp_path), tmp_path / "wordnet.is_a.txt"):
        tree = read_wordnet(path)
        assert tree.parents == TREE.parents and tree.name(S["dog"]) == "dog, a dog"
    (tmp_path / "words.txt").unlink()
    assert read_wordnet(tmp_path).name(S["dog"]) == S["dog"]


def test_reading_the_challenges_table(tmp_path: Path) -> None:
    number = {name: i for i, name in enumerate(NAMES, 1)}
    children = {name: np.array([number[b] for a, b in EDGES if a == name], int) for name in NAMES}
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("children", "O")]
    rows = np.array([(number[n], S[n], n, children[n]) for n in NAMES], dtype=kind).reshape(-1, 1)
    savemat(tmp_path / "meta.mat", {"synsets": rows})
    tree = read_wordnet(tmp_path)
    assert {k: sorted(v) for k, v in tree.children.items()} == {k: sorted(v) for k, v in TREE.children.items()}
    assert tree.name(S["dog"]) == "dog"


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ("n00000001 n00000002\nn00000002\n", "line 2: 'n00000002' is not two synsets"),
        ("dog hound\n", "line 1: 'dog hound'"),
        ("n00000001 n00000002\nn00000002 n00000001\n", "round a cycle"),
        ("n00000001 n00000001\n", "round a cycle"),
    ],
)
def test_a_bad_list_is_refused(edges: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FovealError) as error:
        read_wordnet(files(tmp_path, edges))
    assert message in str(error.value)


def test_a_missing_list_is_said(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=r"give ImageNet's wordnet\.is_a\.txt"):
        read_wordnet(tmp_path)
