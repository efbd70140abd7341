"""The permutohedral lattice against Gaussian sums over all pairs, and mean field against the paper's loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from foveal.layers.crf import DenseCRF
from foveal.layers.permutohedral import Lattice, _simplices


def gaussian(features: Tensor) -> Tensor:
    return torch.exp(-torch.cdist(features.double(), features.double()).square() / 2)


@pytest.mark.parametrize("dims", [1, 2, 3, 5])
def test_a_point_is_the_weighted_mean_of_its_corners(dims: int) -> None:
    """The corners, taken back from the plane Σx = 0 to the features' space, with barycentric weights."""
    torch.manual_seed(0)
    features = torch.randn(200, dims, dtype=torch.float64) * 3
    lowest, rank, weights = _simplices(features.T)
    assert bool((weights >= -1e-12).all())
    torch.testing.assert_close(weights.sum(1), torch.ones(200, dtype=torch.float64))
    k = torch.arange(dims + 1)[:, None]
    moved = torch.where(rank.T[:, None] > dims - k, k - (dims + 1), k)  # [P, k, d + 1]
    whole = lowest.T[:, None] + moved
    assert bool((whole.sum(2) == 0).all())
    lifted = (whole * weights[..., None]).sum(1)  # [P, d + 1]
    step = torch.arange(1, dims + 1, dtype=torch.float64)
    directions = torch.zeros(dims, dims + 1, dtype=torch.float64)
    for i in range(dims):
        directions[i, : i + 1] = 1
        directions[i, i + 1] = -(i + 1)
    directions *= math.sqrt(2 / 3) * (dims + 1) / (step * (step + 1)).sqrt()[:, None]
    torch.testing.assert_close(lifted, features @ directions)


@pytest.mark.parametrize(("dims", "worst", "mean"), [(1, 0.01, 0.002), (2, 0.02, 0.003), (5, 0.15, 0.02)])
def test_normalised_filtering_is_near_the_exact_gaussian(dims: int, worst: float, mean: float) -> None:
    torch.manual_seed(0)
    features, values = torch.rand(400, dims) * 4, torch.rand(400, 3)
    lattice, kernel = Lattice(features), gaussian(features)
    ours = lattice.filter(values).double() / lattice.filter(torch.ones(400, 1)).double()
    exact = (kernel @ values.double()) / kernel.sum(1, keepdim=True)
    assert (ours - exact).abs().max() < worst
    assert (ours - exact).abs().mean() < mean


def test_a_constant_in_the_middle_of_many_points_stays_a_constant() -> None:
    """Where all corners are used the filter multiplies by one number, whatever the place."""
    rows = torch.cartesian_prod(torch.arange(40.0), torch.arange(40.0)) / 4
    sums = Lattice(rows).filter(torch.ones(1600, 1)).view(40, 40)[16:24, 16:24]
    assert sums.std() / sums.mean() < 0.02


def test_the_gradient_is_the_transpose() -> None:
    torch.manual_seed(0)
    lattice = Lattice(torch.rand(30, 3, dtype=torch.float64) * 3)
    eye = torch.eye(30, dtype=torch.float64)
    torch.testing.assert_close(lattice._apply(eye, transposed=True), lattice._apply(eye).T)
    values = torch.rand(30, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lattice.filter, (values,))


def test_features_too_far_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="too far apart"):
        Lattice(torch.tensor([[0.0] * 5, [1e6] * 5]))
    with pytest.raises(ValueError, match=r"\[points, 1 … 8\]"):
        Lattice(torch.zeros(3))


def slowly(scores: np.ndarray, image: np.ndarray, crf: DenseCRF) -> np.ndarray:
    """Algorithm 1 of Krähenbühl and Koltun, pixel by pixel; the kernels symmetrically normalised."""
    classes, height, width = scores.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    kernels = np.zeros((2, len(pixels), len(pixels)))
    for i, (y, x) in enumerate(pixels):
        for j, (v, u) in enumerate(pixels):
            apart = (y - v) ** 2 + (x - u) ** 2
            colour = float(((image[:, y, x] - image[:, v, u]) ** 2).sum())
            kernels[0, i, j] = math.exp(-apart / (2 * crf.spatial**2))
            kernels[1, i, j] = math.exp(-apart / (2 * crf.position**2) - colour / (2 * crf.colour**2))
    sums = kernels.sum(2)
    kernels /= np.sqrt(sums[:, :, None] * sums[:, None, :])
    weights = [crf.weight_spatial.detach().numpy(), crf.weight_bilateral.detach().numpy()]
    compatibility = crf.compatibility.detach().numpy()
    unary = np.array([scores[:, y, x] for y, x in pixels])
    state = unary.copy()
    for _ in range(crf.iterations):
        marginals = np.exp(state - state.max(1, keepdims=True))
        marginals /= marginals.sum(1, keepdims=True)
        for i in range(len(pixels)):
            for label in range(classes):
                cost = 0.0
                for other in range(classes):
                    for kernel, weight in zip(kernels, weights, strict=True):
                        cost += compatibility[label, other] * weight[other] * float(kernel[i] @ marginals[:, other])
                state[i, label] = unary[i, label] - cost
    return state.T.reshape(scores.shape)


def small(classes: int = 3, height: int = 5, width: int = 6) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    scores = torch.randn(1, classes, height, width, dtype=torch.float64) * 2
    return scores, torch.rand(1, 3, height, width, dtype=torch.float64) * 60


def test_exact_mean_field_is_the_papers() -> None:
    scores, image = small()
    crf = DenseCRF(3, iterations=4, spatial=1.5, position=5, colour=20, exact=True).double()
    with torch.no_grad():
        crf.weight_spatial.copy_(torch.tensor([1.0, 2.0, 0.5]))
        crf.compatibility.add_(torch.rand(3, 3, dtype=torch.float64) * 0.2)
        ours = crf(scores, image)
    expected = slowly(scores[0].numpy(), image[0].numpy(), crf)
    torch.testing.assert_close(ours[0], torch.from_numpy(expected), rtol=0, atol=1e-9)
    torch.testing.assert_close(ours[0].softmax(0), torch.from_numpy(expected).softmax(0), rtol=0, atol=1e-6)


def patches(height: int, width: int) -> tuple[Tensor, Tensor]:
    """An image of two colours with noise, and scores that know them badly."""
    generator = torch.Generator().manual_seed(0)
    truth = (torch.arange(width) >= width // 2).expand(height, width)
    image = (truth * 120 + 40 + torch.randn(3, height, width, generator=generator) * 6).clamp(0, 255)
    scores = torch.stack((~truth, truth)).float() + torch.randn(2, height, width, generator=generator) * 1.5
    return scores[None], image[None]


def test_the_lattice_is_near_exact_mean_field() -> None:
    scores, image = patches(40, 50)
    near = DenseCRF(2, iterations=5)(scores, image).softmax(1)
    exact = DenseCRF(2, iterations=5, exact=True)(scores, image).softmax(1)
    assert (near - exact).abs().mean() < 2e-3
    assert (near.argmax(1) == exact.argmax(1)).float().mean() > 0.998


def test_noise_is_removed_and_the_border_kept() -> None:
    scores, image = patches(40, 50)
    truth = (torch.arange(50) >= 25).expand(40, 50)
    before, behind = (s.argmax(1)[0] == truth for s in (scores, DenseCRF(2)(scores, image)))
    assert before.float().mean() < 0.75
    assert behind.float().mean() > 0.99


@pytest.mark.parametrize("exact", [True, False])
def test_gradients_with_respect_to_scores_weights_and_compatibility(exact: bool) -> None:
    scores, image = small(classes=2, height=3, width=4)
    crf = DenseCRF(2, iterations=2, spatial=1.5, position=4, colour=30, exact=exact).double()
    names = [name for name, _ in crf.named_parameters()]

    def run(given: Tensor, *values: Tensor) -> Tensor:
        result: Tensor = functional_call(crf, dict(zip(names, values, strict=True)), (given, image))
        return result

    inputs = (scores.requires_grad_(), *(p.detach().requires_grad_() for p in crf.parameters()))
    assert torch.autograd.gradcheck(run, inputs)


def test_images_of_a_batch_are_alone_and_meta_has_shapes() -> None:
    scores, image = patches(12, 16)
    crf = DenseCRF(2, iterations=2)
    both = crf(torch.cat((scores, scores.flip(3))), torch.cat((image, image.flip(3))))
    torch.testing.assert_close(both[:1], crf(scores, image))
    with torch.device("meta"):
        assert DenseCRF(4)(torch.empty(2, 4, 9, 7), torch.empty(2, 3, 9, 7)).shape == (2, 4, 9, 7)


def test_half_precision_is_computed_in_float32() -> None:
    scores, image = patches(12, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refined = DenseCRF(2, iterations=2)(scores.bfloat16(), image.bfloat16())
    assert refined.dtype == torch.float32


def test_levels_undo_a_normalisation() -> None:
    scores, image = patches(12, 16)
    plain = DenseCRF(2, iterations=2, exact=True)(scores, image)
    normalised = DenseCRF(2, iterations=2, levels=(58.0, 57.0, 56.0), exact=True)
    scale = torch.tensor([58.0, 57.0, 56.0]).view(3, 1, 1)
    torch.testing.assert_close(normalised(scores, (image - 110) / scale), plain, rtol=1e-3, atol=1e-3)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="DenseCRF of 0 iterations"):
        DenseCRF(2, iterations=0)
    with pytest.raises(ValueError, match="too many for exact"):
        DenseCRF(2, exact=True)(torch.zeros(1, 2, 200, 101), torch.zeros(1, 3, 200, 101))


def test_marginals_are_those_of_the_authors_code() -> None:
    dense = pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 is not installed")
    scores, image = patches(40, 50)
    theirs = dense.DenseCRF2D(50, 40, 2)
    theirs.setUnaryEnergy(np.ascontiguousarray(-scores[0].log_softmax(0).flatten(1).numpy()))
    pixels = np.ascontiguousarray(image[0].permute(1, 2, 0).byte().numpy())
    theirs.addPairwiseGaussian(sxy=3, compat=3)
    theirs.addPairwiseBilateral(sxy=80, srgb=13, rgbim=pixels, compat=10)
    expected = torch.from_numpy(np.array(theirs.inference(5))).view(2, 40, 50)
    ours = DenseCRF(2, iterations=5)(scores, image.byte().float()).softmax(1)[0]
    assert (ours - expected).abs().max() < 1e-2
