"""Every network of the catalogue keeps the rules: in full where that is cheap, on the meta device where it is not."""

from __future__ import annotations

import pytest

from foveal import catalog
from foveal.contracts import check_model

SMALL = 150e6  # multiply-adds of one image that two cores compute in no time


SLIDING = {  # networks for segmentation and detection that take small images as well, those with fewest weights
    "fcnn": (3, 24, 32),
    "linknet": (3, 33, 40),
    "gridnet": (3, 32, 40),
    "tiramisu56": (3, 32, 40),
    "segnet": (3, 32, 40),
    "patch_classifier": (1, 10, 12),
    "ssd_resnet": (3, 64, 96),
    "sliding_window": (3, 96, 128),
    "fcn_detector": (3, 64, 96),
}


def smaller_input(name: str) -> tuple[int, int, int] | None:
    """An image on which a residual network, which pools over the whole grid, costs next to nothing."""
    if name in SLIDING:
        return SLIDING[name]
    facts = catalog.facts(name)
    if facts is None or not name.startswith(("resnet", "plain")):
        return None
    return (3, 64, 64) if facts.input[1] == 224 else (3, 8, 8)


@pytest.mark.parametrize("name", catalog.names("model"))
def test_rules_of_the_house(name: str) -> None:
    facts, input = catalog.facts(name), smaller_input(name)
    detector = catalog.entries("model")[name].module.startswith("foveal.models.detect")
    in_full = input is not None or facts is None or (not detector and (facts.macs or 0) < SMALL)
    report = check_model(name, input, numerics=in_full)
    assert report.passed, report.text()
    skipped = {check.name for check in report.checks if check.verdict == "skipped"}
    if in_full:
        assert skipped <= {"published facts"}, report.text()
    assert "published facts" not in skipped or facts is None


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in catalog.names("model") if name.startswith(("alexnet", "vgg"))])
def test_largest_networks_in_full(name: str) -> None:
    report = check_model(name)
    assert report.passed, report.text()
