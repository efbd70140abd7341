"""The interval equals SciPy's bootstrap (scikit-learn brings SciPy) and covers as it claims."""

import numpy as np
import pytest
import torch
from scipy import stats

from foveal.metrics.bootstrap import bootstrap_interval


@pytest.mark.parametrize(("n", "mistakes"), [(360, 7), (1000, 250), (10_000, 95)])
def test_interval_equals_scipys_percentile_bootstrap(n: int, mistakes: int) -> None:
    wrong = torch.arange(n) < mistakes
    low, high = bootstrap_interval(wrong)
    oracle = stats.bootstrap(
        (100.0 * wrong.numpy(),), np.mean, method="percentile", n_resamples=4000, batch=100, random_state=0
    ).confidence_interval
    width = oracle.high - oracle.low
    assert low == pytest.approx(oracle.low, abs=0.08 * width)
    assert high == pytest.approx(oracle.high, abs=0.08 * width)


def test_same_seed_same_interval() -> None:
    wrong = torch.arange(500) < 20
    assert bootstrap_interval(wrong, seed=1) == bootstrap_interval(wrong.flip(0), seed=1)
    low, high = bootstrap_interval(wrong, level=0.8)
    wide_low, wide_high = bootstrap_interval(wrong)
    assert wide_low < low < 4 < high < wide_high


def test_no_mistake_is_not_certainty() -> None:
    low, high = bootstrap_interval(torch.zeros(30, dtype=torch.bool))
    exact = stats.binomtest(0, 30).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((100 * exact.low, 100 * exact.high))
    low, high = bootstrap_interval(torch.ones(30, dtype=torch.bool))
    exact = stats.binomtest(30, 30).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((100 * exact.low, 100 * exact.high))


def test_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        bootstrap_interval(torch.zeros(0))
