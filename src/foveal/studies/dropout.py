"""Dropout on and off: what it does to the errors in training and on new images.

A. Krizhevsky, I. Sutskever, G. E. Hinton, «ImageNet classification with deep convolutional neural networks», 2012,
section 4.2: without dropout the network «exhibits substantial overfitting»; with it convergence takes about twice the
iterations. Units are dropped with probability 0.5; one lecture describes dropped connections, which is DropConnect.
"""

from __future__ import annotations

from collections.abc import Sequence

from foveal.notation.steps import FC
from foveal.report.charts import Curve, lines
from foveal.studies._lab import Lab, accuracy, curve, spread, training_accuracy
from foveal.studies._networks import behind, chain_of, with_chain, without
from foveal.studies._outcome import Cell, Outcome, Spread
from foveal.studies._recipes import small

_TEXT = "3-1-1Conv32 (ReLU) → 2-2MaxPool → 3-1-1Conv64 (ReLU) → 2-2MaxPool → [FC512 (ReLU)]x2 → FC10"


def dropout(lab: Lab, *, rates: Sequence[float] = (0.0, 0.5)) -> Outcome:
    """Dropout on and off: accuracy in training and on new images, and the gap between them.

    rates: probabilities with which a unit of a hidden FC is dropped; 0 is without dropout.
    """
    base = lab.base(small(lab, _TEXT, length=30))
    plain = without(chain_of(base), "Dropout")
    rows: list[dict[str, Cell]] = []
    curves: list[Curve] = []
    for rate in rates:
        steps = behind(plain, (FC,), "Dropout", rate) if rate else plain
        trials = lab.trials(f"dropout {rate:g}", with_chain(base, steps))
        trained, tested = spread(trials, training_accuracy), spread(trials, accuracy)
        gap = Spread(tuple(a - b for a, b in zip(trained.values, tested.values, strict=True)))
        label = f"dropout {rate:g}" if rate else "without dropout"
        rows.append({"variant": label, "trained": trained, "tested": tested, "gap": gap})
        column = f"{trials[0].evaluation.split}_cross_entropy"
        curves.append(Curve(f"{label}: training", *curve(trials, "train_loss")))
        if column in trials[0].run.metrics()[0]:
            curves.append(Curve(f"{label}: new images", *curve(trials, column), bold=True))
    gaps = "; ".join(f"{row['variant']} {row['gap']}" for row in rows)
    return Outcome(
        study=lab.study,
        folder=lab.folder,
        title="Dropout on and off",
        claim="without dropout in the fully connected layers the network overfits substantially (Krizhevsky et al. "
        "2012, section 4.2).",
        finding=f"points of accuracy between training and new images: {gaps}.",
        columns={"variant": "", "trained": "training accuracy, %", "tested": "accuracy, %", "gap": "gap, points"},
        rows=rows,
        chart=lines("dropout", curves, x="updates", y="cross-entropy, nats"),
    )
