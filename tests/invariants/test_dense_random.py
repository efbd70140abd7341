"""Networks that nobody thought of: chains and joins drawn at random are dense exactly, or refused by name."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal import graph
from foveal.errors import FovealError

CHANNELS = 3
KERNELS = st.integers(1, 3)


class Join(nn.Module):
    """Branches side by side: their sum, or their maps one behind the other and mixed again."""

    def __init__(self, branches: list[nn.Module], concatenate: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.mix = nn.Conv2d(CHANNELS * len(branches), CHANNELS, 1) if concatenate else nn.Identity()
        self.concatenate = concatenate

    def forward(self, x: Tensor) -> Tensor:
        results = [branch(x) for branch in self.branches]
        if self.concatenate:
            return self.mix(torch.cat(results, 1))
        total = results[0]
        for result in results[1:]:
            total = total + result
        return self.mix(total)


@st.composite
def windows(draw: st.DrawFn, stride: int | None = None) -> nn.Module:
    kernel = draw(KERNELS)
    stride = stride or draw(st.integers(1, 3))
    padding, dilation = draw(st.integers(0, kernel // 2)), draw(st.integers(1, 2))
    match draw(st.sampled_from(("conv", "conv", "max", "avg", "ceil"))):
        case "conv":
            return nn.Conv2d(CHANNELS, CHANNELS, kernel, stride, padding, dilation, bias=draw(st.booleans()))
        case "max":
            return nn.MaxPool2d(kernel, stride, padding)
        case "avg":
            return nn.AvgPool2d(kernel, stride, padding, count_include_pad=draw(st.booleans()))
    kind = draw(st.sampled_from((nn.MaxPool2d, nn.AvgPool2d)))
    return kind(kernel, stride, ceil_mode=True)


@st.composite
def sides(draw: st.DrawFn) -> nn.Module:
    """Branches that keep the size, or halve it, each in its own way."""
    stride = draw(st.integers(1, 2))
    ways: list[nn.Module] = [
        nn.Conv2d(CHANNELS, CHANNELS, 3, stride, 1),
        nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 5, stride, 2)),
        nn.Conv2d(CHANNELS, CHANNELS, 1, stride),
        nn.MaxPool2d(3, stride, 1),
        nn.AvgPool2d(3, stride, 1, count_include_pad=False),
        nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1), nn.BatchNorm2d(CHANNELS), nn.MaxPool2d(3, stride, 1)),
    ]
    chosen = draw(st.lists(st.sampled_from(ways), min_size=2, max_size=3, unique_by=id))
    return Join(chosen, draw(st.booleans()))


LAYERS = st.one_of(
    windows(), windows(), sides(), st.builds(nn.ReLU), st.builds(nn.Tanh),
    st.just(CHANNELS).map(nn.BatchNorm2d), st.just(3).map(nn.LocalResponseNorm),
)  # fmt: skip


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, int, int]]:
    layers = draw(st.lists(LAYERS, min_size=2, max_size=6))
    side = draw(st.integers(12, 20))
    torch.manual_seed(draw(st.integers(0, 99)))
    model = nn.Sequential(*layers)
    input = (CHANNELS, side, side + draw(st.integers(0, 2)))
    try:
        channels, *grid = graph.shapes(model, input)[-1].output
    except FovealError:  # the windows do not fit into it
        model, channels, grid = nn.Sequential(nn.ReLU()), CHANNELS, list(input[1:])
    if draw(st.booleans()):
        tail: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2)]
    else:
        tail = [nn.Flatten(), nn.Dropout(), nn.Linear(channels * grid[0] * grid[1], 2)]
    model = nn.Sequential(*model, *tail).double().eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.running_mean)
    return model, input


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks(), st.integers(1, 4), st.integers(0, 5), st.integers(0, 5))
def test_any_network_is_patch_by_patch(
    network: tuple[nn.Module, tuple[int, int, int]], stride: int, down: int, right: int
) -> None:
    model, input = network
    _, height, width = input
    images = torch.randn(1, CHANNELS, height + down, width + right, dtype=torch.float64)
    found = graph.slide(model, images, input, stride)
    assert found.shape == (1, 2, down // stride + 1, right // stride + 1)
    rows, columns = range(0, down + 1, stride), range(0, right + 1, stride)
    patches = torch.cat([images[..., i : i + height, j : j + width] for i in rows for j in columns])
    expected = model(patches)
    dense = found[0].flatten(1).T
    assert (dense - expected).detach().abs().max() <= 1e-10
    error = torch.randn_like(expected) * (torch.rand_like(expected) < 0.5)
    weights = list(model.parameters())
    gradients = zip(
        torch.autograd.grad(expected, weights, error), torch.autograd.grad(dense, weights, error), strict=True
    )
    assert all((a - b).abs().max() <= 1e-9 * a.abs().max().clamp(min=1) for a, b in gradients)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks(), st.integers(0, 9), st.integers(0, 9))
def test_any_network_sub_sampled_is_itself(
    network: tuple[nn.Module, tuple[int, int, int]], down: int, right: int
) -> None:
    model, input = network
    sliding = graph.convolutionalize(model, input)
    images = torch.randn(1, CHANNELS, input[1] + down, input[2] + right, dtype=torch.float64)
    expected = sliding(images)
    own = graph.receptive_field(sliding, input)[graph.shapes(sliding, input)[-1].path].stride
    try:
        sparse = graph.dilate(sliding)
    except FovealError as error:
        assert "rounds up" in error.what  # windows with gaps between them
        return
    found = sparse(images)[..., :: int(own[0]), :: int(own[1])]
    assert found.shape == expected.shape
    assert (found - expected).detach().abs().max() <= 1e-12 * max(1.0, float(expected.detach().abs().max()))
