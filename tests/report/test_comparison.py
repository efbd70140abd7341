"""The chart of the published figures: which networks, drawn where, and into what."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from foveal import catalog
from foveal.cli.app import app
from foveal.errors import FovealError
from foveal.report.comparison import compare, points


def test_every_published_error_is_a_point() -> None:
    found = {p.name: p for p in points("ImageNet", 5)}
    assert {"alexnet", "googlenet", "vgg16", "resnet152", "densenet121", "overfeat_accurate"} <= set(found)
    assert "resnet18" not in found  # its paper has a top-1 error only
    assert found["vgg16"].accuracy == pytest.approx(91.9)
    for name, point in found.items():
        facts = catalog.facts(name)
        assert facts is not None
        assert (point.macs, point.parameters, point.year) == (facts.macs, facts.parameters, facts.year)


def test_one_point_for_one_network() -> None:
    names = [p.name for p in points("CIFAR-10", 1)]
    assert "densenet40_cifar" in names and "densenet_cifar" not in names  # the same network under two names
    assert "fabric" in names and "msdnet" not in names  # no error is published of the latter


def test_families_are_joined() -> None:
    families = {p.name: p.family for p in points("ImageNet", 5)}
    assert families["resnet50"] == families["resnet152"] != families["plain34"]


def test_draws_png_and_svg(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["models", "--compare", str(tmp_path / "chart.png")])
    assert result.exit_code == 0, result.output
    assert "chart.png" in result.output
    with Image.open(tmp_path / "chart.png") as picture:
        assert picture.width > 1500
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 500
    svg = compare(tmp_path / "chart.svg").read_text(encoding="utf-8")
    assert svg.startswith("<?xml")


def test_mistakes_name_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=r"ends in \.png"):
        compare(tmp_path / "chart.jpg")
    with pytest.raises(FovealError, match="cannot write"):
        compare(tmp_path / "nowhere" / "chart.png")
