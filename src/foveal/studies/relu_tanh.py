"""ReLU against tanh: how many updates until a quarter of the training images is wrong.

A. Krizhevsky, I. Sutskever, G. E. Hinton, «ImageNet classification with deep convolutional neural networks», 2012,
section 3.1 and figure 1: four convolutional layers on CIFAR-10, each kind with a rate of its own, no regularisation.
Here the training loss stands for the training error, which would have to be measured after each update.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from foveal.report.charts import Curve, lines
from foveal.studies._lab import Lab, Trial, accuracy, spread
from foveal.studies._networks import chain_of, with_activation, with_chain
from foveal.studies._outcome import Outcome, Spread
from foveal.studies._recipes import small

_TEXT = "[3-1-1Conv32 (ReLU) → 2-2MaxPool]x3 → 3-1-1Conv64 (ReLU) → FC10"
_TITLES = {"ReLU": "ReLU", "Tanh": "tanh"}


def relu_tanh(
    lab: Lab, *, rates: Sequence[float] = (0.003, 0.01, 0.03), target: float = 0.72, window: int = 20
) -> Outcome:
    """ReLU against tanh: updates until the training loss falls to a target, each at the best of several rates.

    rates: learning rates tried with both. target: training loss in nats; at 0.72 about a quarter of the images is
    wrong. window: updates over which the loss is averaged.
    """
    base = lab.base(small(lab, _TEXT, log_every=1))
    steps = chain_of(base)
    tried: dict[str, dict[float, list[Trial]]] = {}
    for word, title in _TITLES.items():
        recipe = with_chain(base, with_activation(steps, word)).with_settings(log_every=1)
        tried[word] = {rate: lab.trials(f"{title} lr {rate:g}", recipe.with_settings(lr=rate)) for rate in rates}
    counts = {
        word: {rate: spread(trials, lambda t: _reached(t, target, window)) for rate, trials in found.items()}
        for word, found in tried.items()
    }
    best = {word: min(found, key=lambda rate: found[rate].mean) for word, found in counts.items()}
    rows = [
        {
            "activation": _TITLES[word],
            "lr": rate,
            "updates": _text(counts[word][rate]),
            "accuracy": spread(tried[word][rate], accuracy),
            "best": "fastest" if rate == best[word] and math.isfinite(counts[word][rate].mean) else "",
        }
        for word in tried
        for rate in rates
    ]
    relu, tanh = (counts[word][best[word]].mean for word in ("ReLU", "Tanh"))
    reached = math.isfinite(relu) and math.isfinite(tanh)
    curves = [
        Curve(
            f"{_TITLES[word]}, rate {best[word]:g}", *_smoothed(tried[word][best[word]][0], window), bold=word == "ReLU"
        )
        for word in tried
    ]
    return Outcome(
        study=lab.study,
        folder=lab.folder,
        title="ReLU against tanh",
        claim="ReLU reaches 25 % training error on CIFAR-10 six times as fast as tanh "
        "(Krizhevsky et al. 2012, figure 1).",
        finding=(
            f"to a training loss of {target:g}, ReLU takes {relu:.0f} updates and tanh {tanh:.0f}: "
            f"{tanh / relu:.1f} times as many."
            if reached
            else f"a training loss of {target:g} was not reached by both; set a greater length or target."
        ),
        columns={
            "activation": "activation",
            "lr": "rate",
            "updates": f"updates to a training loss of {target:g}",
            "accuracy": "accuracy, %",
            "best": "",
        },
        rows=rows,
        chart=lines("relu_tanh", curves, x="updates", y="training loss, nats", log=True),
    )


def _reached(trial: Trial, target: float, window: int) -> float:
    """The first update at which the averaged loss is at the target; infinity when it never is."""
    steps, losses = _smoothed(trial, window)
    return next((step for step, loss in zip(steps, losses, strict=True) if loss <= target), math.inf)


def _smoothed(trial: Trial, window: int) -> tuple[list[float], list[float]]:
    """Updates, and the mean loss of the last `window` at each."""
    rows = trial.run.steps()
    losses = [float(row["loss"] or 0) for row in rows]
    steps = [float(row["step"] or 0) for row in rows]
    means = [sum(losses[max(0, i - window + 1) : i + 1]) / min(i + 1, window) for i in range(len(losses))]
    return steps[window - 1 :], means[window - 1 :]


def _text(updates: Spread) -> Spread | str:
    return updates if all(map(math.isfinite, updates.values)) else "not reached"
