"""Starting from what another network has learned: which layers stay as they are, and how fast the others learn.

The lectures' rule: with little data the network is a fixed extractor of features under a new last layer; with more,
some of its later layers learn too; with much, all do, at a lower rate than the new layer. The bounds between little and
much, in training images a class, are ours. (J. Yosinski, J. Clune, Y. Bengio, H. Lipson, «How transferable are features
in deep neural networks?», NIPS 2014, measure what each choice costs: `foveal study transfer`.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from foveal.errors import FovealError, unknown
from foveal.graph.order import execution_order
from foveal.training.recipe import Recipe

LITTLE, MUCH = 100, 1000  # training images a class
_LEARNED = 0.1  # of the rate, for layers that have learned already


@dataclass(frozen=True)
class Plan:
    """`frozen`: paths of modules whose weights and statistics stay. `factors`: of each parameter that learns, the
    multiple of the recipe's rate. `said`: the same in words, "" where every layer learns at the recipe's rate; and what
    to know of the weights."""

    frozen: tuple[str, ...]
    factors: Mapping[str, float]
    said: str


def plan(recipe: Recipe, model: nn.Module, images: int, classes: int) -> Plan:
    """What of a network learns, by `freeze`, `head_lr` and `layer_decay`, or by the preset `transfer`, for so many
    training images. FovealError for a layer that it does not have."""
    if not recipe.freeze and recipe.head_lr == recipe.layer_decay == 1 and recipe.transfer == "none":
        return Plan((), {}, _unlike(recipe))
    order, note = layers(model)
    weighted = [path for path in order if _has_weights(model, path)]
    freeze, head, trunk, decay = recipe.freeze, recipe.head_lr, 1.0, recipe.layer_decay
    said: list[str] = []
    if recipe.transfer != "none":
        freeze, trunk, why = _preset(recipe.transfer, order, weighted, images / classes)
        said.append(why)
    frozen = [path for path in up_to(order, freeze) if _has_state(model, path)] if freeze else []
    factors = _factors(model, order, weighted, set(frozen), head=head, trunk=trunk, decay=decay)
    if freeze:
        count = sum(path in frozen for path in weighted)
        began = "" if recipe.weights else ", at their random start"
        said.append(
            f"frozen up to {freeze}{began}: {count} of {len(weighted)} layers with weights; their statistics stay too"
        )
    if len(set(factors.values())) > 1 or trunk != 1:
        rates = sorted(set(factors.values()))
        said.append(f"rates from {rates[0]:g} to {rates[-1]:g} of lr, the last layer {weighted[-1]} at {head:g}")
    warnings = [text for text in (note if said else "", _unlike(recipe)) if text]
    return Plan(tuple(frozen), factors, "\n".join(said + warnings))


def _unlike(recipe: Recipe) -> str:
    """A warning where the recipe starts from a run whose pixels were normalised otherwise; "" where all is alike."""
    file = Path(recipe.weights or "") / "recipe.json"
    if not recipe.weights or not file.is_file():
        return ""
    other = Recipe.from_json(file.read_text(encoding="utf-8"))
    keys = [key for key in ("mean", "std", "mean_image", "whiten") if _each(other, key) != _each(recipe, key)]
    if not keys:
        return ""
    settings = " ".join(f"{key}={_written(getattr(other, key))}" for key in keys)
    return f"warning: {recipe.weights} saw its images with {settings}: add this, unless they are to differ"


def _each(recipe: Recipe, key: str) -> object:
    """A setting, with a value for each channel where it has one for all."""
    value = getattr(recipe, key)
    return value * recipe.input[0] if isinstance(value, tuple) and len(value) == 1 else value


def _written(value: object) -> str:
    """As the command line takes it."""
    return ",".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value).lower()


def layers(model: nn.Module) -> tuple[list[str], str]:
    """The modules' paths in order of execution; for a network that cannot be traced in that of definition, and a note
    that says so."""
    try:
        return list(execution_order(model)), ""
    except FovealError as error:
        note = f"layers in order of their definition, since the network cannot be traced: {error.what.splitlines()[0]}"
        return [path for path, _ in model.named_modules() if path], note


def up_to(order: Sequence[str], layer: str) -> list[str]:
    """The layers up to and including the one named; a block includes all of its own. FovealError if there is none."""
    places = [i for i, path in enumerate(order) if path == layer or path.startswith(f"{layer}.")]
    if not places:
        raise unknown("layer", layer, order)
    return list(order[: places[-1] + 1])


def steps(model: nn.Module) -> list[str]:
    """Per layer with weights, in order, the last module before the next such layer: what `freeze` and `weights_to` take
    for its first one, two … layers, with the normalisation that belongs to them. Without the last layer."""
    order, _ = layers(model)
    places = [i for i, path in enumerate(order) if _has_weights(model, path)]
    return [order[following - 1] for following in places[1:]]


def _preset(name: str, order: Sequence[str], weighted: Sequence[str], each: float) -> tuple[str, float, str]:
    """The layer up to which all is frozen, the factor of the others below the last, and the reason."""
    why = f"transfer={name}"
    if name == "auto":
        name = "small" if each < LITTLE else "medium" if each < MUCH else "large"
        why = f"transfer={name}, for there are {each:.0f} training images a class ({LITTLE} and {MUCH} are the bounds)"
    count = {"small": len(weighted) - 1, "medium": len(weighted) // 2, "large": 0}[name]
    freeze = order[order.index(weighted[count]) - 1] if count else ""
    told = {
        "small": "little data would be overfitted, so the network extracts features and only its last layer learns",
        "medium": "the first half has general features and stays; the rest learns at a tenth of the last layer's rate",
        "large": "enough data for all layers to learn, at a tenth of the new last layer's rate",
    }[name]
    return freeze, _LEARNED, f"{why}: {told}"


def _factors(
    model: nn.Module,
    order: Sequence[str],
    weighted: Sequence[str],
    frozen: set[str],
    *,
    head: float,
    trunk: float,
    decay: float,
) -> dict[str, float]:
    """A parameter's multiple of the rate. Layers that forward does not run, such as auxiliary classifiers, count as
    heads."""
    depths, depth = {}, 0
    for path in order:
        depth += path in weighted
        depths[path] = depth
    found: dict[str, float] = {}
    for name, _ in model.named_parameters():
        path = name.rpartition(".")[0]
        below = len(weighted) - depths.get(path, len(weighted))  # layers with weights between it and the last
        if path not in frozen:
            found[name] = head if below == 0 else trunk * decay**below
    return found


def _has_weights(model: nn.Module, path: str) -> bool:
    return any(p.ndim > 1 for p in model.get_submodule(path).parameters(recurse=False))


def _has_state(model: nn.Module, path: str) -> bool:
    module = model.get_submodule(path)
    return any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False))
