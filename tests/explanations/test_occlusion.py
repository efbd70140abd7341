"""Occlusion: equal to occluding one by one, whatever is computed anew, and to Captum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations import explain
from foveal.explanations._occluded import Occluded, positions


def one_by_one(
    model: nn.Module, image: Tensor, window: tuple[int, int], stride: tuple[int, int], fill: float = 0.0
) -> Tensor:
    """Scores [rows, columns, classes]."""
    tops, lefts = positions((image.shape[1], image.shape[2]), window, stride)
    rows = []
    for top in tops.tolist():
        for left in lefts.tolist():
            hidden = image.clone()
            hidden[:, top : top + window[0], left : left + window[1]] = fill
            rows.append(model(hidden[None])[0])
    return torch.stack(rows).view(len(tops), len(lefts), -1)


@pytest.mark.parametrize(
    ("window", "stride"), [((6, 6), (2, 3)), ((1, 1), (4, 4)), ((11, 5), (7, 5)), ((31, 29), (1, 1)), ((3, 29), (9, 2))]
)
@torch.no_grad()
def test_batched_is_one_by_one(overlapping: nn.Sequential, window: tuple[int, int], stride: tuple[int, int]) -> None:
    image = torch.randn(3, 31, 29)
    expected = one_by_one(overlapping, image, window, stride, 0.3)
    found = explain("occlusion", overlapping, image, 2, window=window, stride=stride, fill=0.3, batch_size=7)
    assert float((found.arrays["score"] - expected[..., 2]).abs().max()) <= 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(found.arrays["probability"], expected.softmax(2)[..., 2])
    assert torch.equal(found.arrays["best"], expected.argmax(2))


@pytest.mark.parametrize("size", [(40, 40), (37, 45)])
@torch.no_grad()
def test_joins_and_batch_norm(branching: nn.Module, size: tuple[int, int]) -> None:
    image = torch.randn(3, *size)
    expected = one_by_one(branching, image, (5, 4), (6, 7))
    found = explain("occlusion", branching, image, 1, window=[5, 4], stride=[6, 7], layer="left")
    torch.testing.assert_close(found.arrays["score"], expected[..., 1], rtol=1e-4, atol=1e-5)


class TwoHeads(nn.Module):
    """Vectors that meet again behind a first fully connected layer, and a head whose answer nobody takes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.flat = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten()
        self.left, self.right, self.last = nn.Linear(576, 6), nn.Linear(576, 6), nn.Linear(12, 5)
        self.unused = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.flat(self.relu(self.conv(x)))
        scores: Tensor = self.last(torch.cat((self.left(flat), self.right(flat)), 1))
        self.unused(scores)
        return scores


@torch.no_grad()
def test_the_last_layers_run_once_for_all() -> None:
    model, image = TwoHeads().eval(), torch.randn(3, 12, 12)
    expected = one_by_one(model, image, (4, 4), (2, 2))
    found = explain("occlusion", model, image, 1, window=4, stride=2, batch_size=4)
    torch.testing.assert_close(found.arrays["score"], expected[..., 1], rtol=1e-4, atol=1e-5)
    net = Occluded(model, image[None], 0.0, "conv")
    vectors, _ = net(torch.tensor([0, 3]), torch.tensor([5, 1]), (4, 4))
    assert vectors.shape == (2, 576)
    assert net.outputs(torch.cat((vectors, vectors))).shape == (4, 5)


@torch.no_grad()
def test_early_layers_are_computed_in_part(overlapping: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    convolve = torch.nn.functional.conv2d

    def watched(x: Tensor, *given: object, **options: object) -> Tensor:
        sizes.append(tuple(x.shape[2:]))
        return convolve(x, *given, **options)  # type: ignore[arg-type]

    net = Occluded(overlapping, torch.randn(1, 3, 31, 29), 0.0)
    monkeypatch.setattr("foveal.explanations._occluded.F.conv2d", watched)
    net(torch.tensor([3, 20]), torch.tensor([0, 9]), (4, 4))
    assert sizes[0] == (11, 11)  # 4 positions of conv1, 5 wide with stride 2, instead of 31 x 29 pixels


def test_totals_are_of_the_strongest_map(overlapping: nn.Sequential) -> None:
    image = torch.randn(3, 31, 29)
    maps = overlapping[:5](image[None])[0].clamp_min(0).sum((1, 2))
    found = explain("occlusion", overlapping, image, window=8, stride=8, layer="conv2")
    number = int(maps.argmax())
    assert f"map {number} of conv2" in found.text
    hidden = image.clone()
    hidden[:, 8:16, 8:16] = 0
    expected = overlapping[:5](hidden[None])[0, number].clamp_min(0).sum()
    torch.testing.assert_close(found.arrays["total"][1, 1], expected.detach())
    torch.testing.assert_close(found.arrays["map"], overlapping[:5](image[None])[0, number].detach())


@pytest.mark.parametrize(("window", "stride"), [(5, 5), (6, 4), (8, 3)])
def test_attribution_is_captums(overlapping: nn.Sequential, window: int, stride: int) -> None:
    attr = pytest.importorskip("captum.attr", reason="Captum is the oracle")
    image = torch.randn(3, 31, 29)
    theirs = attr.Occlusion(overlapping).attribute(
        image[None], sliding_window_shapes=(3, window, window), strides=(3, stride, stride), target=1
    )
    ours = explain("occlusion", overlapping, image, 1, window=window, stride=stride).arrays["attribution"]
    torch.testing.assert_close(ours, theirs[0, 0].float(), rtol=1e-4, atol=1e-5)


def test_others_come_from_data(chain: nn.Sequential) -> None:
    found = explain("occlusion", chain, torch.randn(3, 16, 16), window=4, data=torch.randn(20, 3, 16, 16))
    assert found.arrays["conv3.values"].shape == (1, 9)
    assert set(found.pictures) == {"occlusion", "others"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 40}, r"window=\[40, 40\] is larger than the image of 31x29"),
        ({"window": 0}, "window=0: that is no size"),
        ({"stride": [1, 2, 3]}, r"stride=\[1, 2, 3\]: that is no size"),
        ({"layer": "conv7"}, "unknown layer 'conv7'"),
        ({"dtype": "int8"}, "unknown dtype 'int8'"),
        ({"batch_size": 0}, "batch_size=0: that is no number of squares"),
    ],
)
def test_mistakes_are_said(overlapping: nn.Sequential, options: dict[str, object], said: str) -> None:
    with pytest.raises(FovealError, match=said):
        explain("occlusion", overlapping, torch.randn(3, 31, 29), **options)
    with pytest.raises(FovealError, match="target=9: the network has 5 classes"):
        explain("occlusion", overlapping, torch.randn(3, 31, 29), 9, window=16, stride=16)
