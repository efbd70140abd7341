"""Batch normalisation on and off, at a low and at high learning rates.

S. Ioffe, C. Szegedy, «Batch normalization: accelerating deep network training by reducing internal covariate shift»,
ICML 2015: higher rates, less care with initialisation, and the same accuracy with 14 times fewer steps (Inception).
"""

from __future__ import annotations

from collections.abc import Sequence

from foveal.notation.steps import Conv
from foveal.report.charts import Curve, lines
from foveal.studies._lab import Lab, accuracy, curve, spread
from foveal.studies._networks import behind, chain_of, with_chain, without
from foveal.studies._outcome import Cell, Outcome
from foveal.studies._recipes import small

_TEXT = "[3-1-1Conv32 (ReLU) → 3-1-1Conv32 (ReLU) → 2-2MaxPool]x3 → FC10"


def batch_norm(lab: Lab, *, rates: Sequence[float] = (0.01, 0.1, 0.5)) -> Outcome:
    """Batch normalisation on and off at several learning rates: training loss and accuracy.

    rates: the learning rates tried with both. Normalisation stands between each convolution and its nonlinearity.
    """
    base = lab.base(small(lab, _TEXT, clip=5.0))
    plain = without(chain_of(base), "BN")
    rows: list[dict[str, Cell]] = []
    curves: list[Curve] = []
    best: dict[str, float] = {}
    for label, steps in (("without", plain), ("with", behind(plain, (Conv,), "BN"))):
        for rate in rates:
            trials = lab.trials(f"{label} lr {rate:g}", with_chain(base, steps).with_settings(lr=rate))
            figure = spread(trials, accuracy)
            best[label] = max(best.get(label, 0.0), figure.mean)
            losses = curve(trials, "train_loss")
            rows.append({"variant": f"{label} BN", "lr": rate, "loss": round(losses[1][-1], 3), "accuracy": figure})
            curves.append(Curve(f"{label} BN, rate {rate:g}", *losses, bold=label == "with"))
    return Outcome(
        study=lab.study,
        folder=lab.folder,
        title="Batch normalisation on and off",
        claim="batch normalisation allows much higher rates and reaches the same accuracy in 14 times fewer steps "
        "(Ioffe and Szegedy 2015, Inception on ImageNet).",
        finding=f"at the best of the rates {best['without']:.2f} % without and {best['with']:.2f} % with it; at the "
        f"highest {rows[len(rates) - 1]['accuracy']} % without and {rows[-1]['accuracy']} % with it.",
        columns={"variant": "", "lr": "rate", "loss": "training loss at the end, nats", "accuracy": "accuracy, %"},
        rows=rows,
        chart=lines("batch_norm", curves, x="updates", y="training loss, nats"),
        notes=(
            "Gradients are clipped at a norm of 5 in every run, so that too high a rate learns badly but to the end.",
        ),
    )
