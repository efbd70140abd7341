"""The house recipe of detectors: anybody's images with boxes."""

from __future__ import annotations

from foveal.training.recipe import Recipe


def house_of_boxes(model: str, input: tuple[int, int, int], *, quick: bool) -> Recipe:
    """A detector trained on images with boxes, which come to its input whole, in their proportions.

    In training random windows are cut out as SSD does (those that hold objects in part are allowed, what has its centre
    outside is dropped), made smaller, mirrored, and recoloured. One-cycle AdamW with gradients of norm 10 at most, and
    a moving average of the weights. A start from other weights (`weights=FILE`) wants a fifth of the rate: lr=0.0002.
    """
    channels, height, width = input
    fitted = f"letterbox({height}, {width})"
    return Recipe(
        name=model.replace(":", "."),
        task="detect",
        model=model,
        data="photos",
        input=input,
        mean=(0.485, 0.456, 0.406) if channels == 3 else (0.5,),
        std=(0.229, 0.224, 0.225) if channels == 3 else (0.25,),
        prepare=(f"resize({round(1.25 * min(height, width))})",),
        augment=(
            "v2.RandomIoUCrop(min_scale=0.4)",
            fitted,
            "zoom_out(2, 0.3)",
            "flip",
            "color_jitter(0.3, 0.3, 0.3)",
        ),
        test=(fitted,),
        holdout=0.1,
        length=1 if quick else 80,
        batch_size=4 if quick else 8,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.01,
        decay_all=False,
        schedule="onecycle",
        clip=10.0,
        ema=0.99,
        evaluate_every=1 if quick else 4,
    )
