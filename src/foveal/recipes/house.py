"""The house recipe: any network of the catalogue on anybody's pictures, with the targets that it learns from."""

from __future__ import annotations

from collections.abc import Sequence

from foveal import catalog
from foveal.errors import FovealError
from foveal.recipes._house_boxes import house_of_boxes
from foveal.recipes._house_masks import house_of_masks
from foveal.training.recipe import Recipe

_FALLBACK_INPUT = (3, 224, 224)  # of networks that no paper describes


def house(
    model: str = "resnet18",
    *,
    task: str | None = None,
    input: Sequence[int | str] | str | None = None,
    quick: bool = False,
) -> Recipe:
    """A network trained on a folder with one folder per class, or on images with masks or boxes where it is for these.

    Command: foveal train resnet18 data=./photos

    The task is that of the folder where the network is listed, as for `foveal train unet data=./scenes` or
    `foveal train ssd_resnet data=./photos`; for a network of yours it is `task`, by default "classify". A classifier's
    `task` may be "tag": which classes are there, of images with boxes, as `foveal train resnet18 task=tag data=./VOC`.

    Classes from scratch: one-cycle SGD. A start from other weights (`weights=FILE`) wants a tenth of the rate: add
    lr=0.005.
    Ten per cent of the training pictures are held out to choose the best checkpoint, unless the data has a validation
    split of its own. Inputs of 64 pixels and less are resized, larger ones cropped at random scales; `input` (channels,
    height, width) is the network's own unless it is given. Labels are smoothed, unless the network has an objective of
    its own.

    Expected of every classifier of the catalogue: on twenty digits at its smallest input, without augmentation and with
    optimizer=adamw lr=0.001, the training loss falls a nat below a guess's, or to half with an objective of its own,
    within 40 updates; without batch norm within 100. (AlexNet and NIN want half of that rate, and AlexNet std=0.004;
    plain110 hardly learns, which is the degradation that shortcuts mend.)
    """
    if (task or _task(model)) == "segment":
        shape = None if input is None else _shape(model, input)
        return house_of_masks(model, shape, own_objective=_has_own_objective(model), quick=quick)
    if (task or _task(model)) == "detect":
        return house_of_boxes(model, _shape(model, input), quick=quick)
    channels, height, width = _shape(model, input)
    smoothing = 0.0 if task == "tag" or _has_own_objective(model) else 0.1
    small = max(height, width) <= 64
    natural = channels == 3
    window = f"{height}" if height == width else f"({height}, {width})"
    return Recipe(
        name=model.replace(":", "."),
        task="tag" if task == "tag" else "classify",
        model=model,
        data="photos",
        input=(channels, height, width),
        mean=(0.485, 0.456, 0.406) if natural else (0.5,),
        std=(0.229, 0.224, 0.225) if natural else (0.5,),
        prepare=(f"resize_exact({height}, {width})",) if small else (),
        augment=(f"pad_crop({max(1, height // 8)})", "flip")
        if small
        else (f"random_resized_crop({window})", "flip", "color_jitter(0.2, 0.2, 0.2)"),
        test=() if small else (f"resize({round(max(height, width) * 8 / 7)})",),
        holdout=0.1,
        length=1 if quick else 40,
        batch_size=16 if quick else 32,
        lr=0.05,
        nesterov=True,
        weight_decay=5e-4,
        schedule="onecycle",
        label_smoothing=smoothing,
    )


def _task(model: str) -> str:
    """What a network of the catalogue is for, by the folder that its file is in."""
    listed = catalog.entries("model").get(model)
    return listed.module.split(".")[2] if listed else "classify"


def _shape(model: str, given: Sequence[int | str] | str | None) -> tuple[int, int, int]:
    """The input to make a recipe for: the one given, as the schema reads it, else the network's own."""
    if given is not None:
        least = Recipe(name="house", model=model, data="photos", input=_FALLBACK_INPUT, length=1, batch_size=1, lr=1)
        return least.with_settings(input=given).input
    facts = catalog.facts(model)
    own = facts.input if facts else _FALLBACK_INPUT
    if len(own) != 3:
        raise FovealError(f"{model} takes inputs of shape {own}, not images", "choose a network that takes images")
    return own[0], own[1], own[2]


def _has_own_objective(model: str) -> bool:
    """Whether the network defines its losses itself, so that there are no labels to smooth."""
    import torch  # here, since listing recipes does without

    from foveal.models import create

    with torch.random.fork_rng(devices=[]), torch.device("cpu" if ":" in model else "meta"):
        return hasattr(create(model), "losses")
