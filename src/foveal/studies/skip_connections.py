"""What scores of finer layers add: FCN-32s, 16s and 8s, each from the one before.

J. Long, E. Shelhamer, T. Darrell, «Fully convolutional networks for semantic segmentation», CVPR 2015, section 4.2,
figure 4 and table 2. Later stages have been trained for longer: FCN-32s trained on for as long is the control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from foveal.data import drawing
from foveal.errors import FovealError
from foveal.evaluation import evaluate
from foveal.evaluation.masks import MaskEvaluation
from foveal.evaluation.splits import open_split
from foveal.recipes import resolve
from foveal.report.charts import Bar, bars
from foveal.studies._lab import Lab, Trial
from foveal.studies._outcome import Cell, Outcome, Spread
from foveal.training.recipe import Recipe

_BOUNDARY = 0.0075  # of an image's diagonal
_ENCODER = (
    "chain(text='[3-1-1Conv16 (BN, ReLU)]x2 → 2-2MaxPool → [3-1-1Conv32 (BN, ReLU)]x2 → 2-2MaxPool → "
    "[3-1-1Conv64 (BN, ReLU)]x2 → 2-2MaxPool → [3-1-1Conv128 (BN, ReLU)]x2 → 2-2MaxPool → "
    "[3-1-1Conv128 (BN, ReLU)]x2 → 2-2MaxPool → [FC256 (BN, ReLU)]x2 → FC11', input=(3, 128, 128))"
)
_STAGES = {"fcn32s": "FCN-32s", "fcn16s": "FCN-16s", "fcn8s": "FCN-8s"}
_FIGURES = {"mean_iu": "mean IU", "boundary_f1": "boundary F1", "pixel_accuracy": "pixel accuracy"}
_CONTROL = "FCN-32s, trained on for as long"
_SCENES, _CELL, _CAPTION = 2, 240, 18  # pictures; pixels


def skip_connections(lab: Lab, *, share: float = 0.5, rate: float = 0.3) -> Outcome:
    """FCN-32s, FCN-16s from it and FCN-8s from that: regions and boundaries, figures and pictures.

    share: the length of the later stages, of the first one's. rate: their learning rate, of the first one's. The base
    is a recipe of fcn32s; by default a narrow VGG with batch normalisation from scratch, on `data` at the size of
    CamVid's scenes at half resolution.

    Raises FovealError for a base of another network and for shares and rates that are not above 0.
    """
    if min(share, rate) <= 0:
        raise FovealError(f"share={share:g}, rate={rate:g}", "give numbers above 0")
    base = lab.base(_default(lab))
    if base.model != "fcn32s":
        raise FovealError(f"{base.name} trains {base.model}", "name a recipe of fcn32s: finer ones begin with it")
    length = max(1, round(share * base.length))
    later = base.with_settings(length=length, lr=rate * base.lr, partial=True)
    found = {"FCN-32s": lab.trials("fcn32s", base)}
    for model, coarser in (("fcn16s", "fcn32s"), ("fcn8s", "fcn16s")):
        found[_STAGES[model]] = _further(lab, model, later.with_settings(model=model), found[_STAGES[coarser]])
    longer = later.with_settings(length=2 * length)
    found[_CONTROL] = _further(lab, "fcn32s as long", longer, found["FCN-32s"])
    return _outcome(lab, base, found)


def _further(lab: Lab, label: str, recipe: Recipe, before: Sequence[Trial]) -> list[Trial]:
    """Runs that begin with the weights of others."""
    return [
        lab.trial(label, recipe.with_settings(weights=str(trial.run.path)), seed)
        for seed, trial in zip(lab.seeds, before, strict=True)
    ]


def _default(lab: Lab) -> Recipe:
    return resolve(
        "unet_camvid_fast",
        quick=lab.quick,
        name="skip_connections",
        model="fcn32s",
        options={"encoder": _ENCODER, "border": 40},
        length=1 if lab.quick else 10,
    )


def _outcome(lab: Lab, base: Recipe, found: Mapping[str, Sequence[Trial]]) -> Outcome:
    measured = {label: [_measured(trial) for trial in trials] for label, trials in found.items()}
    figures = {
        label: {
            key: Spread(tuple(e.metrics[key] for e in each)) for key in ("mean_iu", "boundary_f1", "pixel_accuracy")
        }
        for label, each in measured.items()
    }
    rows: list[dict[str, Cell]] = [{"network": label, **values} for label, values in figures.items()]
    drawn = [
        Bar(label, values[key].mean, values[key].deviation or 0.0, group=key)
        for key in ("mean_iu", "boundary_f1")
        for label, values in figures.items()
    ]
    told = "; ".join(f"{label} {values['mean_iu']} and {values['boundary_f1']}" for label, values in figures.items())
    return Outcome(
        study=lab.study,
        folder=lab.folder,
        title=f"Scores of finer layers: FCN-32s, FCN-16s and FCN-8s on {base.data}",
        claim="each stage refines: 59.4, 62.4 and 62.7 % mean IU on VOC 2011's validation images (Long et al. 2015, "
        "table 2).",
        finding=f"mean IU and boundary F1 in %: {told}.",
        columns={"network": "network", **{key: f"{title}, %" for key, title in _FIGURES.items()}},
        rows=rows,
        chart=bars("skips", drawn, x="mean IU above, boundary F1 below, %"),
        notes=[f"Boundaries are compared within {100 * _BOUNDARY:g} % of the diagonal, images at their own size."],
        pictures=_pictures({label: found[label][0] for label in _STAGES.values()}),
    )


def _measured(trial: Trial) -> MaskEvaluation:
    """The trial's evaluation with its boundaries."""
    known = trial.evaluation
    assert isinstance(known, MaskEvaluation)  # the base's task
    if known.boundary is not None:
        return known
    again = evaluate(trial.run, split=known.split, protocols=(f"whole_image(boundary={_BOUNDARY})",))
    assert isinstance(again, MaskEvaluation)
    return again


def _pictures(trials: Mapping[str, Trial]) -> Image.Image:
    """Some scenes, each as a row: the picture, the truth and what each network says."""
    first = next(iter(trials.values()))
    images = open_split(first.run, first.evaluation.split)
    count = len(images.classes)
    seen = {label: trial.run.segmenter() for label, trial in trials.items()}
    chosen = [(2 * i + 1) * len(images) // (2 * _SCENES) for i in range(_SCENES)]
    titles = ["picture", "truth", *seen]
    height = round(_CELL * images.load(chosen[0]).shape[1] / images.load(chosen[0]).shape[2])
    sheet = Image.new("RGB", (len(titles) * _CELL, _CAPTION + _SCENES * height), drawing.PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        drawing.text(draw, (column * _CELL + 2, 1), title, _CELL, 12)
    for row, i in enumerate(chosen):
        image = images.load(i)
        masks = [images.target(i).as_subclass(Tensor), *(one.labels(image) for one in seen.values())]
        views = [image, *(drawing.veiled(image, mask, count, 1.0) for mask in masks)]
        for column, view in enumerate(views):
            drawn = Image.fromarray(view.movedim(0, -1).contiguous().numpy())
            how = Image.Resampling.NEAREST if column else Image.Resampling.LANCZOS
            sheet.paste(drawn.resize((_CELL, height), how), (column * _CELL, _CAPTION + row * height))
    return sheet
