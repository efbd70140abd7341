"""The course of the training: what was trained on what by which command, and the learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from foveal.report import charts
from foveal.report.charts import Curve
from foveal.report.html import Html, escape, figure, join, paragraph, section, tag
from foveal.tasks import task
from foveal.training.recipe import Recipe
from foveal.training.run import Run

Rows = Sequence[Mapping[str, float | str | None]]


def told(run: Run) -> str:
    """One sentence: the network, the images, the optimiser, the schedule, the length."""
    r = run.recipe
    images = run.data["counts"]["train"]
    size = "x".join(map(str, r.input))
    how = f"{_optimizer(r)}, {_schedule(r)}, batches of {r.batch_size}"
    start = f", starting from the weights of {r.weights}" if r.weights else ""
    return (
        f"{r.model} was trained on {images:,} images of {len(run.classes)} classes from {r.data}, seen at {size}, "
        f"for {r.length:,} {r.unit}{start}: {how}."
    )


def course(run: Run, own_objective: bool) -> Html:
    """The curves of loss, error and learning rate over the updates.

    `own_objective` says that the network is trained on other terms than the cross-entropy.
    """
    steps, evaluations = run.steps(), run.metrics()
    watched = str(run.data["watched"])
    measured = {"val": "validation", "test": "test"}.get(watched, "")
    plots = []
    validation = _curve(measured, evaluations, f"{watched}_cross_entropy", bold=True)
    training = _curve("training", steps, "loss")
    if own_objective or run.recipe.task == "tag":  # on another scale than the cross-entropy
        said = f"The {run.recipe.loss} loss of all classes." if not own_objective else "The network's own objective."
        plots += _plot("objective", [training], "training loss", said)
        training = None
    plots += _plot("loss", [training, validation], "cross-entropy, nats", _said(run.recipe))
    if run.recipe.task == "classify":
        errors = [_curve(measured, evaluations, f"{watched}_top1_error", bold=True)]
        plots += _plot("error", errors, "top-1 error, %", f"Top-1 error of the {measured} images.")
    else:
        plots += _figures(run.recipe.task, evaluations, watched, f"Figures of the {measured} images.")
    plots += _plot("rate", [_curve("learning rate", steps, "lr")], "learning rate", "Learning rate.")
    if not plots:
        return section("course", "Training", paragraph("Nothing was recorded yet.", "note"))
    lines = "The thin line is training" + (f", the bold one {measured}." if measured else ".")
    if watched == "test":
        lines += " The test images were only watched: they chose neither the checkpoint nor the length."
    return section("course", "Training", paragraph(lines), tag("div", join(plots), class_="two"))


def _said(r: Recipe) -> str:
    """What the training loss is."""
    if r.class_weights != "none":
        return "Cross-entropy of the pixels, each weighted by its class (median frequency)."
    return "Cross-entropy; label smoothing raises that of the training." if r.label_smoothing else "Cross-entropy."


def _figures(name: str, rows: Rows, watched: str, caption: str) -> list[Html]:
    """All that was measured in one chart, the task's own figure bold."""
    prefix, main = f"{watched}_", f"{watched}_{task(name).figure}"
    columns = [column for column in (rows[0] if rows else ()) if column.startswith(prefix)] if watched else []
    made = (
        _curve(column.removeprefix(prefix).replace("_", " "), rows, column, bold=column == main) for column in columns
    )
    found = [replace(curve, dots=len(curve.x) < 2) for curve in made if curve is not None]
    return [figure(charts.lines("figures", found, x="updates", y="%"), caption)] if found else []


def _curve(label: str, rows: Rows, column: str, bold: bool = False) -> Curve | None:
    points = [
        (step, value)
        for row in rows
        if isinstance(step := row.get("step"), float) and isinstance(value := row.get(column), float)
    ]
    if not points:
        return None
    x, y = zip(*points, strict=True)
    return Curve(label, x, y, bold)


def _plot(name: str, found: Sequence[Curve | None], y: str, caption: str) -> list[Html]:
    """One chart of the curves that are there, or none."""
    lines = [line for line in found if line is not None]
    if not lines:
        return []
    values = [value for line in lines for value in line.y]
    log = name in ("loss", "objective") and min(values) > 0 and max(values) / min(values) > 30
    return [figure(charts.curves(name, lines, x="updates", y=y, log=log), caption)]


def _optimizer(r: Recipe) -> str:
    if r.optimizer == "adamw":
        return f"AdamW at {r.lr:g}, weight decay {r.weight_decay:g}"
    if r.optimizer == "rmsprop":
        return f"RMSprop at {r.lr:g}, weight decay {r.weight_decay:g}"
    nesterov = "Nesterov " if r.nesterov else ""
    return f"SGD at {r.lr:g} with {nesterov}momentum {r.momentum:g}, weight decay {r.weight_decay:g}"


def _schedule(r: Recipe) -> str:
    names = {
        "constant": "a constant rate",
        "step": f"the rate times {r.gamma:g} at {', '.join(f'{m:,}' for m in r.milestones)} {r.unit}",
        "plateau": f"the rate times {r.gamma:g} on plateaus",
        "exponential": f"the rate times {r.gamma:g} per {r.unit.removesuffix('s')}",
        "cosine": "a cosine schedule",
        "onecycle": "a one-cycle schedule",
    }
    return names[r.schedule]


def command(run: Run) -> Html:
    """The command that started the run."""
    return tag("pre", escape(str(run.environment["command"])))
