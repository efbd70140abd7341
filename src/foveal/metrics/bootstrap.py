"""How far a measured error could lie from the true one, given that the test set is one draw of many."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def bootstrap_interval(
    wrong: Tensor, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval (Efron 1979) of the error, in %, from which images are wrong, bool [N].

    Drawing N images with replacement from a set with share p of mistakes finds Binomial(N, p) mistakes, so the
    resamples are drawn as such: exactly the bootstrap, at no cost in N. The same seed gives the same interval.

    Where all images are right, or all wrong, every resample is the same and the bootstrap claims certainty that N
    images cannot give; then the exact interval of Clopper and Pearson (1934) is returned, which has a closed form.
    """
    if wrong.ndim != 1 or len(wrong) == 0:
        raise ValueError(f"wrong must be a list of at least one image, not {tuple(wrong.shape)}")
    n, mistakes = len(wrong), int(wrong.sum())
    tail = (1 - level) / 2
    if mistakes == 0:
        return 0.0, 100 * (1 - tail ** (1 / n))
    if mistakes == n:
        return 100 * tail ** (1 / n), 100.0
    errors = np.random.default_rng(seed).binomial(n, mistakes / n, size=resamples) * (100 / n)
    low, high = np.quantile(errors, (tail, 1 - tail))
    return float(low), float(high)
