"""At what sizes a recipe trains, and the same preparation at another one."""

import pytest
import torch

from foveal.data.pipeline import Pipeline


@pytest.mark.parametrize(
    ("prepare", "augment", "test", "sides"),
    [
        ((), (), (), (24, 24)),
        (("pad(2)",), ("pad_crop(4)",), (), (24, 24)),
        (("resize(32)", "center_crop(32)"), ("random_crop(24)",), (), (32, 32)),
        (("resize_exact(28, 40)",), (), (), (28, 28)),
        ((), ("scale_jitter(26, 48)", "random_crop(24)"), ("resize(36)",), (26, 48)),
    ],
)
def test_training_sides(
    prepare: tuple[str, ...], augment: tuple[str, ...], test: tuple[str, ...], sides: tuple[int, int]
) -> None:
    assert Pipeline(prepare, augment, (3, 24, 24), test=test).sides == sides


@pytest.mark.parametrize(
    ("prepare", "test", "same_as"),
    [
        (("resize(32)",), (), ("resize(48)",)),
        (("resize(32)", "center_crop(32)"), (), ("resize(48)", "center_crop(48)")),
        (
            ("resize(40)", "center_crop((36, 40))"),
            ("resize(32)",),
            ("resize(60)", "center_crop((54, 60))", "resize(48)"),
        ),
        (("resize_exact(32, 40)",), (), ("resize_exact(48, 60)",)),
        (("pad(2)",), (), ("pad(2)", "resize(48)")),
        ((), (), ("resize(48)",)),
    ],
)
def test_another_side(prepare: tuple[str, ...], test: tuple[str, ...], same_as: tuple[str, ...]) -> None:
    image = torch.randint(256, (3, 50, 70), dtype=torch.uint8, generator=torch.manual_seed(0))
    pipeline = Pipeline(prepare, (), (3, 24, 24), test=test)
    found = pipeline.at_side(48).prepare(image)
    assert torch.equal(found, Pipeline(same_as, (), (3, 24, 24)).prepare(image))
    own = pipeline.sides[0]
    if own != 24:
        assert torch.equal(pipeline.at_side(own).prepare(image), pipeline.prepare(image))
