"""The doctor finds every seeded fault, and calls a healthy set healthy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from foveal.data.ailments import _one_letter_apart, _plain
from foveal.data.doctor import Diagnosis, diagnose
from foveal.errors import FovealError


def tiles(number: int) -> list[Image.Image]:
    """Different lively tiles, 72 × 72, of one of two photographs (0 or 1)."""
    photo = load_sample_images().images[number]
    cut = [photo[y : y + 72, x : x + 72] for y in range(0, 355, 36) for x in range(0, 568, 36)]
    return [Image.fromarray(tile) for tile in cut if tile.std() > 35]


def healthy(root: Path) -> dict[str, list[Image.Image]]:
    """Two classes in train and test, 12 and 10 images, no two alike; the tiles that are left over."""
    left = {}
    for number, name in enumerate(("temple", "dahlia")):
        every_other = tiles(number)[::3]  # neighbours overlap by half
        assert len(every_other) > 30
        for split, part in (("train", every_other[:12]), ("test", every_other[12:22])):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i, tile in enumerate(part):
                tile.save(folder / f"{i}.png")
        left[name] = every_other[22:]
    return left


def kinds(diagnosis: Diagnosis) -> set[str]:
    return {finding.kind for finding in diagnosis.findings}


def places(diagnosis: Diagnosis, kind: str) -> str:
    """All places of the findings of a kind; the test fails when there is none."""
    found = [finding for finding in diagnosis.findings if finding.kind == kind]
    assert found, f"no finding '{kind}' among {kinds(diagnosis)}"
    assert all(finding.mend for finding in found)
    return "\n".join(place for finding in found for place in (finding.what, *finding.places))


def corrupt(root: Path) -> None:
    (root / "train/temple/0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))


def truncated(root: Path) -> None:
    file = root / "train/temple/1.png"
    file.write_bytes(file.read_bytes()[:3000])


def empty_file(root: Path) -> None:
    (root / "test/dahlia/3.png").write_bytes(b"")


def exact_copy(root: Path) -> None:
    Image.open(root / "train/temple/2.png").save(root / "train/temple/copy.bmp")


def reencoded(root: Path) -> None:
    Image.open(root / "train/dahlia/4.png").save(root / "train/dahlia/again.jpg", quality=70)


def resized(root: Path) -> None:
    Image.open(root / "train/dahlia/5.png").resize((130, 130), Image.Resampling.BICUBIC).save(
        root / "train/dahlia/big.png"
    )


def leaked(root: Path) -> None:
    Image.open(root / "train/temple/6.png").save(root / "test/temple/seen.webp", lossless=True)


def nearly_leaked(root: Path) -> None:
    Image.open(root / "train/temple/7.png").save(root / "test/temple/nearly.jpg", quality=80)


def conflict(root: Path) -> None:
    Image.open(root / "train/temple/8.png").save(root / "train/dahlia/wrong.png")


def near_conflict(root: Path) -> None:
    Image.open(root / "train/temple/9.png").save(root / "train/dahlia/nearly_wrong.jpg", quality=80)


def typo(root: Path) -> None:
    (root / "test/dahlia").rename(root / "test/dalhia")


def plural(root: Path) -> None:
    (root / "test/temple").rename(root / "test/Temples")


def tiny_image(root: Path) -> None:
    Image.open(root / "train/temple/2.png").crop((9, 9, 14, 69)).save(root / "train/temple/sliver.png")


def plain_image(root: Path) -> None:
    Image.new("RGB", (72, 72), (40, 90, 30)).save(root / "train/dahlia/plain.png")


def imbalance(root: Path) -> None:
    for i in range(1, 12):
        (root / f"train/dahlia/{i}.png").unlink()


def empty_class(root: Path) -> None:
    (root / "train/pond").mkdir()


def not_a_picture(root: Path) -> None:
    (root / "train/temple/notes.txt").write_text("hello")


FAULTS: list[tuple[Callable[[Path], None], str, tuple[str, ...]]] = [
    (corrupt, "unreadable", ("train/temple/0.png", "damaged")),
    (truncated, "unreadable", ("train/temple/1.png", "truncated")),
    (empty_file, "unreadable", ("test/dahlia/3.png", "empty")),
    (exact_copy, "duplicate", ("train/temple/2.png = train/temple/copy.bmp",)),
    (reencoded, "near_duplicate", ("train/dahlia/4.png ≈ train/dahlia/again.jpg",)),
    (resized, "near_duplicate", ("train/dahlia/5.png ≈ train/dahlia/big.png",)),
    (leaked, "leak", ("1 image of test", "test/temple/seen.webp = train/temple/6.png")),
    (nearly_leaked, "near_leak", ("1 image of test", "test/temple/nearly.jpg ≈ train/temple/7.png")),
    (conflict, "label_conflict", ("wrong.png ('dahlia')", "train/temple/8.png ('temple')")),
    (near_conflict, "near_label_conflict", ("nearly_wrong.jpg ('dahlia')", "train/temple/9.png ('temple')")),
    (typo, "alike_names", ("'dahlia' (train) and 'dalhia' (test)",)),
    (typo, "missing_class", ("dahlia", "dalhia")),
    (typo, "refused", ("is in test and not in train",)),
    (plural, "alike_names", ("'Temples' (test) and 'temple' (train)",)),
    (tiny_image, "small_image", ("sliver.png: 5 × 60",)),
    (plain_image, "blank_image", ("train/dahlia/plain.png",)),
    (imbalance, "imbalance", ("'temple': 12, 'dahlia': 1",)),
    (imbalance, "tiny_class", ("'dahlia': 1 image",)),
    (empty_class, "empty_class", ("pond",)),
    (empty_class, "refused", ()),
    (not_a_picture, "ignored_files", ("1 file of train",)),
]


def test_a_healthy_set_has_no_finding(tmp_path: Path) -> None:
    healthy(tmp_path)
    found = diagnose(tmp_path)
    assert found.findings == ()
    assert found.healthy
    assert "nothing is wrong" in found.text()
    assert (found.format, found.images, found.classes) == ("folder", 44, ("dahlia", "temple"))
    assert found.counts == {"train": {"dahlia": 12, "temple": 12}, "test": {"dahlia": 10, "temple": 10}}
    assert found.size == dict.fromkeys(("min", "median", "max"), (72.0, 72.0))
    assert (found.sizes, found.channels) == (1, {"grey": 0, "colour": 44})
    assert found.imbalance == {"train": 1.0, "test": 1.0}


def test_a_test_folder_without_class_folders_is_named(tmp_path: Path) -> None:
    healthy(tmp_path)
    for file in sorted((tmp_path / "test").rglob("*.png")):
        file.rename(tmp_path / "test" / f"{file.parent.name}{file.name}")
    for name in ("temple", "dahlia"):
        (tmp_path / "test" / name).rmdir()
    found = diagnose(tmp_path)
    assert "the pictures of test lie in no class folder" in places(found, "flat_split")
    assert list(found.counts) == ["train"]


@pytest.mark.parametrize(
    ("fault", "kind", "words"), FAULTS, ids=[f"{fault.__name__}-{kind}" for fault, kind, _ in FAULTS]
)
def test_each_fault_alone_is_found(
    tmp_path: Path, fault: Callable[[Path], None], kind: str, words: tuple[str, ...]
) -> None:
    healthy(tmp_path)
    fault(tmp_path)
    shown = places(diagnose(tmp_path), kind)
    for word in words:
        assert word in shown


def test_all_faults_together_are_found(tmp_path: Path) -> None:
    healthy(tmp_path)
    together = [case for case in FAULTS if case[0] not in (imbalance, plural)]
    for fault in dict.fromkeys(fault for fault, _, _ in together):
        if fault is not typo:
            fault(tmp_path)
    typo(tmp_path)
    found = diagnose(tmp_path)
    for _, kind, words in together:  # the typo has renamed test/dahlia, and several copies now have the same original
        shown = places(found, kind).replace("test/dalhia", "test/dahlia").replace("1 image of", "2 images of")
        for word in words:
            assert word.replace("1 image of", "2 images of") in shown
    assert found.unreadable == 3
    assert not found.healthy
    order = ("error", "warning", "note")
    severities = [order.index(finding.severity) for finding in found.findings]
    assert severities == sorted(severities)
    assert max(map(len, found.text().splitlines())) <= 100


def test_numbers_of_duplicates_count_images_once(tmp_path: Path) -> None:
    healthy(tmp_path)
    exact_copy(tmp_path)
    leaked(tmp_path)
    Image.open(tmp_path / "train/temple/6.png").save(tmp_path / "test/temple/seen_again.png")
    nearly_leaked(tmp_path)
    found = diagnose(tmp_path).duplicates
    assert found["exact_groups"] == 2
    assert found["exact_copies"] == 3
    assert found["near_pairs"] == 1
    assert found["leaked"] == {"test": 3}


def test_without_near_only_equal_pixels_count(tmp_path: Path) -> None:
    healthy(tmp_path)
    exact_copy(tmp_path)
    reencoded(tmp_path)
    found = diagnose(tmp_path, near=False)
    assert kinds(found) == {"duplicate"}
    assert found.duplicates["near_pairs"] is None
    assert "not looked for" in found.text()


def test_one_class_and_uncut_sets_are_diagnosed(tmp_path: Path) -> None:
    left = healthy(tmp_path / "whole")
    for i, tile in enumerate(left["temple"][:2]):
        (tmp_path / "one/temple").mkdir(parents=True, exist_ok=True)
        tile.save(tmp_path / f"one/temple/{i}.png")
    found = diagnose(tmp_path / "one")
    assert {"refused", "one_class", "tiny_class"} <= kinds(found)
    assert found.counts == {"all": {"temple": 2}}


def test_a_table_is_diagnosed_too(tmp_path: Path) -> None:
    healthy(tmp_path)
    rows = [
        f"{file.relative_to(tmp_path)},{file.parent.name},{file.parts[-3]}" for file in sorted(tmp_path.rglob("*.png"))
    ]
    table = tmp_path / "list.csv"
    table.write_text("\n".join(["path,label,split", *rows]))
    assert diagnose(table).findings == ()
    table.write_text("\n".join(["path,label,split", *rows]).replace(",dahlia,test", ",dahlias,test"))
    assert {"refused", "missing_class", "alike_names"} <= kinds(diagnose(table))


def test_json_is_plain_and_complete(tmp_path: Path) -> None:
    healthy(tmp_path)
    leaked(tmp_path)
    told = diagnose(tmp_path).as_json()
    assert json.loads(json.dumps(told)) == told
    assert told["splits"]["train"] == {"images": 24, "imbalance": 1.0, "classes": {"dahlia": 12, "temple": 12}}
    assert told["size"]["distinct"] == 1
    assert told["duplicates"]["leaked"] == {"test": 1}
    assert set(told["findings"][0]) == {"kind", "severity", "what", "places", "mend"}


def test_the_text_fits_whatever_the_names(tmp_path: Path) -> None:
    for i in range(30):
        folder = tmp_path / ("a long name of a class, " * 6 + str(i))
        folder.mkdir()
        for j in range(4):
            Image.fromarray(np.random.default_rng(100 * i + j).integers(0, 256, (16, 16, 3), np.uint8)).save(
                folder / f"{j}.png"
            )
    text = diagnose(tmp_path).text()
    assert max(map(len, text.splitlines())) <= 100
    assert "10 more classes" in text


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    healthy(tmp_path)
    corrupt(tmp_path)
    calls: list[tuple[int, int]] = []
    diagnose(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(24, 44), (44, 44)]


def test_the_embedded_digits_have_no_fault() -> None:
    found = diagnose("digits")
    assert found.healthy
    assert found.images == 1797
    assert found.duplicates["exact_groups"] == 0
    assert found.duplicates["near_pairs"] <= 1


def test_nothing_to_diagnose_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="no such file"):
        diagnose(tmp_path / "missing")
    with pytest.raises(FovealError, match="empty"):
        diagnose(tmp_path)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Cat", "cat", True),
        ("cats", "cat", True),
        ("polar bear", "polar_bear", True),
        ("berries", "berry", True),
        ("boxes", "box", True),
        ("glass", "glas", False),
        ("3", "8", False),
    ],
)
def test_spellings_of_one_name(a: str, b: str, same: bool) -> None:
    assert (_plain(a) == _plain(b)) is same


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        ("dahlia", "dalhia", True),
        ("truck", "truk", True),
        ("horse", "hores", True),
        ("house", "mouse", True),
        ("cat", "car", False),
        ("class1", "class2", False),
        ("class1", "class12", False),
        ("deer", "beetle", False),
    ],
)
def test_one_letter(a: str, b: str, apart: bool) -> None:
    assert _one_letter_apart(a, b) is _one_letter_apart(b, a) is apart
