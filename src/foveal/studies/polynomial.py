"""The over-fitted polynomial: few noisy points of y = x² and polynomials of rising degree.

As in lectures on over-fitting, which fit 10 points with a polynomial of degree 10. That one has 11 coefficients, so
that the points do not determine it (degree 9 meets them all already): of all that do, least squares takes the smallest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.report.charts import Curve, lines
from foveal.studies._lab import Lab
from foveal.studies._outcome import Cell, Outcome, Spread

Values = NDArray[np.float64]


def polynomial(
    lab: Lab,
    *,
    degrees: Sequence[int] = (1, 2, 4, 9, 10),
    points: int = 10,
    noise: float = 0.2,
    decay: float = 0.01,
) -> Outcome:
    """Polynomials of several degrees through noisy points of y = x²: errors at the points and between them.

    degrees: of the polynomials. points: how many, evenly spaced in [-1, 1]. noise: their standard deviation. decay: the
    weight of the squared coefficients in the last row, which fits the highest degree with a penalty.
    """
    if points < 2 or min(degrees) < 0:
        raise FovealError(
            f"points={points}, degrees={list(degrees)}: nothing to fit", "give two points or more, degrees from 0"
        )
    lab.alone()
    x, fine = np.linspace(-1, 1, points), np.linspace(-1, 1, 401)
    variants = [*((degree, 0.0) for degree in degrees), (max(degrees), decay)]
    sets = [x**2 + np.random.default_rng(seed).normal(0, noise, points) for seed in lab.seeds]
    rows: list[dict[str, Cell]] = []
    curves = [Curve("points", x.tolist(), sets[0].tolist(), dots=True)]
    for degree, penalty in variants:
        fits = [_fit(x, y, degree, penalty) for y in sets]
        inside = Spread(tuple(_rms(np.polyval(fit, x) - y) for fit, y in zip(fits, sets, strict=True)))
        between = Spread(tuple(_rms(np.polyval(fit, fine) - fine**2) for fit in fits))
        label = f"degree {degree}" + (f", penalty {penalty:g}" if penalty else "")
        rows.append({"variant": label, "coefficients": degree + 1, "inside": inside, "between": between})
        curves.append(Curve(label, fine.tolist(), np.polyval(fits[0], fine).tolist(), bold=degree == 2))
    said = "; ".join(f"{row['variant']} {row['between']}" for row in rows)
    return Outcome(
        study=lab.study,
        folder=lab.folder,
        title="The over-fitted polynomial",
        claim="ten points of y = x² fitted with degree 10 are met exactly and predicted badly in between; a penalty on "
        "the coefficients mends it.",
        finding=f"rms error against y = x²: {said}.",
        columns={
            "variant": "polynomial",
            "coefficients": "coefficients",
            "inside": "rms error at the points",
            "between": "rms error against y = x²",
        },
        rows=rows,
        chart=lines("polynomial", curves, x="x", y="y", limits=(-0.6, 1.6)),
    )


def _fit(x: Values, y: Values, degree: int, penalty: float) -> Values:
    """Coefficients, highest power first: least squares, with penalty · Σ c² added; the smallest where many do."""
    powers = np.vander(x, degree + 1)
    if penalty:
        powers = np.vstack([powers, np.sqrt(penalty) * np.eye(degree + 1)])
        y = np.concatenate([y, np.zeros(degree + 1)])
    return np.asarray(np.linalg.lstsq(powers, y, rcond=None)[0], np.float64)


def _rms(errors: Values) -> float:
    return float(np.sqrt(np.mean(errors**2)))
