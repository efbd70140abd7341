"""The way back to the pixels, against the layer-by-layer inversion written out, and against gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations import explain
from foveal.explanations._deconvolution import Deconvnet


def by_hand(model: nn.Sequential, image: Tensor, unit: int) -> Tensor:
    """conv3's strongest activation of a unit sent back through the chain, each layer inverted explicitly."""
    conv1, relu1, _, conv2, relu2, _, conv3 = list(model)[:7]
    a1 = relu1(conv1(image))
    p1, switches1 = F.max_pool2d(a1, 2, 2, return_indices=True)
    a2 = relu2(conv2(p1))
    p2, switches2 = F.max_pool2d(a2, 2, 2, return_indices=True)
    maps = conv3(p2)
    signal = torch.zeros_like(maps)
    place = int(maps[0, unit].argmax())
    signal[0, unit].view(-1)[place] = maps[0, unit].max().clamp_min(0)

    def back(conv: Any, x: Tensor) -> Tensor:
        inverse = nn.ConvTranspose2d(conv.out_channels, conv.in_channels, 3, padding=1, bias=False)
        inverse.weight = conv.weight
        return inverse(x)

    x = back(conv3, signal)
    x = F.max_unpool2d(x, switches2, 2, 2)
    x = back(conv2, F.relu(x))
    x = F.max_unpool2d(x, switches1, 2, 2)
    return back(conv1, F.relu(x))


@pytest.mark.parametrize("unit", [0, 3, 7])
def test_equals_the_inversion_written_out(chain: nn.Sequential, unit: int) -> None:
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(unit))
    with torch.no_grad():
        expected = by_hand(chain, image, unit)
    found = explain("deconvnet", chain, image[0], layer="conv3", unit=unit)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(found.values, expected[0])


class _BackwardReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> Tensor:
        return above[0].clamp_min(0)


class Rectify(nn.Module):
    """ReLU that lets back what is positive, wherever it was closed."""

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = _BackwardReLU.apply(x)
        return result


def test_sums_where_windows_overlap_are_the_gradient_with_another_relu(overlapping: nn.Sequential) -> None:
    image = torch.randn(1, 3, 31, 29, requires_grad=True)
    plain = nn.Sequential(*[Rectify() if isinstance(layer, nn.ReLU) else layer for layer in overlapping])
    plain[2] = nn.Identity()  # the normalisation is passed through as it is
    with torch.no_grad():
        same = overlapping[:2](image), plain[:3](image)
    torch.testing.assert_close(*same)
    model = nn.Sequential(overlapping[0], nn.ReLU(), *list(overlapping)[3:]).eval()
    score = plain(image)[0]
    unit = int(score.argmax())
    (gradient,) = torch.autograd.grad(score[unit], image)
    net = Deconvnet(model, str(len(model) - 1), "sum")
    found = net.project(image.detach(), torch.tensor([unit]), torch.zeros(1, 2, dtype=torch.long))
    torch.testing.assert_close(found, gradient * score[unit].detach())
    last = Deconvnet(model, str(len(model) - 1), "last")
    assert not torch.allclose(last.project(image.detach(), torch.tensor([unit]), torch.zeros(1, 2).long()), found)


def test_joins_and_batch_norm_without_rectifying_are_the_gradient(branching: Any) -> None:
    branching.relu1 = nn.Identity()
    image = torch.randn(1, 3, 20, 20, requires_grad=True)
    pooled = branching.pool(branching.norm1(branching.conv1(image)))
    joined = pooled + branching.left(pooled)
    value = joined[0, 5, 2, 3]
    (gradient,) = torch.autograd.grad(value, image)
    net = Deconvnet(branching, "add", "sum")
    found = net.project(image.detach(), torch.tensor([5]), torch.tensor([[2, 3]]))
    torch.testing.assert_close(found, gradient * value.detach().clamp_min(0))


def test_batches_are_single_images(overlapping: nn.Sequential) -> None:
    images = torch.randn(3, 3, 31, 29)
    net = Deconvnet(overlapping, "conv2")
    units, places = torch.tensor([0, 5, 11]), torch.tensor([[0, 0], [2, 3], [1, 1]])
    together = net.project(images, units, places)
    for i in range(3):
        alone = net.project(images[i : i + 1], units[i : i + 1], places[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


class Functional(nn.Module):
    """A ReLU that no pass can see."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.conv(x)).mean((2, 3)))


@pytest.mark.parametrize("method", ["deconvnet", "guided_backprop"])
def test_a_functional_relu_is_refused_with_its_line(method: str) -> None:
    with pytest.raises(FovealError, match=r"function relu \(.*test_deconvnet\.py:\d+\)"):
        explain(method, Functional(), torch.randn(3, 8, 8))


def test_what_cannot_be_is_said(chain: nn.Sequential, branching: nn.Module) -> None:
    image = torch.randn(3, 16, 16)
    with pytest.raises(FovealError, match=r"layer 'mean' \(AdaptiveAvgPool2d\), before 'fc', leaves no switches"):
        explain("deconvnet", branching, image, layer="fc")
    with pytest.raises(FovealError, match="unknown layer 'conv9'"):
        explain("deconvnet", chain, image, layer="conv9")
    with pytest.raises(FovealError, match="has no unit 99"):
        explain("deconvnet", chain, image, unit=99)
    with torch.no_grad():
        chain[0].bias.fill_(-1e3)
    with pytest.raises(FovealError, match="is silent there"):
        explain("deconvnet", chain, image, layer="relu1", unit=0, place=[0, 0])
    with pytest.raises(FovealError, match="unknown overlap 'first'"):
        explain("deconvnet", chain, image, overlap="first")
