"""The house recipe of networks for segmentation: anybody's folder of images and masks."""

from __future__ import annotations

from foveal import catalog
from foveal.training.recipe import Recipe

_WINDOW = 256  # pixels of a training window, where a network takes any size
_FIXED = ("label_map",)  # made for one size: images are brought to it


def house_of_masks(model: str, input: tuple[int, int, int] | None, *, own_objective: bool, quick: bool) -> Recipe:
    """A network trained on images with masks; `input` is the windows that it is shown, if given.

    Images are brought to a shorter side an eighth longer than the windows', which are cut out of them enlarged, turned
    and mirrored at random; in test the whole image is seen. One-cycle AdamW with gradients of norm 1 at most; rare
    classes weigh more, unless the network has an objective of its own; batch norm where the network offers it.
    """
    channels, height, width = input or _window(model)
    fixed = model in _FIXED
    options: dict[str, object] = {"batch_norm": True} if _offers_batch_norm(model) else {}
    if fixed:
        options["input"] = (channels, height, width)
    elif channels == 1 and _offers(model, "channels"):
        options["channels"] = 1
    window = f"({height}, {width})"
    return Recipe(
        name=model.replace(":", "."),
        task="segment",
        model=model,
        options=options,
        data="scenes",
        input=(channels, height, width),
        mean=(0.485, 0.456, 0.406) if channels == 3 else (0.5,),
        std=(0.229, 0.224, 0.225) if channels == 3 else (0.25,),
        prepare=(f"resize_exact({height}, {width})" if fixed else f"resize({round(max(height, width) * 9 / 8)})",),
        augment=(
            f"random_view({window}, scale=(0.75, 1.5), degrees=5)",
            "color_jitter(0.2, 0.2, 0.2)",
        ),
        holdout=0.1,
        length=1 if quick else 60,
        batch_size=4 if quick else 8,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.01,
        decay_all=False,
        schedule="onecycle",
        clip=1.0,
        class_weights="none" if own_objective else "median_frequency",
        ema=0.99,
        evaluate_every=1 if quick else 2,
    )


def _window(model: str) -> tuple[int, int, int]:
    """The network's own channels, and its own size where it has only one."""
    facts = catalog.facts(model)
    if facts is None:
        return 3, _WINDOW, _WINDOW
    if model in _FIXED:
        return facts.input[0], facts.input[1], facts.input[2]
    return facts.input[0], _WINDOW, _WINDOW


def _offers_batch_norm(model: str) -> bool:
    return _offers(model, "batch_norm")


def _offers(model: str, option: str) -> bool:
    return option in catalog.options(catalog.get("model", model))
