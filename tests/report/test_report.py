"""The report: complete, small, self-contained, well-formed, and safe against the names it shows."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from foveal import experiment
from foveal.evaluation import evaluate
from foveal.report import LIMIT, charts, write_report
from foveal.report.html import escape, tag
from foveal.report.mistakes import mistakes
from foveal.report.pictures import per_class
from foveal.training.run import Run

_VOID = {"meta", "img", "br", "link"}


class _Outline(HTMLParser):
    """Checks that elements close in order and gathers what matters."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.ids += [named["id"]] if named.get("id") else []
        self.links += [value for key in ("src", "href", "xlink:href") if (value := named.get(key))]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _outline(page: str) -> _Outline:
    parser = _Outline()
    parser.feed(page)
    assert not parser.open
    return parser


def test_the_page_is_complete_and_stands_alone(run: Run) -> None:
    found = evaluate(run)
    file = write_report(run)
    assert file == run.path / "report.html"
    assert file.stat().st_size < LIMIT
    page = file.read_text(encoding="utf-8")
    outline = _outline(page)
    text = " ".join(outline.text)
    assert "script" not in outline.tags
    assert all(link.startswith(("data:", "#")) for link in outline.links), "nothing is fetched"
    assert not re.search(r"url\((?!#)|@import", page)
    assert len(outline.ids) == len(set(outline.ids))
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)
    parts = {"course", "data", "confusion", "calibration", "classes", "mistakes", "filters", "architecture", "record"}
    assert parts <= set(outline.ids)
    for said in (
        f"{found.top1_error:.2f} %",
        "mlp on photos",
        "red & co",
        "24 test images",
        "receptive field",
        "SHA-256",
    ):
        assert said in text
    assert str(run.environment["command"]) in text
    assert "&amp; co" in page
    assert "& co<" not in page
    assert outline.tags.count("img") >= 18, "samples of each class and the filters"
    assert outline.tags.count("svg") >= 5


def test_the_same_run_gives_the_same_page(run: Run) -> None:
    evaluate(run)
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_without_an_evaluation_the_page_says_so(run: Run) -> None:
    outline = _outline(write_report(run).read_text(encoding="utf-8"))
    assert "foveal evaluate" in " ".join(outline.text)
    assert "confusion" not in outline.ids


def test_without_the_pictures_the_page_says_so(run: Run, tmp_path: Path) -> None:
    moved = shutil.copytree(run.recipe.data, tmp_path / "moved")
    run.recipe = run.recipe.with_settings(data=str(moved))
    evaluate(run)
    shutil.rmtree(moved)
    outline = _outline(write_report(run).read_text(encoding="utf-8"))
    assert "there is no such file or folder" in " ".join(outline.text)
    assert "mistakes" in outline.ids


def test_a_small_confusion_matrix_has_room_for_its_axes_names() -> None:
    chart = charts.confusion([[1, 2], [0, 3]], ["a", "b"])
    width, font = (float(re.search(pattern, chart)[1]) for pattern in (r'viewBox="0 0 (\d+)', r'font-size="([\d.]+)"'))
    name = re.search(r'<text x="([\d.]+)"[^>]*>(predicted[^<]*)<', chart)
    assert name
    assert float(name[1]) + 0.6 * font * len(name[2]) < width


def test_names_cannot_become_markup() -> None:
    assert escape("<img onerror='x' src=\"y\">") == "&lt;img onerror=&#x27;x&#x27; src=&quot;y&quot;&gt;"
    assert tag("td", escape("a<b"), title='"><script>') == '<td title="&quot;&gt;&lt;script&gt;">a&lt;b</td>'
    chart = charts.confusion([[1, 2], [0, 3]], ["<script>", "b"])
    assert "<script>" not in chart


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_confusion_matrix_draws_every_count(classes: int) -> None:
    table = torch.randint(0, 3, (classes, classes))
    svg = charts.confusion(table.tolist(), [f"class {i}" for i in range(classes)])
    outline = _outline(svg)
    assert outline.tags.count("title") == int((table > 0).sum())
    assert len(svg) < 2_500_000


def test_curves_are_small_and_follow_the_pages_colours() -> None:
    points = list(range(100_000))
    svg = charts.curves(
        "loss", [charts.Curve("training", points, [float(p % 97) for p in points])], x="updates", y="loss"
    )
    assert len(svg) < 40_000
    assert "var(--accent)" in svg
    assert not re.search(r"#0102\d\d", svg)
    assert ">updates<" in svg, "text stays text"


def test_samples_are_spread_over_each_class() -> None:
    labels = torch.tensor([0] * 10 + [1] * 3)
    assert per_class(labels, 3, 5) == [[0, 2, 4, 6, 8], [10, 11, 12], []]


def test_without_a_test_split_the_validation_split_is_measured_and_shown(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "photos"
    shutil.copytree(Path(run.recipe.data) / "train", data / "train")
    recipe = run.recipe.with_settings(data=str(data), length=1, lr=1e-6)
    trained, evaluation = experiment.train(recipe, out=tmp_path / "held")
    assert evaluation is not None
    assert (evaluation.split, evaluation.images) == ("val", 6)
    assert evaluation.top1_error > 0, "there must be mistakes to show"
    page = (trained.path / "report.html").read_text(encoding="utf-8")
    assert "no longer in the set" not in page
    assert evaluate(trained, split="val") == evaluation


def test_of_many_unreadable_files_the_first_are_listed(run: Run) -> None:
    found = evaluate(run)
    skipped = tuple((f"{i}.png", "the file is empty") for i in range(60))
    page = mistakes(replace(found, skipped=skipped), ["x"] * found.images, None)
    assert "Unreadable images: 60, the first 50" in page
    assert page.count("the file is empty") == 50
