"""Yosinski's experiment: how far the layers of one task serve another, layer by layer.

J. Yosinski, J. Clune, Y. Bengio, H. Lipson, «How transferable are features in deep neural networks?», NIPS 2014, and
the lecture on it. The classes are split into A and B, and a network is trained on each: baseA and baseB. Then for every
n the first n layers of one of them are taken, the others begin anew, and all is trained on B:

    BnB   the first n layers of baseB, frozen       BnB+  the same, and they learn on
    AnB   the first n layers of baseA, frozen       AnB+  the same, and they learn on
    RnB   the first n layers at their random start, frozen (the control)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from foveal.errors import FovealError, unknown
from foveal.models import create
from foveal.report.charts import Curve, lines
from foveal.studies._halves import halves as split_classes
from foveal.studies._lab import Lab, Trial, accuracy, spread
from foveal.studies._outcome import Cell, Outcome, Spread
from foveal.studies._recipes import small
from foveal.training.recipe import Recipe
from foveal.training.transfer import steps

_TEXT = (
    "3-1-1Conv24 (ReLU) → 2-2MaxPool → 3-1-1Conv32 (ReLU) → 2-2MaxPool → 3-1-1Conv48 (ReLU) → 2-2MaxPool → "
    "FC128 (ReLU) → FC10"
)
_KINDS = {
    "BnB": "baseB's, frozen",
    "BnB+": "baseB's, learning on",
    "AnB": "baseA's, frozen",
    "AnB+": "baseA's, learning on",
    "RnB": "random, frozen",
}
_CLAIM = (
    "frozen layers of the own task cost most in the middle, where layers had adapted to each other (BnB), and learning "
    "on repairs that (BnB+); frozen layers of another task cost more the higher they are (AnB); learning on from "
    "another task is better than not to have had it (AnB+); random layers are much worse (Yosinski et al. 2014)."
)
_Found = dict[tuple[str, int], list[Trial]]


def transfer(
    lab: Lab, *, a: Sequence[str] = ("",), layers: Sequence[int] = (0,), kinds: Sequence[str] = ("all",)
) -> Outcome:
    """Yosinski's experiment: the first n layers of one task taken to another, frozen or learning on.

    a: the classes of A, such as cat,dog,horse; the others are B. By default half of them, drawn anew for each seed.
    layers: the numbers n of layers that are taken; 0 for all of them. kinds: BnB, BnB+, AnB, AnB+, RnB, or all. Layers
    are those with weights, in order of execution, each with the normalisation behind it.

    Raises FovealError for unknown classes and kinds, and for numbers of layers that the network does not have.
    """
    wanted = _checked(kinds)
    base = lab.base(_default(lab))
    if base.weights or base.transfer != "none" or base.freeze:
        raise FovealError(f"{base.name} starts from weights or freezes layers, and so does this study", "leave it away")
    halves = [split_classes(base, a, seed) for seed in lab.seeds]
    with torch.device("meta"):
        cuts = steps(create(base.model, num_classes=len(halves[0][1]), **base.options))
    numbers = _numbers(layers, len(cuts))
    bases: dict[str, list[Trial]] = {"A": [], "B": []}
    found: _Found = {(kind, n): [] for kind in wanted for n in numbers}
    for seed, (of_a, of_b) in zip(lab.seeds, halves, strict=True):
        own = {"A": base.with_settings(classes=of_a), "B": base.with_settings(classes=of_b)}
        for name, recipe in own.items():
            bases[name].append(lab.trial(f"base{name}", recipe, seed))
        for kind, n in found:
            recipe = _variant(own["B"], kind, cuts[n - 1], {name: trials[-1] for name, trials in bases.items()})
            found[kind, n].append(lab.trial(kind.replace("n", str(n)), recipe, seed))
    return _outcome(lab, base, bases=bases, found=found, numbers=numbers, cuts=cuts, halves=halves)


def _variant(base: Recipe, kind: str, cut: str, trained: dict[str, Trial]) -> Recipe:
    """The recipe on B with the layers up to `cut` taken from where the kind says."""
    if kind == "RnB":
        return base.with_settings(freeze=cut)
    settings = {"weights": str(trained[kind[0]].run.path), "weights_to": cut}
    return base.with_settings(**settings, freeze="" if kind.endswith("+") else cut)


def _outcome(
    lab: Lab,
    base: Recipe,
    *,
    bases: dict[str, list[Trial]],
    found: _Found,
    numbers: Sequence[int],
    cuts: Sequence[str],
    halves: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
) -> Outcome:
    own = spread(bases["B"], accuracy)
    rows: list[dict[str, Cell]] = [
        {"kind": f"base{name}", "layers": f"all learn on {name}", "accuracy": spread(trials, accuracy)}
        for name, trials in bases.items()
    ]
    for (kind, n), trials in found.items():
        here = spread(trials, accuracy)
        pairs = zip(here.values, own.values, strict=True)
        rows.append(
            {
                "kind": kind.replace("n", str(n)),
                "layers": f"{n}, to {cuts[n - 1]}: {_KINDS[kind]}",
                "accuracy": here,
                "change": Spread(tuple(mine - before for mine, before in pairs)),
            }
        )
    wanted = list(dict.fromkeys(kind for kind, _ in found))
    drawn = []  # in charts hues go round by fours and dashes follow: one hue for each source, dashed where it learns on
    for kind in [*(k for k in wanted if k[-1] != "+"), "baseB", *(k for k in wanted if k[-1] == "+")]:
        means = [own.mean if kind == "baseB" else spread(found[kind, n], accuracy).mean for n in numbers]
        label = kind if kind == "baseB" else f"{kind}: {_KINDS[kind]}"
        drawn.append(Curve(label, [0, *numbers], [own.mean, *means], bold=kind.startswith("A")))
    lowest = min(min(curve.y) for curve in drawn)
    highest = max(max(curve.y) for curve in drawn)
    told = "; ".join(f"{kind} {', '.join(f'{_change(found[kind, n], own):+.1f}' for n in numbers)}" for kind in wanted)
    return Outcome(
        study=lab.study,
        folder=lab.folder,
        title=f"The first n layers of {base.name}, taken from one half of the classes of {base.data} to the other",
        claim=_CLAIM,
        finding=f"points of accuracy against baseB's {own} %, for n = {', '.join(map(str, numbers))}: {told}.",
        columns={"kind": "kind", "layers": "layers taken", "accuracy": "accuracy on B, %", "change": "against baseB"},
        rows=rows,
        chart=lines(
            "transfer", drawn, x="layers taken, n", y="accuracy on B, %", limits=(max(0, lowest - 3), highest + 2)
        ),
        notes=[
            f"Seed {seed}: A is {', '.join(of_a)}; B is {', '.join(of_b)}."
            for seed, (of_a, of_b) in zip(lab.seeds, halves, strict=True)
        ],
    )


def _change(trials: Sequence[Trial], own: Spread) -> float:
    return spread(trials, accuracy).mean - own.mean


def _default(lab: Lab) -> Recipe:
    return small(lab, _TEXT, lr=0.05, schedule="onecycle", weight_decay=5e-4, evaluate_every=5)


def _checked(kinds: Sequence[str]) -> list[str]:
    for kind in kinds:
        if kind not in (*_KINDS, "all"):
            raise unknown("kind of transfer", kind, [*_KINDS, "all"])
    return [kind for kind in _KINDS if kind in kinds or "all" in kinds]


def _numbers(layers: Sequence[int], most: int) -> list[int]:
    if 0 in layers:
        return list(range(1, most + 1))
    for n in layers:
        if not 1 <= n <= most:
            raise FovealError(
                f"layers={n}: the network has {most} layers with weights below its last",
                f"give numbers from 1 to {most}",
            )
    return sorted(set(layers))
