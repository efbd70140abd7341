"""Pairs for verification and faces brought to one place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from foveal.data.align import FIVE, align, similarity
from foveal.data.dataset import ArraySet
from foveal.data.pairs import draw_pairs, read_pairs
from foveal.errors import FovealError


def images(identities: int, each: int) -> ArraySet:
    labels = torch.arange(identities).repeat_interleave(each)
    names = [f"p{i}" for i in range(identities)]
    return ArraySet(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels, names, "test")


@pytest.mark.parametrize(("identities", "each"), [(3, 40), (25, 4)])
def test_drawn_pairs(identities: int, each: int) -> None:
    people = images(identities, each)
    pairs = draw_pairs(people, folds=5, each=20, seed=1)
    assert len(pairs) == 200 and int(pairs.same.sum()) == 100
    assert (people.labels[pairs.left] == people.labels[pairs.right]).equal(pairs.same)
    assert not bool((pairs.left == pairs.right).any())
    used = [set(torch.cat((pairs.left, pairs.right))[(pairs.folds == f).repeat(2)].tolist()) for f in range(5)]
    assert sum(map(len, used)) == len(set.union(*used))
    who = [set(people.labels[list(numbers)].tolist()) for numbers in used]
    apart = sum(map(len, who)) == len(set.union(*who))
    assert apart == (identities >= 10) and ("share identities" in pairs.note) != apart
    assert draw_pairs(people, folds=5, each=20, seed=1).left.equal(pairs.left)
    assert not draw_pairs(people, folds=5, each=20, seed=2).left.equal(pairs.left)


def test_too_few_images_for_the_folds() -> None:
    with pytest.raises(FovealError, match="0 of them with two images"):
        draw_pairs(images(3, 5), folds=5, each=2)


def lfw(root: Path, text: str) -> Path:
    for name, count in (("Ada", 3), ("Bo_Li", 1), ("Cy", 2)):
        (root / name).mkdir(exist_ok=True)
        for i in range(1, count + 1):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(root / name / f"{name}_{i:04d}.jpg")
    (root / "pairs.txt").write_text(text)
    return root / "pairs.txt"


def test_a_list_in_the_form_of_lfw(tmp_path: Path) -> None:
    file = lfw(tmp_path, "2\t1\nAda\t1\t3\nAda\t2\tBo_Li\t1\nCy\t1\t2\nCy\t2\tAda\t1\n")
    found, pairs = read_pairs(file, tmp_path)
    assert found.classes == ("Ada", "Bo_Li", "Cy") and len(found) == 6
    assert pairs.same.tolist() == [True, False, True, False] and pairs.folds.tolist() == [0, 0, 1, 1]
    assert Path(found.paths[int(pairs.right[0])]).name == "Ada_0003.jpg"
    assert Path(found.paths[int(pairs.right[1])]).name == "Bo_Li_0001.jpg"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pairs\n", "line 1 is not"),
        ("1\t1\nAda\t1\t3\n", "has 1 pairs, and its first line says 2"),
        ("1\t1\nAda\t1\nCy\t2\tAda\t1\n", "line 2: 'Ada\t1' is not «name n m»"),
        ("1\t1\nAda\t1\t9\nCy\t2\tAda\t1\n", "Ada_0009 is not there"),
        ("1\t1\n../Ada\t1\t2\nCy\t2\tAda\t1\n", "is no folder's name"),
    ],
)
def test_a_list_that_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(FovealError) as caught:
        read_pairs(lfw(tmp_path, text), tmp_path)
    assert said in str(caught.value)


def test_a_similarity_is_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(6, 2, generator=generator, dtype=torch.float64) * 50
    angle, scale = torch.tensor(0.7, dtype=torch.float64), 1.7
    turn = scale * torch.stack((torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos()))))
    shift = torch.tensor([3.0, -8.0], dtype=torch.float64)
    torch.testing.assert_close(similarity(points, points @ turn.T + shift), torch.cat((turn, shift[:, None]), 1))


def test_never_a_mirror() -> None:
    points = torch.tensor([[0.0, 0], [1, 0], [0, 2], [3, 1]])
    found = similarity(points, points * torch.tensor([-1.0, 1.0]))
    assert float(torch.linalg.det(found[:, :2])) > 0


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (torch.ones(5, 2), "coincide"),
        (torch.full((5, 2), torch.nan), "finite"),
        (torch.rand(3, 2), "landmarks of shape"),
    ],
)
def test_landmarks_that_tell_nothing(points: torch.Tensor, said: str) -> None:
    with pytest.raises(FovealError, match=said):
        similarity(points, torch.tensor(FIVE))


def test_a_face_comes_to_its_anchors() -> None:
    image = torch.zeros(1, 60, 80, dtype=torch.uint8)
    landmarks = torch.tensor([[30.5, 20.5], [46.5, 24.5], [36.5, 32.5], [28.5, 36.5], [42.5, 40.5]])
    for x, y in landmarks:
        image[0, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 255
    there = similarity(landmarks, torch.tensor(FIVE) * 64)
    face = align(image, landmarks, 64)
    assert face.shape == (1, 64, 64) and face.dtype == torch.uint8
    moved = torch.cat((landmarks.double(), torch.ones(5, 1)), 1) @ there.T
    assert all(face[0, int(y), int(x)] > 200 for x, y in moved)
