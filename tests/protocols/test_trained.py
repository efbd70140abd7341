"""On a network that was trained with scale jitter the papers' protocols do no worse than the centre crop."""

from __future__ import annotations

from pathlib import Path

import pytest

from foveal.evaluation import evaluate
from foveal.recipes import resolve
from foveal.training.train import train

PROTOCOLS = ("center_crop", "ten_crop(flip=False)", "multi_scale(flip=False)", "multi_crop(flip=False)")


@pytest.mark.slow
def test_more_views_are_no_worse(tmp_path: Path) -> None:
    jittered = resolve(
        "lenet5_digits",
        prepare=("resize_exact(36, 36)",),
        augment=("scale_jitter(32, 40)", "random_crop(32)"),
        length=12,
        device="cpu",
    )
    single, *others = evaluate(train(jittered, out=tmp_path / "run"), protocols=PROTOCOLS).measured
    assert single.metrics["top1_error"] < 5
    for one in others:
        assert one.metrics["top1_error"] <= single.intervals["top1_error"][1], one.protocol
        assert one.metrics["cross_entropy"] < single.metrics["cross_entropy"], one.protocol
