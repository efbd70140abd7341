"""Every output of a dense network is the patch's: forward, in the gradients, and at any stride."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from foveal import graph
from foveal.errors import FovealError
from foveal.graph.dense import dense
from foveal.graph.patch_size import patch_size
from foveal.models import create
from foveal.notation import parse

_FILE = Path(__file__).parent / "dense_networks.py"
_spec = importlib.util.spec_from_file_location("dense_networks", _FILE)
assert _spec is not None and _spec.loader is not None
networks = importlib.util.module_from_spec(_spec)
sys.modules["dense_networks"] = networks
_spec.loader.exec_module(networks)

made, patch_by_patch = networks.made, networks.patch_by_patch


def images(input: tuple[int, ...], more: tuple[int, ...], count: int = 1) -> Tensor:
    sides = [n + m for n, m in zip(input[1:], more, strict=False)]
    return torch.randn(count, input[0], *sides, dtype=torch.float64)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().abs().max() / expected.detach().abs().max().clamp(min=1e-30))


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("name", networks.EVERY)
def test_every_position_is_its_patch(name: str, stride: int) -> None:
    model, input = made(name)
    seen = images(input, (5, 7, 3), count=2 if len(input) < 4 else 1)
    with torch.no_grad():
        expected = patch_by_patch(model, seen, input[1:], stride)
        found = graph.slide(model, seen, input, stride)
    assert found.shape == expected.shape
    assert expected.std() > 1e-3  # the network says something
    assert (found - expected).abs().max() <= 1e-10


@pytest.mark.parametrize("name", networks.EVERY)
def test_the_gradients_of_a_pixel_mask_are_those_of_the_patches(name: str) -> None:
    model, input = made(name)
    seen = images(input, (4, 3, 2))
    labels: Tensor | None = None
    gradients = []
    for scores in (patch_by_patch(model, seen, input[1:], 1), graph.slide(model, seen, input)):
        if labels is None:
            labels = torch.randint(scores.shape[1], (1, *scores.shape[2:]))
            labels[torch.rand(labels.shape) < 0.7] = 255  # the pixels that make no error
            labels.view(-1)[0] = 0
        model.zero_grad()
        nn.functional.cross_entropy(scores, labels, ignore_index=255).backward()
        gradients.append({k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None})
    patches, dense = gradients
    assert patches.keys() == dense.keys() and patches
    scale = max(float(g.abs().max()) for g in patches.values())
    for key, gradient in patches.items():
        assert (dense[key] - gradient).abs().max() <= 1e-10 * max(1.0, scale), key


@pytest.mark.parametrize("name", networks.UNPADDED)
def test_without_padding_the_sparse_network_is_patch_by_patch(name: str) -> None:
    model, input = made(name)
    seen = images(input, (6, 9))
    sparse = graph.dilate(graph.convolutionalize(model, input))
    expected = patch_by_patch(model, seen, input[1:], 1)
    found = sparse(seen)[..., : expected.shape[-2], : expected.shape[-1]]
    assert (found - expected).abs().max() <= 1e-10
    error = torch.randn_like(expected) * (torch.rand_like(expected) < 0.3)
    expected.backward(error)
    found.backward(error)
    for (key, mine), (_, theirs) in zip(sparse.named_parameters(), model.named_parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert (mine.grad - theirs.grad).abs().max() <= 1e-10 * theirs.grad.abs().max().clamp(min=1), key


@pytest.mark.parametrize("name", networks.UNPADDED | networks.PADDED | networks.OTHER_DIMENSIONS)
def test_the_sub_sampled_sparse_network_is_the_network(name: str) -> None:
    model, input = made(name)
    sliding = graph.convolutionalize(model, input)
    own = graph.receptive_field(sliding, input)[graph.shapes(sliding, input)[-1].path].stride[0]
    odd = () if name == "reduction" else ((5, 8, 3),)  # where its branches do not fit together
    for more in ((0, 0, 0), (12, 6, 2), *odd):
        seen = images(input, more)
        with torch.no_grad():
            expected = sliding(seen)
            for stride in {1, 2, int(own)}:
                if own % stride:
                    continue
                found = graph.dilate(sliding, stride)(seen)
                for dim in range(2, found.dim()):
                    found = found[(slice(None),) * dim + (slice(None, None, int(own) // stride),)]
                assert found.shape == expected.shape
                assert relative(found, expected) <= 1e-13


@pytest.mark.parametrize("name", networks.UNPADDED | networks.PADDED)
def test_a_copy_of_the_same_class_with_the_same_keys(name: str) -> None:
    model, input = made(name)
    before = copy.deepcopy(model.state_dict())
    sliding = graph.convolutionalize(model, input)
    sparse = graph.dilate(sliding)
    for new in (sliding, sparse):
        if name not in ("torchvision", "reduction"):  # a functional flatten, branches that had to be trimmed
            assert type(new) is type(model)
        assert not new.training
        assert {k: v.shape for k, v in new.state_dict().items()} == {k: v.shape for k, v in before.items()}
        new.load_state_dict(before)
        model.load_state_dict(new.state_dict())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        one = images(input, (0, 0))
        assert torch.allclose(sliding(one).flatten(1), model(one).flatten(1), rtol=0, atol=1e-12)


def whole_numbers(model: nn.Module) -> nn.Module:
    """Weights from -2 to 2, so that all sums are exact and equal is equal to the last bit."""
    for parameter in model.parameters():
        parameter.data = torch.randint(-2, 3, parameter.shape).double()
    return model.double().eval()


def test_toy_network_of_the_paper_to_the_last_bit() -> None:
    """Li, Zhao and Wang: a 15x15 patch, d = 1, 1, 2, 2, 6, a 5x5 image filled up to 19x19."""
    torch.manual_seed(0)
    model = whole_numbers(parse(networks.G6.replace("(Tanh)", "(ReLU)"), (1, 15, 15)))
    sparse = graph.dilate(model)
    windows = [graph.trace(sparse).get_submodule(name) for name in ("conv1", "pool1", "conv2", "pool2", "conv3")]
    assert [layer.dilation for layer in windows] == [(d, d) for d in (1, 1, 2, 2, 6)]
    assert [row.output[1] for row in graph.shapes(sparse, (1, 19, 19)) if row.kind != "ReLU"] == [18, 17, 15, 11, 5]
    image = torch.randint(0, 256, (1, 5, 5)).double()
    filled = nn.functional.pad(image, (7, 7, 7, 7))[None]
    expected = patch_by_patch(model, filled, (15, 15), 1)
    assert expected.shape[2:] == (5, 5) and expected.unique().numel() > 20
    assert torch.equal(sparse(filled), expected)
    assert torch.equal(graph.slide(model, filled, (1, 15, 15)), expected)
    assert torch.equal(dense(model, image)[None], expected)


@pytest.mark.parametrize("name", ["resnet", "googlenet", "alexnet"])
def test_whole_numbers_leave_no_difference_at_all(name: str) -> None:
    torch.manual_seed(0)
    build, input = networks.EVERY[name]
    model = build()
    for path, layer in list(model.named_modules()):
        if isinstance(layer, nn.BatchNorm2d | nn.LocalResponseNorm | nn.AdaptiveAvgPool2d):  # they divide
            model.set_submodule(path, nn.Identity() if not path.endswith("pool") else layer)
    model = nn.Sequential(*[layer for layer in model if not isinstance(layer, nn.Flatten | nn.Linear)])
    whole_numbers(model)
    seen = torch.randint(-9, 10, (1, input[0], input[1] + 5, input[2] + 3)).double()
    own = graph.receptive_field(model, input)[graph.shapes(model, input)[-1].path].stride[0]
    assert torch.equal(graph.dilate(model)(seen)[..., :: int(own), :: int(own)], model(seen))


def test_offset_pooling_is_the_pass_on_the_last_pooling() -> None:
    """OverFeat in one dimension: 20 → pool 3 at offsets 0, 1, 2 → 6 each → 5-wide classifier → 2 each → 6 in turn."""
    torch.manual_seed(0)
    classifier = nn.Conv1d(4, 3, 5).double()
    maps = torch.randn(1, 4, 20, dtype=torch.float64)
    pooled = [nn.functional.max_pool1d(maps[..., offset:], 3, 3) for offset in range(3)]
    assert [p.shape[-1] for p in pooled] == [6, 6, 6]
    each = torch.stack([classifier(p) for p in pooled], -1)  # [1, 3, 2, offsets]
    sparse = graph.dilate(nn.Sequential(nn.MaxPool1d(3, 3), classifier))
    found = sparse(maps)
    assert found.shape == (1, 3, 6)
    assert (found - each.flatten(2)).abs().max() <= 1e-14


def test_offset_pooling_at_overfeats_second_scale() -> None:
    """Table 5: 20x23 maps before the last pooling give 6x9 places."""
    torch.manual_seed(0)
    upper = parse("3-3MaxPool → FC8 (ReLU) → FC3", (4, 15, 15)).double()
    sparse = graph.dilate(graph.convolutionalize(upper, (4, 15, 15)))
    maps = torch.randn(1, 4, 20, 23, dtype=torch.float64)
    assert sparse(maps).shape == (1, 3, 6, 9)
    assert (sparse(maps) - patch_by_patch(upper, maps, (15, 15), 1)).abs().max() <= 1e-12


def test_an_own_stride_or_one_per_dimension() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, (4, 1)), nn.ReLU(), nn.MaxPool2d(2, (3, 2))).double()
    seen = torch.randn(1, 1, 47, 21, dtype=torch.float64)
    expected = model(seen)
    assert torch.equal(graph.dilate(model, (12, 2))(seen), expected)
    assert relative(graph.dilate(model, (6, 1))(seen)[..., ::2, ::2], expected) < 1e-14
    assert relative(graph.dilate(model, (4, 1))(seen)[..., ::3, ::2], expected) < 1e-14


def test_patch_sizes_that_networks_were_made_for() -> None:
    with torch.device("meta"):
        found = {name: patch_size(create(name), 3) for name in ("alexnet", "vgg11", "overfeat_fast")}
    assert found == {"alexnet": (3, 227, 227), "vgg11": (3, 224, 224), "overfeat_fast": (3, 231, 231)}
    with pytest.raises(FovealError, match=r"'avgpool' \(GlobalAvgPool2d\) takes maps of any size"):
        patch_size(create("resnet20"), 3)
