"""What each component of a recogniser is worth: one change at a time to any base, and one table.

K. Chatfield, K. Simonyan, A. Vedaldi, A. Zisserman, «Return of the devil in the details», BMVC 2014, and the lecture on
it: kernel size, kernel number, stride, width of the fully connected layers, augmentation, grey for colour, and the
averaging of networks that differ in their random start. The published changes are mean average precision on PASCAL VOC
2007 after pre-training on ImageNet; here the accuracy on the base's own data is measured, so that signs compare, and
sizes hardly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foveal import experiment, results
from foveal.data.open import data_splits, open_data
from foveal.errors import FovealError, unknown
from foveal.evaluation.ensemble import ensemble
from foveal.evaluation.own import cut_by_seed
from foveal.report.charts import Bar, bars
from foveal.studies._components import FACTORS, NETWORK, Variant
from foveal.studies._lab import Lab, accuracy, spread
from foveal.studies._networks import chain_of, parameters, with_chain
from foveal.studies._outcome import Cell, Outcome, Spread
from foveal.studies._recipes import small
from foveal.training.recipe import Recipe

_TEXT = (
    "5-1-2Conv16 (ReLU) → 2-2MaxPool → 3-1-1Conv32 (ReLU) → 2-2MaxPool → [3-1-1Conv32 (ReLU)]x2 → 2-2MaxPool → "
    "[FC256 (Dropout, ReLU)]x2 → FC10"
)
_AVERAGING = "averaging"
_ALL = (*FACTORS, _AVERAGING)


def chatfield(lab: Lab, *, factors: Sequence[str] = ("all",), average: int = 3) -> Outcome:
    """Chatfield's component study: kernels, stride, width, augmentation, colour and averaging, over any base.

    factors: kernel_size, kernel_number, stride, fc, augmentation, colour, averaging; or all that apply to the base.
    average: networks whose probabilities are averaged, which differ in their seed. The first four factors need a chain
    network, which is then made anew from its notation (`chain`), with He's initial weights.

    Raises FovealError for an unknown factor, and for one asked for by name that does not apply to the base.
    """
    wanted: Sequence[str] = _checked(factors, average)
    base = lab.base(_default(lab))
    base, variants, notes = _variants(base, wanted, everything="all" in factors)
    if _AVERAGING in wanted:
        wanted = _averaging(base, wanted, notes, everything="all" in factors)
    trials = lab.trials("base", base)
    classes, start = len(trials[0].run.classes), spread(trials, accuracy)
    rows: list[dict[str, Cell]] = [_row("base", "", start, None, parameters(base, classes))]
    drawn = [Bar("base", start.mean, start.deviation or 0.0)]
    for variant in variants:
        found = spread(lab.trials(f"{variant.factor} {variant.label}", variant.recipe), accuracy)
        rows.append(_row(variant.factor, variant.label, found, start, parameters(variant.recipe, classes)))
        rows[-1]["published"] = _published(variant.published)
        drawn.append(Bar(f"{variant.factor}: {variant.label}", found.mean, found.deviation or 0.0, variant.factor))
    if _AVERAGING in wanted:
        members = [*trials, *(lab.trial("base", base, seed) for seed in range(len(trials), average))]
        averaged = ensemble([trial.run for trial in members[:average]], split=trials[0].evaluation.split)
        together = Spread((100 - averaged.top1_error,))
        label = f"mean of {average}"
        rows.append(_row(_AVERAGING, label, together, start, average * parameters(base, classes)))
        drawn.append(Bar(f"{_AVERAGING}: {label}", together.mean, 0.0, _AVERAGING))
    return Outcome(
        study=lab.study,
        folder=lab.folder,
        title=f"Components of {base.name} on {base.data}",
        claim="crops and flips gain about 3 points of mAP, flips alone almost nothing; grey costs about 3; FC7 of 2048 "
        "or 1024 is marginally better than 4096 and 128 costs about 2 (Chatfield et al. 2014).",
        finding=f"points of accuracy against the base's {start} %: {_said(rows[1:])}.",
        columns={
            "factor": "factor",
            "variant": "variant",
            "accuracy": "accuracy, %",
            "change": "change, points",
            "parameters": "parameters",
            "published": "published, points of mAP",
        },
        rows=rows,
        chart=bars("chatfield", drawn, x="accuracy, %", at=start.mean),
        notes=notes,
    )


def _default(lab: Lab) -> Recipe:
    """A small CNN-S: crops of the corners and the centre, with flips on photographs but not on digits."""
    flip = () if lab.data in (None, "digits") else ("flip",)
    return small(lab, _TEXT, augment=("pad_crop(2)", *flip), lr=0.05, length=20, schedule="onecycle", weight_decay=5e-4)


def _checked(factors: Sequence[str], average: int) -> tuple[str, ...]:
    for name in factors:
        if name not in (*_ALL, "all"):
            raise unknown("factor of chatfield", name, [*_ALL, "all"])
    if average < 2:
        raise FovealError(f"average={average}: there is nothing to average", "give two networks or more")
    return _ALL if "all" in factors else tuple(factors)


def _variants(base: Recipe, wanted: Sequence[str], *, everything: bool) -> tuple[Recipe, list[Variant], list[str]]:
    """The base (rewritten when the network is to change) and all that differ from it, before anything is trained.

    With `everything` a factor that does not apply is left out and a note says why.
    """
    variants: list[Variant] = []
    notes: list[str] = []
    if set(wanted) & set(NETWORK):
        try:
            base = with_chain(base, chain_of(base))
        except FovealError as error:
            if not everything:
                raise
            wanted = [name for name in wanted if name not in NETWORK]
            notes.append(f"Left out, for {error.what}: {', '.join(NETWORK)}.")
    for name in (name for name in wanted if name in FACTORS):
        try:
            variants += FACTORS[name](base)
        except FovealError as error:
            if not everything:
                raise FovealError(f"factor {name} does not apply to {base.name}: {error.what}", error.mend) from error
            notes.append(f"Left out: {name}, for {error.what.splitlines()[0]}.")
    return base, variants, notes


def _averaging(base: Recipe, wanted: Sequence[str], notes: list[str], *, everything: bool) -> Sequence[str]:
    """The factors, without averaging where each seed holds other images out, so that none are new to all networks."""
    split = experiment.compared_on(base)
    splits = data_splits(base.data)
    if split in splits and not cut_by_seed(base.data, open_data(base.data, split, seed=0), split, seed=0):
        return wanted
    reason = f"{base.data} has no {split} images of its own, and each seed holds out others"
    if not everything:
        raise FovealError(f"factor averaging does not apply to {base.name}: {reason}", "give data with a test folder")
    notes.append(f"Left out: averaging, for {reason}.")
    return [name for name in wanted if name != _AVERAGING]


def _row(factor: str, label: str, found: Spread, start: Spread | None, count: int) -> dict[str, Cell]:
    change = round(found.mean - start.mean, 2) if start else None
    return {"factor": factor, "variant": label, "accuracy": found, "change": change, "parameters": count}


def _published(name: str) -> str:
    """What the paper's table says of a component: its change, else its words."""
    row = next((row for row in results.load("chatfield_components").rows if row["name"] == name), None)
    if row is None:
        return ""
    return str(row["text"]) if row["change"] is None else f"{row['change']:+g} ({row['text']})"


def _said(rows: Sequence[Mapping[str, Cell]]) -> str:
    return "; ".join(f"{row['factor']} {row['variant']} {row['change']:+.2f}" for row in rows) or "nothing was varied"
