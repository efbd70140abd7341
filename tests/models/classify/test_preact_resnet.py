"""Pre-activation residual networks: depth, what stands where, and what their identity means."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from foveal.contracts import check_model
from foveal.errors import FovealError
from foveal.graph.count import count
from foveal.models import create
from foveal.models.classify.preact_resnet import FACTS, IdentityUnit


def on_meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return create(name, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FACTS)
def test_depth_is_the_number_in_the_name(name: str) -> None:
    layers = [path for path, m in on_meta(name).named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum("shortcut" not in path for path in layers) == int(re.sub(r"\D", "", name))


@pytest.mark.parametrize("name", ["preact_resnet110", "preact_resnet164", "preact_resnet1001"])
def test_weights_round_to_the_papers_millions(name: str) -> None:
    layers = [m for m in on_meta(name).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    weights = sum(p.numel() for layer in layers for p in layer.parameters())
    assert round(weights / 1e6, 1) == FACTS[name].published["weights_in_millions"]


def test_published_errors() -> None:
    assert [FACTS[f"preact_resnet{depth}"].top1_error for depth in (110, 164, 1001)] == [6.37, 5.46, 4.92]


@pytest.mark.parametrize("name", ["preact_resnet110", "preact_resnet164", "preact_resnet50", "preact_resnet18"])
def test_every_convolution_but_the_first_reads_an_activation(name: str) -> None:
    """And no unit ends in one: what is added goes on as it is."""
    model = on_meta(name)
    order: dict[str, str] = {}
    for path, unit in model.named_children():
        if not path.startswith("conv") or path == "conv1":
            continue
        active = not isinstance(unit, IdentityUnit) or path == "conv2_1"
        leaves = list(unit.get_submodule("residual").children())
        expected = [nn.BatchNorm2d, nn.ReLU, nn.Conv2d] * (sum(isinstance(m, nn.Conv2d) for m in leaves))
        assert [type(m) for m in leaves] == (expected[2:] if active else expected)
        if not isinstance(unit, IdentityUnit):
            order[path] = type(unit.get_submodule("activation")).__name__
    first = {"conv2_1": "Identity"} if name not in ("preact_resnet110", "preact_resnet18") else {}
    stages = 4 if name in ("preact_resnet50", "preact_resnet18") else 3
    assert order == first | {f"conv{stage}_1": "Sequential" for stage in range(3, stages + 2)}
    names = [path for path, _ in model.named_children()]
    assert names[:3] == ["conv1", "bn1", "relu1"]
    assert names[-5:] == ["bn_last", "relu_last", "avgpool", "flatten", "fc"]


def test_a_stage_is_its_input_and_the_sum_of_its_residuals() -> None:
    """Equation 4."""
    torch.manual_seed(0)
    model = create("preact_resnet164").eval()
    units = [m for path, m in model.named_children() if path.startswith("conv3_")][1:]
    residuals: list[Tensor] = []
    for unit in units:
        unit.get_submodule("residual").register_forward_hook(lambda m, i, out: residuals.append(out))
    x = torch.randn(1, 128, 4, 4)
    with torch.inference_mode():
        y = nn.Sequential(*units)(x)
    assert len(residuals) == 17
    torch.testing.assert_close(y, x + sum(residuals), rtol=1e-4, atol=1e-4)


def test_versions_differ_in_strides_alone() -> None:
    first, later = on_meta("preact_resnet50", version="1"), on_meta("preact_resnet50")
    assert {k: v.shape for k, v in first.state_dict().items()} == {k: v.shape for k, v in later.state_dict().items()}
    assert count(first, (3, 224, 224)).macs < count(later, (3, 224, 224)).macs
    assert first.get_submodule("conv3_1.residual.conv1").stride == (2, 2)
    assert later.get_submodule("conv3_1.residual.conv2").stride == (2, 2)
    with pytest.raises(FovealError, match="unknown version of ResNet '2'"):
        on_meta("preact_resnet50", version="2")


@pytest.mark.parametrize(("name", "side"), [("preact_resnet110", 8), ("preact_resnet164", 8), ("preact_resnet50", 32)])
def test_contract_in_full_on_a_small_image(name: str, side: int) -> None:
    report = check_model(name, (3, side, side))
    assert report.passed, report.text()
