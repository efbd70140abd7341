"""How weights begin: all zero, small random numbers, and standard deviations around √(2/n).

K. He, X. Zhang, S. Ren, J. Sun, «Delving deep into rectifiers», ICCV 2015: with ReLU, weights of standard deviation
√(2/n), n the inputs of a unit, keep the scale of activations from layer to layer; smaller ones let them shrink and
larger ones explode. (One lecture takes n for the outputs, which is the paper's variant for the gradient.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foveal.models import create
from foveal.report.charts import Curve, lines
from foveal.studies._lab import Lab, accuracy, curve, spread
from foveal.studies._networks import chain_of, with_chain
from foveal.studies._outcome import Cell, Outcome
from foveal.studies._recipes import small
from foveal.training.recipe import Recipe

_TEXT = "3-1-1Conv32 (ReLU) → [3-1-1Conv32 (ReLU)]x3 → 2-2MaxPool → [3-1-1Conv32 (ReLU)]x4 → GlobalAvgPool → FC10"


def initialisation(lab: Lab, *, scales: Sequence[float] = (0.3, 1.0, 2.0)) -> Outcome:
    """Initial weights of zero, N(0, 0.01²) and multiples of √(2/n): activations before training, accuracy after it.

    scales: the multiples of He's √(2/n).
    """
    base = lab.base(small(lab, _TEXT, clip=5.0))
    steps = chain_of(base)
    variants: dict[str, dict[str, str | float]] = {"zero": {"weights": 0.0}, "N(0, 0.01²)": {"weights": 0.01}}
    variants |= {f"{scale:g} · √(2/n)": {"weights": "he", "scale": scale} for scale in scales}
    rows: list[dict[str, Cell]] = []
    curves: list[Curve] = []
    for label, options in variants.items():
        recipe = with_chain(base, steps, **options)
        trials = lab.trials(" ".join(f"{key} {value}" for key, value in options.items()), recipe)
        first, last = _scales(recipe)
        rows.append(
            {"variant": label, "first": f"{first:.2g}", "last": f"{last:.2g}", "accuracy": spread(trials, accuracy)}
        )
        curves.append(Curve(label, *curve(trials, "train_loss"), bold=label.startswith("1 ")))
    said = "; ".join(f"{row['variant']} {row['accuracy']} %" for row in rows)
    return Outcome(
        study=lab.study,
        folder=lab.folder,
        title="Initial weights",
        claim="with ReLU, standard deviation √(2/n) keeps the scale of activations through the layers, so that deep "
        "networks begin to learn; smaller weights let it vanish (He et al. 2015).",
        finding=f"accuracy by initial weights: {said}.",
        columns={
            "variant": "initial weights",
            "first": "rms activation, first layer",
            "last": "last hidden layer",
            "accuracy": "accuracy, %",
        },
        rows=rows,
        chart=lines("initialisation", curves, x="updates", y="training loss, nats"),
        notes=("Activations are those of normal noise before training. Gradients are clipped at a norm of 5.",),
    )


def _scales(recipe: Recipe) -> tuple[float, float]:
    """Root mean square of the first and the last activation of the untrained network, for unit noise."""
    found: list[float] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append(float(output.square().mean().sqrt()))

    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        model = create(recipe.model, **recipe.options).eval()
        for layer in model.modules():
            if isinstance(layer, nn.ReLU | nn.Tanh | nn.Sigmoid | nn.LeakyReLU | nn.PReLU):
                layer.register_forward_hook(note)
        model(torch.randn(8, *recipe.input))
    return (found[0], found[-1]) if found else (0.0, 0.0)
