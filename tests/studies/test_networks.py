"""Networks rewritten by studies, and the notation as a network of the catalogue."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from foveal.errors import FovealError
from foveal.models import create
from foveal.recipes import resolve
from foveal.studies._components import FACTORS
from foveal.studies._networks import chain_of, with_chain
from foveal.studies.identity_construction import _constructed, _deepened

TEXT = "5-1-2Conv8 (ReLU) → 2-2MaxPool → 3-1-1Conv16 (ReLU) → 2-2MaxPool → FC64 (Dropout, ReLU) → FC64 (ReLU) → FC10"


def base(**settings: Any) -> Any:
    return resolve("chain", input=(3, 16, 16), options={"text": TEXT, "input": [3, 16, 16]}, **settings)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        ("kernel_size", {"3x3": ("5-1-2Conv8", "3-1-1Conv8"), "7x7": ("5-1-2Conv8", "7-1-3Conv8")}),
        ("kernel_number", {"half": ("Conv16", "Conv8"), "twice": ("Conv16", "Conv32")}),
        ("stride", {"2": ("5-1-2Conv8", "5-2-2Conv8")}),
        ("fc", {"32": ("FC64 (ReLU)", "FC32 (ReLU)"), "16": ("FC64 (ReLU)", "FC16 (ReLU)"), "2": ("FC64 (", "FC2 (")}),
    ],
)
def test_factors_change_one_thing(factor: str, expected: dict[str, tuple[str, str]]) -> None:
    variants = {variant.label: variant.recipe for variant in FACTORS[factor](base())}
    assert variants.keys() == expected.keys()
    for label, (before, after) in expected.items():
        text = variants[label].options["text"]
        assert after in text and text != TEXT and before in TEXT
        assert create("chain", num_classes=4, **variants[label].options)(torch.zeros(1, 3, 16, 16)).shape == (1, 4)
        assert variants[label].model_dump(exclude={"options"}) == base().model_dump(exclude={"options"})


def test_augmentation_and_colour() -> None:
    flips = base(augment=("flip",))
    found = {variant.label: variant.recipe for variant in FACTORS["augmentation"](flips)}
    assert {label: recipe.augment for label, recipe in found.items()} == {
        "none": (),
        "crops and flips": ("pad(1)", "corner_crop((16, 16))", "flip"),
    }
    assert FACTORS["colour"](flips)[0].recipe.prepare[-1] == "grey()"


def test_any_chain_network_of_the_catalogue_can_be_rewritten() -> None:
    recipe = resolve("cnn_f")
    assert [
        variant.recipe.options["text"][:10] for variant in FACTORS["stride"](with_chain(recipe, chain_of(recipe)))
    ] == ["11-2Conv64"]
    with pytest.raises(FovealError, match="resnet18 cannot be rewritten"):
        chain_of(resolve("resnet18"))


def test_an_identity_construction_is_one() -> None:
    text = "3-1-1Conv8 (ReLU) → 2-2MaxPool → 5-1-2Conv8 (BN, ReLU) → GlobalAvgPool → FC10"
    recipe = with_chain(base(), chain_of(base().with_settings(options={"text": text})))
    torch.manual_seed(0)
    shallow = create("chain", num_classes=5, **recipe.options).eval()
    steps, new = _deepened(chain_of(recipe), 3)
    assert sum(new) == 6
    deeper = _constructed(shallow, with_chain(recipe, steps), 5, new)
    images = torch.randn(4, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(deeper(images), shallow(images), atol=1e-6, rtol=1e-6)
    with pytest.raises(FovealError, match="no convolution with a ReLU"):
        _deepened(chain_of(base().with_settings(options={"text": "3-1Conv8 (Tanh) → FC10"})), 3)


@pytest.mark.parametrize(
    ("weights", "deviation"), [("he", (2 / 27) ** 0.5), ("glorot", (2 / 315) ** 0.5), (0.02, 0.02)]
)
def test_initial_weights_of_a_chain(weights: str | float, deviation: float) -> None:
    torch.manual_seed(0)
    model = create("chain", weights=weights, scale=2.0)
    assert model.get_parameter("conv1.weight").std().item() == pytest.approx(2 * deviation, rel=0.06)
    assert not model.get_parameter("conv1.bias").any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"text": "2-2MaxPool"}, "nothing learns"),
        ({"text": "3-1Conv8 → FC"}, "FC"),
        ({"weights": "hee"}, "did you mean he"),
        ({"text": "9-1Conv8", "input": [3, 8, 8]}, "looks at 9 positions"),
    ],
)
def test_bad_options_of_a_chain(options: dict[str, Any], words: str) -> None:
    with pytest.raises(FovealError, match=words):
        create("chain", **options)
