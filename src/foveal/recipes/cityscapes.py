"""Street scenes of Cityscapes in 19 classes (Cordts et al. 2016): 2,975 training, 500 validation images of 1024x2048.

The published figures are the papers' own on the test server; none was measured by us, and a GPU's memory is needed.
"""

from __future__ import annotations

from typing import Any

from foveal.training.recipe import Recipe


def frrn_a_cityscapes(*, quick: bool = False) -> Recipe:
    """FRRN A at a quarter of the resolution, from scratch: Adam at 1e-3, batches of 3 (Pohlen et al. 2017, section 6).

    Command: foveal train frrn_a_cityscapes data=cityscapes

    Departures: cross-entropy of all pixels, where the paper takes the hardest alone; the length and the fall of the
    rate, after three quarters, are our choice.
    """
    return _frrn("frrn_a", quick, (3, 256, 512))


def frrn_b_cityscapes(*, quick: bool = False) -> Recipe:
    """FRRN B at half of the resolution, from scratch; otherwise as frrn_a_cityscapes.

    Command: foveal train frrn_b_cityscapes data=cityscapes

    Published: 71.8 % mean IU on the test images.
    """
    return _frrn("frrn_b", quick, (3, 512, 1024))


def gridnet_cityscapes(*, quick: bool = False) -> Recipe:
    """GridNet on windows of 400x400 pixels, from scratch: Adam at 0.01, batches of 4 (Fourure et al. 2017, section 4).

    Command: foveal train gridnet_cityscapes data=cityscapes

    Windows are of random size in the paper, here at scales of 0.5 to 2. The fall of the rate, by a little each epoch,
    and the length are our choice.
    """
    return _cityscapes(
        "gridnet_cityscapes",
        input=(3, 400, 400),
        augment=("random_view((400, 400), scale=(0.5, 2))",),
        length=1 if quick else 800,
        batch_size=1 if quick else 4,
        optimizer="adamw",
        lr=0.01,
        schedule="exponential",
        gamma=0.995,
        evaluate_every=1 if quick else 10,
    )


def _frrn(model: str, quick: bool, input: tuple[int, int, int]) -> Recipe:
    _, height, width = input
    return _cityscapes(
        f"{model}_cityscapes",
        input=input,
        prepare=(f"resize_exact({height}, {width})",),
        augment=(f"random_view(({height}, {width}), scale=(1, 1.1))", "color_jitter(0.2, 0.2, 0.2)"),
        unit="iterations",
        length=2 if quick else 60_000,
        batch_size=1 if quick else 3,
        optimizer="adamw",
        lr=1e-3,
        schedule="step",
        milestones=(1,) if quick else (45_000,),
        evaluate_every=2 if quick else 2000,
    )


def _cityscapes(name: str, **settings: Any) -> Recipe:
    return Recipe(
        name=name,
        task="segment",
        model=name.removesuffix("_cityscapes"),
        data="cityscapes",
        mean=(0.287, 0.325, 0.284),
        std=(0.187, 0.190, 0.187),
        **settings,
    )
