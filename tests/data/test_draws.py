"""The counter-based random numbers: fixed values, independence of company, evenness."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from foveal.data.draws import mix, permutation, uniforms


def test_mix_is_the_splitmix64_sequence() -> None:
    """The first output for seed 1234567, as published with the reference implementation."""
    assert mix(1234567) == 6457827717110365317


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=4))
def test_mix_gives_a_seed_torch_takes(values: list[int]) -> None:
    torch.Generator().manual_seed(mix(*values))
    assert mix(*values) != mix(*values, 0)


def test_order_of_the_arguments_counts() -> None:
    assert len({mix(1, 2), mix(2, 1), mix(1), mix(1, 2, 0), mix(1, 0, 2)}) == 5


def test_numbers_depend_on_seed_epoch_index_and_nothing_else() -> None:
    together = uniforms(7, 3, torch.arange(1000), 6)
    shuffled = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(uniforms(7, 3, shuffled, 6), together[shuffled])
    assert torch.equal(uniforms(7, 3, torch.tensor([412]), 6)[0], together[412])
    assert torch.equal(uniforms(7, 3, torch.arange(1000), 2), together[:, :2])
    for other in (uniforms(8, 3, torch.arange(1000), 6), uniforms(7, 4, torch.arange(1000), 6)):
        assert (other == together).float().mean() < 0.001


def test_values_are_the_same_on_every_machine() -> None:
    """Frozen: a change would change every run that is resumed or repeated."""
    assert (uniforms(0, 0, torch.tensor([0, 1]), 2) * 2**24).long().tolist() == [
        [827212, 14729515],
        [16251700, 14539684],
    ]
    assert permutation(0, 0, 10).tolist() == [1, 0, 5, 7, 3, 4, 6, 2, 9, 8]


def test_numbers_are_even_and_uncorrelated() -> None:
    u = uniforms(1, 0, torch.arange(100_000), 3).double()
    assert u.min() >= 0 and u.max() < 1
    counts = torch.stack([torch.histc(column, 20, 0, 1) for column in u.T])
    chi_squared = ((counts - 5000) ** 2 / 5000).sum(1)
    assert (chi_squared < 43.8).all()  # 19 degrees of freedom, 0.1 %
    neighbours = torch.cat([u.T, u.roll(1, 0).T])  # the next sample too
    correlation = torch.corrcoef(neighbours) - torch.eye(6, dtype=torch.float64)
    assert correlation.abs().max() < 0.015


def test_permutation_is_one_and_differs_between_epochs() -> None:
    first, second = permutation(5, 0, 10_000), permutation(5, 1, 10_000)
    assert torch.equal(first.sort().values, torch.arange(10_000))
    assert (first == second).sum() < 10
    assert abs(torch.corrcoef(torch.stack([first, torch.arange(10_000)]).double())[0, 1]) < 0.05
