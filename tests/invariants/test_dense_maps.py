"""`foveal.dense`: where positions lie, tiles without seams, layouts and types, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import foveal
from foveal import graph
from foveal.errors import FovealError
from foveal.graph.swap import sharing
from foveal.graph.windows import POINTWISE, register
from foveal.layers.locally_connected import LocallyConnected2d
from foveal.notation import parse

UNPADDED = "5-1Conv6 (ReLU) → 2-2MaxPool → 3-1Conv8 (ReLU) → 2-2MaxPool → FC8 (ReLU) → FC3"
PADDED = "3-1-1Conv4 (BN, ReLU) → 3-2-1MaxPool → 3-2-1Conv5 (ReLU) → 2-2AvgPool → FC3"


def network(text: str = UNPADDED, side: int = 22, channels: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return parse(text, (channels, side, side)).double().eval()


def at(model: nn.Module, image: Tensor, side: int, row: int, column: int) -> Tensor:
    """The scores of the patch around one pixel, as the documentation defines it."""
    filled = F.pad(image, (side, side, side, side))
    top, left = row - side // 2 + side, column - side // 2 + side
    return model(filled[None, :, top : top + side, left : left + side]).flatten()


@pytest.mark.parametrize(("text", "side"), [(UNPADDED, 22), (PADDED, 21)])
@pytest.mark.parametrize("stride", [1, 4])
def test_position_is_the_patch_around_its_pixel(text: str, side: int, stride: int) -> None:
    model = network(text, side).train()
    image = torch.randn(2, 17, 30, dtype=torch.float64)
    scores = foveal.dense(model, image, stride, input=(2, side, side))
    assert scores.shape == (3, -(-17 // stride), -(-30 // stride)) and not scores.requires_grad
    assert all(layer.training for layer in model.modules())  # it was, and is again
    model.eval()
    for i, j in ((0, 0), (2, 3), (scores.shape[1] - 1, scores.shape[2] - 1), (1, 0)):
        assert (scores[:, i, j] - at(model, image, side, i * stride, j * stride)).abs().max() <= 1e-10


@pytest.mark.parametrize("borders", ["patch", "image"])
@pytest.mark.parametrize(("text", "side"), [(UNPADDED, 22), (PADDED, 21)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_tiles_leave_no_seams(text: str, side: int, borders: str, stride: int) -> None:
    model, image = network(text, side), torch.randn(2, 61, 44, dtype=torch.float64)
    options = {"input": (2, side, side), "borders": borders}
    whole = foveal.dense(model, image, stride, **options)
    done: list[tuple[int, int]] = []
    tiled = foveal.dense(
        model, image, stride, memory=300_000, progress=lambda tile, tiles: done.append((tile, tiles)), **options
    )
    assert len(done) >= 4 and done == [(n + 1, len(done)) for n in range(len(done))]
    assert (tiled - whole).abs().max() <= 1e-12


@pytest.mark.parametrize("borders", ["patch", "image"])
def test_the_models_own_weights_are_used(borders: str) -> None:
    model, image = network(PADDED, 21), torch.randn(2, 30, 25, dtype=torch.float64)
    before = {name: (tensor, tensor.clone()) for name, tensor in model.state_dict(keep_vars=True).items()}
    foveal.dense(model, image, 4, input=(2, 21, 21), borders=borders)
    for name, tensor in model.state_dict(keep_vars=True).items():
        assert tensor is before[name][0] and torch.equal(tensor, before[name][1])
    input = (2, 21, 21)
    shared = sharing(model, lambda copy: graph.dilate(graph.convolutionalize(copy, input)))
    assert [id(p) for p in shared.parameters()] == [id(p) for p in model.parameters()]


def test_borders_of_the_image_are_those_of_the_sparse_network() -> None:
    model, image = network(PADDED, 21), torch.randn(2, 40, 33, dtype=torch.float64)
    input = (2, 21, 21)
    found = foveal.dense(model, image, input=input, borders="image")
    filled = F.pad(image, (10, 10, 10, 10))[None]
    with torch.no_grad():
        expected = graph.dilate(graph.convolutionalize(model, input))(filled)[0]
    assert (found - expected[:, :40, :33]).abs().max() <= 1e-12
    exact = foveal.dense(model, image, input=input)
    assert (found - exact).abs().max() > 1e-3  # another function, as is said


def test_without_padding_both_borders_are_one() -> None:
    model, image = network(), torch.randn(2, 30, 29, dtype=torch.float64)
    assert (foveal.dense(model, image) - foveal.dense(model, image, borders="image")).abs().max() <= 1e-12


def test_layout_and_type() -> None:
    model, image = network().float(), torch.randn(2, 30, 29)
    plain = foveal.dense(model, image)
    assert torch.allclose(foveal.dense(model, image, channels_last=True), plain, atol=1e-5)
    half = foveal.dense(model, image, dtype=torch.bfloat16)
    assert half.dtype == torch.float32
    assert 0 < (half - plain).abs().max() < 0.05 * plain.abs().max()


def test_fill_stands_around_the_image() -> None:
    model, image = network(), torch.full((2, 9, 9), 0.5, dtype=torch.float64)
    scores = foveal.dense(model, image, fill=0.5)
    assert (scores - scores[:, :1, :1]).abs().max() <= 1e-12


def test_sequences_and_volumes() -> None:
    line = parse("5-2Conv4 (ReLU) → 2-2MaxPool → FC3", (2, 21)).double()
    assert foveal.dense(line, torch.randn(2, 40, dtype=torch.float64)).shape == (3, 40)
    volume = parse("3-1Conv2 (ReLU) → 2-2MaxPool → FC3", (1, 8, 8, 8)).double()
    assert foveal.dense(volume, torch.randn(1, 9, 10, 11, dtype=torch.float64), 2).shape == (3, 5, 5, 6)


@pytest.mark.parametrize(
    ("image", "options", "what"),
    [
        (torch.zeros(2, 30, 30, dtype=torch.uint8), {}, "holds uint8"),
        (torch.zeros(30), {}, "no tensor"),
        (torch.zeros(3, 30, 30), {"input": (2, 22, 22)}, "3x30x30 for patches of 2x22x22"),
        (torch.zeros(2, 30, 30), {"stride": 0}, "stride=0"),
        (torch.zeros(2, 30, 30), {"borders": "mirror"}, "unknown borders 'mirror'"),
        (torch.zeros(2, 30, 30), {"memory": 1000}, "one patch takes more than"),
        (torch.zeros(2, 30, 30), {"input": (2, 40, 40)}, "takes 72 features"),
    ],
)
def test_what_cannot_be_is_said(image: Tensor, options: dict[str, object], what: str) -> None:
    with pytest.raises(FovealError, match=what) as caught:
        foveal.dense(network().float(), image, **options)
    assert caught.value.mend


class Functional(nn.Module):
    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.then = nn.Conv2d(2, 3, 3, 2), then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.conv(x))


@pytest.mark.parametrize("act", [graph.dilate, lambda m: graph.slide(m, torch.zeros(1, 2, 9, 9), (2, 9, 9))])
@pytest.mark.parametrize(
    ("then", "name"), [(F.relu, "relu"), (lambda x: F.max_pool2d(x, 2), "max_pool2d"), (lambda x: x.sqrt(), "sqrt")]
)
def test_functions_are_refused_with_their_line(
    act: Callable[[nn.Module], object], then: Callable[[Tensor], Tensor], name: str
) -> None:
    with pytest.raises(FovealError, match=rf"uses the function {name} \(.*test_dense_maps.py:\d+\)") as caught:
        act(Functional(then))
    assert "nn." in caught.value.mend


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(2)


STRIDED = nn.Conv2d(2, 2, 3, 2)


@pytest.mark.parametrize(
    ("layers", "what", "mend"),
    [
        ([Unknown()], r"layer '1' \(Unknown\) is unknown", "register"),
        ([nn.Flatten(), nn.Linear(2, 2)], r"layer '1' \(Flatten\) makes one vector", "convolutionalize"),
        ([nn.AdaptiveAvgPool2d(3)], r"layer '1' \(AdaptiveAvgPool2d\)", "convolutionalize"),
        ([nn.MaxPool2d(3, 2, 1, ceil_mode=True)], r"layer '1' \(MaxPool2d\) rounds up", "ceil_mode=False"),
        ([nn.Conv2d(2, 2, 3, 1, 1, padding_mode="reflect")], r"layer '1' \(Conv2d\) pads by reflect", "zeros"),
        ([nn.Conv2d(2, 2, 2, padding="same")], r"layer '1' \(Conv2d\) pads one side more", "odd"),
        ([nn.ConvTranspose2d(2, 2, 2, 2)], r"layer '1' \(ConvTranspose2d\) enlarges", "before it"),
        ([nn.AvgPool2d(2, divisor_override=3)], r"layer '1' \(AvgPool2d\) has the option divisor", "away"),
        ([LocallyConnected2d(2, 2, (9, 9), 3)], r"layer '1' \(LocallyConnected2d\) cannot be made sparse", "register"),
    ],
)
def test_dilate_names_what_it_cannot(layers: list[nn.Module], what: str, mend: str) -> None:
    with pytest.raises(FovealError, match=what) as caught:
        graph.dilate(nn.Sequential(STRIDED, *layers))
    assert mend in caught.value.mend


def test_dilate_names_strides_that_do_not_divide() -> None:
    with pytest.raises(FovealError, match=r"stride=3x3 is none .* its own is 4x4"):
        graph.dilate(nn.Sequential(STRIDED, nn.MaxPool2d(2)), 3)

    class Uneven(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 2, 1, 2), nn.Conv2d(2, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.b(x)

    with pytest.raises(FovealError, match="join 'add' puts maps of strides 2x2 and 1x1 together"):
        graph.dilate(Uneven())


@pytest.mark.parametrize(
    ("layers", "what"),
    [
        ([nn.AdaptiveAvgPool2d(3)], r"layer '1' \(AdaptiveAvgPool2d\) cuts 4x4 into 3x3 uneven windows"),
        ([LocallyConnected2d(2, 2, (4, 4), 3)], r"layer '1' \(LocallyConnected2d\) has own filters"),
        ([nn.Linear(4, 2)], r"layer '1' \(Linear\) works along the last dimension of 2x4x4"),
        ([nn.Flatten()], "ends in 2 maps of 4x4, flattened"),
        ([nn.Flatten(), nn.BatchNorm1d(32), nn.Linear(32, 2)], r"layer '2' \(BatchNorm1d\) stands behind 2 flattened"),
        ([nn.Softmax(3)], r"layer '1' \(Softmax\) is not over the classes"),
        ([nn.Flatten(2), nn.Linear(16, 2)], r"layer '1' \(Flatten\) flattens only some"),
    ],
)
def test_convolutionalize_names_what_it_cannot(layers: list[nn.Module], what: str) -> None:
    with pytest.raises(FovealError, match=what) as caught:
        graph.convolutionalize(nn.Sequential(STRIDED, *layers), (2, 9, 9))
    assert caught.value.mend


def test_hooks_and_own_forwards_are_not_lost_silently() -> None:
    model = network()
    model.fc3.register_forward_hook(lambda *_: None)
    with pytest.raises(FovealError, match=r"layer 'fc3' \(Linear\) has hooks"):
        graph.convolutionalize(model, (2, 22, 22))

    class Doubled(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    own = nn.Sequential(nn.MaxPool2d(2), Doubled(2, 3, 3))
    with pytest.raises(FovealError, match=r"layer '1' \(Doubled\) has a forward of its own"):
        graph.dilate(own)
    image = torch.randn(1, 2, 9, 9)
    with torch.no_grad():  # patch by patch is exact for any layer
        assert torch.allclose(
            graph.slide(own, image, (2, 6, 6), 2)[0, :, 1, 1], own(image[..., 2:8, 2:8]).flatten(), atol=1e-5
        )


def test_training_mode_is_refused_where_patches_share() -> None:
    model = network(PADDED, 21).train()
    images = torch.randn(1, 2, 23, 23, dtype=torch.float64)
    with pytest.raises(FovealError, match=r"layer 'bn1' \(BatchNorm2d\) measures its batch"):
        graph.slide(model, images, (2, 21, 21))
    dropping = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Dropout(), nn.MaxPool2d(3))
    with pytest.raises(FovealError, match=r"layer '1' \(Dropout\) draws at random"):
        graph.slide(dropping, torch.randn(1, 2, 9, 9), (2, 5, 5))
    head = network("3-1Conv4 (ReLU) → FC8 (Dropout, ReLU) → FC3", 5).train()  # behind the first FC: one mask a patch
    assert graph.slide(head, images, (2, 5, 5)).isfinite().all()


def test_softmax_batch_norm_and_other_ends_of_classifiers() -> None:
    torch.manual_seed(0)
    layers = (nn.Flatten(), nn.Linear(32, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4), nn.Softmax(-1))
    model = nn.Sequential(nn.Conv2d(2, 2, 3, 2), *layers).double().eval()
    seen = torch.randn(1, 2, 15, 13, dtype=torch.float64)
    expected = model(seen[..., 4:13, 2:11])[0]
    assert torch.allclose(
        graph.dilate(graph.convolutionalize(model, (2, 9, 9)))(seen)[0, :, 4, 2], expected, atol=1e-12
    )
    assert torch.allclose(graph.slide(model, seen, (2, 9, 9))[0, :, 4, 2], expected, atol=1e-12)


class Shifted(nn.Module):
    """A layer of a user's own, known to be pointwise."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=-0.1) + 0.2


def test_users_own_layers_once_registered() -> None:
    register(Shifted)(lambda layer: POINTWISE)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, 2), Shifted(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2)).double()
    seen = torch.randn(1, 1, 14, 14, dtype=torch.float64)
    expected = model(seen[..., 3:12, 1:10])[0]
    assert torch.allclose(graph.slide(model, seen, (1, 9, 9))[0, :, 3, 1], expected, atol=1e-12)
    assert torch.allclose(
        graph.dilate(graph.convolutionalize(model, (1, 9, 9)))(seen)[0, :, 3, 1], expected, atol=1e-12
    )
