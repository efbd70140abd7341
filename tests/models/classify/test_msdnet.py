"""MSDNet: sizes as published, its exits, and what they share."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from foveal.errors import FovealError
from foveal.graph.shapes import shapes
from foveal.models import create
from foveal.models.classify.msdnet import FACTS, MSDNet, msdnet


@pytest.fixture(scope="module")
def network() -> MSDNet:
    torch.manual_seed(0)
    return msdnet(10, exits=3, base=3, step=2).eval()


def test_sizes_of_the_paper() -> None:
    with torch.device("meta"):
        model = create("msdnet")
    published = FACTS["msdnet"].published
    assert isinstance(model, MSDNet)
    assert model.exits_behind == published["exits_behind_layers"] and len(model.exits_behind) == 11
    outputs = {layer.path: layer.output for layer in shapes(model, (3, 32, 32))}
    first = [outputs[f"layer0.scale{scale}.relu"] for scale in (1, 2, 3)]
    assert first == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert tuple(size[0] for size in first) == published["first_layer_maps"]
    grown = [outputs[f"layer1.scale{s}.cat"][0] - first[s - 1][0] for s in (1, 2, 3)]
    assert tuple(grown) == published["added_maps"]
    assert outputs["exit11.pool"] == (128, 1, 1)


@pytest.mark.parametrize(
    ("exits", "classes", "parameters"), [(11, 10, 5_470_050), (10, 10, 4_839_544), (7, 100, 3_067_960)]
)
def test_parameters_of_the_released_configurations(exits: int, classes: int, parameters: int) -> None:
    """Counted from the authors' released code: the paper's network, and the two of its instructions for CIFAR."""
    with torch.device("meta"):
        model = msdnet(classes, exits=exits)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_scales_end_with_each_third_and_maps_halve() -> None:
    with torch.device("meta"):
        model = create("msdnet")
    scales = [len(list(model.get_submodule(f"layer{n}").children())) for n in range(1, 25)]
    assert scales == [3] * 8 + [2] * 8 + [1] * 8
    assert [n for n, _ in model.named_children() if n.startswith("transition")] == ["transition9", "transition17"]
    outputs = {layer.path: layer.output for layer in shapes(model, (3, 32, 32))}
    assert outputs["transition9.scale3.relu"][0] * 2 == outputs["layer9.scale3.cat"][0]


def test_the_last_exit_is_forwards(network: MSDNet) -> None:
    images = torch.rand(2, 3, 32, 32)
    exits = network.exits(images)
    assert [tuple(scores.shape) for scores in exits] == [(2, 10)] * 3
    torch.testing.assert_close(network(images), exits[-1])


def test_losses_are_of_every_exit(network: MSDNet) -> None:
    images, targets = torch.rand(2, 3, 32, 32), torch.tensor([1, 7])
    losses = network.losses(images, targets)
    assert list(losses) == ["exit1", "exit2", "exit3"]
    for loss, scores in zip(losses.values(), network.exits(images), strict=True):
        torch.testing.assert_close(loss, F.cross_entropy(scores, targets))


def test_linear_spacing() -> None:
    with torch.device("meta"):
        assert msdnet(exits=5, base=1, step=1, spacing="linear").exits_behind == (1, 3, 6, 10, 15)


@pytest.mark.parametrize(("options", "message"), [
    ({"exits": 1, "base": 2}, "3 layers in all"), ({"step": 0}, "step=0"), ({"spacing": "lin"}, "did you mean|known"),
])  # fmt: skip
def test_mistakes_name_the_way_out(options: dict[str, object], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        msdnet(**options)  # type: ignore[arg-type]
