"""A deeper network that contains a shallower one: what exists, and what training finds.

K. He, X. Zhang, S. Ren, J. Sun, «Deep residual learning for image recognition», CVPR 2016, section 1: a deeper network
whose added layers are identities has the training error of the shallower one, yet solvers find no solution as good from
scratch. ReLU keeps what is not negative, so that behind one a 3x3 filter with a single 1 is an identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from foveal.errors import FovealError
from foveal.models import create
from foveal.notation.steps import FC, Conv, Plain, Step
from foveal.report.charts import Bar, bars
from foveal.studies._lab import Lab, Trial, accuracy, accuracy_on, spread, training_accuracy
from foveal.studies._networks import chain_of, with_chain
from foveal.studies._outcome import Cell, Outcome, Spread
from foveal.studies._recipes import small
from foveal.training.recipe import Recipe
from foveal.weights import save_weights

_TEXT = "[3-1-1Conv32 (ReLU) → 2-2MaxPool]x2 → 3-1-1Conv32 (ReLU) → GlobalAvgPool → FC10"


def identity_construction(lab: Lab, *, added: int = 5) -> Outcome:
    """A deeper network from scratch, and the same built of a trained shallower one and identity layers.

    added: 3x3 layers put behind each convolution with its ReLU.
    """
    base = lab.base(small(lab, _TEXT, length=15, clip=5.0))
    steps = chain_of(base)
    deeper, new = _deepened(steps, added)
    shallow_recipe, deep_recipe = with_chain(base, steps), with_chain(base, deeper)
    shallow = lab.trials("shallow", shallow_recipe)
    scratch = lab.trials("deeper from scratch", deep_recipe)
    files = [lab.folder / f"constructed-seed{seed}.safetensors" for seed in lab.seeds]
    for trial, file in zip(shallow, files, strict=True):
        save_weights(_constructed(trial.run.model(), deep_recipe, len(trial.run.classes), new), file)
    further = [
        lab.trial("deeper from the construction", deep_recipe.with_settings(weights=str(file)), seed)
        for seed, file in zip(lab.seeds, files, strict=True)
    ]
    few, many = (sum(isinstance(step, Conv | FC) for step in chain) for chain in (steps, deeper))
    variants = {
        f"{few} layers": (spread(shallow, training_accuracy), spread(shallow, accuracy)),
        f"{many} layers, from scratch": (spread(scratch, training_accuracy), spread(scratch, accuracy)),
        f"{many} layers, constructed, not trained": (_by(further, files, train=True), _by(further, files, train=False)),
        f"{many} layers, constructed, trained on": (spread(further, training_accuracy), spread(further, accuracy)),
    }
    rows: list[dict[str, Cell]] = [
        {"variant": label, "trained": pair[0], "tested": pair[1]} for label, pair in variants.items()
    ]
    trained = {label: pair[0] for label, pair in variants.items()}
    drawn = [Bar(label, figure.mean, figure.deviation or 0.0) for label, figure in trained.items()]
    said = "; ".join(f"{label} {figure} %" for label, figure in trained.items())
    return Outcome(
        study=lab.study,
        folder=lab.folder,
        title="A deeper network built of a shallower one",
        claim="the construction shows that a deeper network need not have a higher training error, yet solvers find no "
        "solution as good (He et al. 2016, section 1).",
        finding=f"training accuracy: {said}.",
        columns={"variant": "network", "trained": "training accuracy, %", "tested": "accuracy, %"},
        rows=rows,
        chart=bars("identity", drawn, x="training accuracy, %", at=next(iter(trained.values())).mean),
    )


def _constructed(shallow: nn.Module, recipe: Recipe, classes: int, new: Sequence[bool]) -> nn.Module:
    """The recipe's network with the shallow one's layers, and identities where `new` says (of layers with state)."""
    with torch.random.fork_rng(devices=[]):
        deeper = create(recipe.model, num_classes=classes, **recipe.options).eval()
    own = iter([layer for layer in shallow.children() if layer.state_dict()])
    for layer, is_new in zip([layer for layer in deeper.children() if layer.state_dict()], new, strict=True):
        if is_new:
            nn.init.dirac_(layer.get_parameter("weight"))
            nn.init.zeros_(layer.get_parameter("bias"))
        else:
            layer.load_state_dict(next(own).state_dict())
    return deeper


def _deepened(steps: Sequence[Step], added: int) -> tuple[list[Step], list[bool]]:
    """The steps with 3x3 layers behind each convolution's ReLU, and of each layer with state whether it is new."""
    if added < 1:
        raise FovealError(f"added={added}: a deeper network has more layers", "give a whole number from 1")
    deeper: list[Step] = []
    new: list[bool] = []
    maps = 0  # of the convolution whose ReLU comes next
    for step in steps:
        deeper.append(step)
        if isinstance(step, Conv | FC) or step in (Plain("BN"), Plain("PReLU")):
            new.append(False)
            maps = step.maps if isinstance(step, Conv) else 0 if isinstance(step, FC) else maps
        elif step == Plain("ReLU") and maps:
            deeper += [Conv(3, 1, maps, padding=1), Plain("ReLU")] * added
            new += [True] * added
    if not any(new):
        raise FovealError(
            "the network has no convolution with a ReLU", "name a base with one: behind it layers can be added"
        )
    return deeper, new


def _by(trials: Sequence[Trial], files: Sequence[Path], *, train: bool) -> Spread:
    """Accuracy with the constructed weights, before any training of them."""
    found = []
    for trial, file in zip(trials, files, strict=True):
        chosen = "train" if train else trial.evaluation.split
        found.append(accuracy_on(trial.run, chosen, str(file)))
    return Spread(tuple(found))
