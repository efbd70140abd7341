"""What the lectures prove and warn of about perceptrons, on real digits and on the smallest sets that show it."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.models import create
from foveal.models.classify.mlp import BinarySet
from foveal.models.classify.perceptron import Perceptron, perceptron


def learn(model: Perceptron, x: Tensor, y: Tensor, epochs: int) -> list[Tensor]:
    """One sample at a time with rate 1; the weights of the last unit, bias included, after each of its updates."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    path: list[Tensor] = []
    before = weights(model)
    for _ in range(epochs):
        updates = len(path)
        for i in range(len(x)):
            optimizer.zero_grad()
            model.losses(x[i : i + 1], y[i : i + 1])["perceptron"].backward()
            optimizer.step()
            after = weights(model)
            if not torch.equal(before, after):
                path.append(after)
            before = after
        if len(path) == updates:
            break
    return path


def weights(model: Perceptron) -> Tensor:
    response = model.get_submodule("response")
    assert isinstance(response, nn.Linear)
    return torch.cat([response.weight[-1], response.bias[-1:]]).detach().clone()


def signs(y: Tensor) -> Tensor:
    return 2.0 * y - 1


@pytest.fixture(scope="module")
def zeros_and_ones() -> tuple[Tensor, Tensor]:
    """The scanned digits 0 and 1, [N, 1, 8, 8] in 0..1: linearly separable."""
    digits = load_digits(n_class=2)
    return torch.from_numpy(digits.images).float()[:, None] / 16, torch.from_numpy(digits.target)


def test_the_rule_is_the_lectures() -> None:
    """w += eta t phi(x) for wrong units (also at f = 0), nothing for right ones; a batch gives the mean."""
    model = perceptron(3, units=0, input=(1, 1, 2))
    response = model.get_submodule("response")
    assert isinstance(response, nn.Linear)
    with torch.no_grad():
        response.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0]]))
    x, before = torch.tensor([[[[2.0, 1.0]]]]), response.weight.detach().clone()
    losses = model.losses(x, torch.tensor([1]))
    assert losses["perceptron"].item() == 2 + 2 + 3  # the three units are wrong: f = 2, -2, 3 with t = -1, +1, -1
    losses["perceptron"].backward()
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    moved = 0.5 * torch.tensor([-1.0, 1.0, -1.0])[:, None] * torch.tensor([2.0, 1.0])
    torch.testing.assert_close(response.weight.detach(), before + moved)
    model.zero_grad()
    with torch.no_grad():
        response.weight.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0], [-9.0, 0.0]]))
    model.losses(x, torch.tensor([1]))["perceptron"].backward()
    assert response.weight.grad is not None
    assert not response.weight.grad.any()


def test_convergence_theorem_on_real_digits(zeros_and_ones: tuple[Tensor, Tensor]) -> None:
    """At most (R/delta)² updates, and a(t) = cos(w, w*) grows as (delta/R) sqrt(t) at least (corrected: R, not M)."""
    x, y = zeros_and_ones
    model = perceptron(2, units=0, input=(1, 8, 8))
    path = learn(model, x, y, epochs=1000)
    flat = torch.cat([x.flatten(1), torch.ones(len(x), 1)], 1)
    assert bool((signs(y) * (flat @ path[-1]) > 0).all()), "separable: it must converge"

    best = path[-1] / path[-1].norm()  # any separating unit vector will do for w*
    delta = (signs(y) * (flat @ best)).min()
    radius = flat.norm(dim=1).max()
    bound = (radius / delta) ** 2
    assert len(path) <= bound
    for t, w in enumerate(path, start=1):
        a = (w @ best) / w.norm()
        assert delta / radius * t**0.5 - 1e-5 <= a <= 1 + 1e-5


def test_the_decks_bound_is_too_small_with_a_radius() -> None:
    """Erratum: t <= R/delta², with R the radius, is refuted; t <= R²/delta² is met."""
    x = torch.tensor([[[[20.0, 1.0]]], [[[19.0, -1.0]]]])
    y = torch.tensor([1, 0])
    model = perceptron(2, units=0, input=(1, 1, 2))
    updates = len(learn(model, x, y, epochs=5000))
    delta, radius = 1.0, (20.0**2 + 1 + 1) ** 0.5  # w* = (0, 1)
    assert radius / delta**2 < updates <= radius**2 / delta**2


def test_a_larger_margin_is_learnt_faster() -> None:
    torch.manual_seed(0)
    points = torch.randn(200, 2)
    updates = []
    for margin in (0.02, 0.2, 1.0):
        y = (points[:, 1] > 0).long()
        x = points + torch.stack([torch.zeros(200), signs(y) * margin], 1)
        updates.append(len(learn(perceptron(2, units=0, input=(1, 1, 2)), x[:, None, None], y, epochs=2000)))
    assert updates[0] > updates[1] > updates[2]


def test_the_solution_depends_on_the_order_and_the_start(zeros_and_ones: tuple[Tensor, Tensor]) -> None:
    x, y = zeros_and_ones
    forward, backward, elsewhere = (perceptron(2, units=0, input=(1, 8, 8)) for _ in range(3))
    nn.init.normal_(elsewhere.get_parameter("response.weight"))
    ends = [
        learn(forward, x, y, 1000)[-1],
        learn(backward, x.flip(0), y.flip(0), 1000)[-1],
        learn(elsewhere, x, y, 1000)[-1],
    ]
    flat = torch.cat([x.flatten(1), torch.ones(len(x), 1)], 1)
    for w in ends:
        assert bool((signs(y) * (flat @ w) > 0).all())
    assert not torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_exclusive_or_is_never_learnt_without_associative_units_and_is_with_them() -> None:
    x = torch.tensor(list(product((-1.0, 1.0), repeat=2)))[:, None, None]
    y = torch.tensor([0, 1, 1, 0])
    straight = perceptron(2, units=0, input=(1, 1, 2))
    path = learn(straight, x, y, epochs=200)
    assert len(path) > 400, "it still makes mistakes in every pass"
    assert bool((straight(x).argmax(1) != y).any())

    associative = perceptron(2, units=40, connections=2, input=(1, 1, 2))
    learn(associative, x, y, epochs=200)
    assert torch.equal(associative(x).argmax(1), y)


def test_associative_units_are_wired_by_their_seed_and_stay_fixed() -> None:
    first, again, other = perceptron(), perceptron(), perceptron(wiring_seed=1)
    weight = first.get_parameter("association.weight")
    assert torch.equal(weight, again.get_parameter("association.weight"))
    assert not torch.equal(weight, other.get_parameter("association.weight"))
    assert bool((weight.abs().sum(1) == 20).all())
    assert set(weight.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert [name for name, p in first.named_parameters() if p.requires_grad] == ["response.weight", "response.bias"]
    phi = first[:-1](torch.randn(50, 1, 20, 20))
    assert set(phi.unique().tolist()) == {0.0, 1.0}
    assert 0.3 < phi.mean().item() < 0.7


def test_perceptron_on_real_digits() -> None:
    """Ten threshold units behind 512 associative ones recognise scanned digits."""
    digits = load_digits()
    x = torch.from_numpy(digits.images).float()[:, None]
    x, y = (x - x.mean()) / x.std(), torch.from_numpy(digits.target)
    model = perceptron(input=(1, 8, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for part in torch.arange(1400).repeat(10).split(10):
        optimizer.zero_grad()
        model.losses(x[part], y[part])["perceptron"].backward()
        optimizer.step()
    assert (model(x[1400:]).argmax(1) == y[1400:]).float().mean() > 0.85


@pytest.mark.parametrize("inputs", [1, 2, 3, 4])
def test_binary_set_computes_any_boolean_function(inputs: int) -> None:
    """F08, for random functions and for parity, the one that needs half of all inputs as hidden units."""
    torch.manual_seed(inputs)
    everything = torch.tensor(list(product((-1.0, 1.0), repeat=inputs)))
    parity = everything.prod(1) < 0
    for chosen in [parity, *(torch.rand(10, len(everything)) < 0.5)]:
        if chosen.any():
            network = BinarySet(everything[chosen])
            assert torch.equal(network(everything).flatten(), chosen.float())
    assert BinarySet(everything[parity]).get_parameter("recognise.weight").shape[0] == 2 ** (inputs - 1)


@pytest.mark.parametrize("members", [torch.zeros(2, 3), torch.ones(3), torch.ones(0, 3)])
def test_binary_set_refuses_what_is_not_binary(members: Tensor) -> None:
    with pytest.raises(FovealError, match="of -1 and \\+1"):
        BinarySet(members)


def test_a_network_of_linear_layers_stays_linear() -> None:
    """F07: without its nonlinearity the MLP is one matrix; with it, it is not."""
    torch.manual_seed(0)
    model = create("mlp", 3, hidden=(5, 4), input=(1, 1, 6), activation="tanh")
    a, b = torch.randn(2, 1, 1, 1, 6)
    origin = torch.zeros(1, 1, 1, 6)

    def bend(net: nn.Module) -> float:
        return float((net(a + b) - net(a) - net(b) + net(origin)).detach().abs().max())

    assert bend(model) > 1e-3
    for name in ("tanh1", "tanh2"):
        model.set_submodule(name, nn.Identity())
    assert bend(model) < 1e-5


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "leaky_relu", "maxout"])
def test_mlp_learns_exclusive_or(activation: str) -> None:
    torch.manual_seed(0)
    x = torch.tensor(list(product((-1.0, 1.0), repeat=2)))[:, None, None]
    y = torch.tensor([0, 1, 1, 0])
    model = create("mlp", 2, hidden=(16,), activation=activation, input=(1, 1, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert torch.equal(model(x).argmax(1), y)
