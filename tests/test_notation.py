"""The notation: the decks' own lines, round trips, names and errors."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from foveal.errors import FovealError
from foveal.notation import NotationError, build, parse, step_of, to_text

ALEXNET = (
    "11-4Conv96 (ReLU) → Norm → 3-2MaxPool → 5-1-2Conv256 (ReLU) → Norm → 3-2MaxPool → 3-1-1Conv384 (ReLU) → "
    "3-1-1Conv384 (ReLU) → 3-1-1Conv256 (ReLU) → 3-2MaxPool → FC4096 (Dropout, ReLU) → FC4096 (Dropout, ReLU) → FC1000"
)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def kinds(model: nn.Module) -> list[type[nn.Module]]:
    return [type(layer) for layer in model]  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def no_memory():
    with torch.device("meta"):
        yield


def test_alexnet_as_printed() -> None:
    model = parse(ALEXNET, input=(3, 227, 227))
    assert parameters(model) == 62_378_344
    assert to_text(model) == ALEXNET
    trunk = "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5"
    assert " ".join(model._modules) == f"{trunk} flatten fc6 drop6 relu6 fc7 drop7 relu7 fc8"


def test_alexnet_two_towers() -> None:
    third = "3-1-1Conv384 (ReLU) → "  # conv3 sees both towers
    text = ALEXNET.replace("Conv256", "Conv256/2").replace(third * 2, third + third.replace("384", "384/2"))
    model = parse(text)
    assert [layer.groups for layer in model if isinstance(layer, nn.Conv2d)] == [1, 2, 1, 2, 2]
    assert parameters(model) == 60_965_224
    assert to_text(model) == text


def test_lenet_of_the_deck_corrected() -> None:
    model = parse("5-1Conv6 -> 2-2AvgPool -> 5-1Conv16 -> 2-2AvgPool -> FC120 -> FC 84 -> FC10", input=(1, 32, 32))
    assert model(torch.empty(2, 1, 32, 32)).shape == (2, 10)
    assert model.get_submodule("fc3").in_features == 400
    assert parameters(model) == 156 + 2416 + 48_120 + 10_164 + 850


def test_vgg_names_by_block() -> None:
    text = "[3-1-1Conv6 (ReLU)]x2 → 2-2MaxPool → [3-1-1Conv8 (BN, ReLU)]x2 → 2-2MaxPool → FC10 (ReLU, Dropout) → FC10"
    model = parse(text, input=(3, 32, 32), names="block")
    first = "conv1_1 relu1_1 conv1_2 relu1_2 pool1 conv2_1 bn2_1 relu2_1 conv2_2 bn2_2 relu2_2 pool2"
    assert " ".join(model._modules) == f"{first} flatten fc3 relu3 drop3 fc4"


def test_names_are_unique() -> None:
    model = parse("ReLU → ReLU → 3-1Conv4 (ReLU, ReLU, ReLU) → Flatten → FC3", input=(1, 8, 8))
    assert " ".join(model._modules) == "relu0 relu0b conv1 relu1 relu1b relu1b2 flatten fc2"


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("7-2-3Conv8", nn.Conv2d(3, 8, 7, 2, 3)),
        ("3-1-2-2Conv8", nn.Conv2d(3, 8, 3, 1, 2, 2)),
        ("3-1Conv6/3 (NoBias)", nn.Conv2d(3, 6, 3, groups=3, bias=False)),
        ("3-2-1AvgPool", nn.AvgPool2d(3, 2, 1)),
        ("3-2MaxPool (Ceil)", nn.MaxPool2d(3, 2, ceil_mode=True)),
        ("GlobalAvgPool", nn.AdaptiveAvgPool2d(1)),
        ("Norm", nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)),
        ("BN", nn.BatchNorm2d(3)),
        ("LeakyReLU 0.1", nn.LeakyReLU(0.1)),
        ("LeakyReLU", nn.LeakyReLU(0.01)),
        ("PReLU", nn.PReLU(3)),
        ("Dropout 0.3", nn.Dropout(0.3)),
        ("Dropout", nn.Dropout(0.5)),
        ("Tanh", nn.Tanh()),
        ("Sigmoid", nn.Sigmoid()),
        ("Flatten", nn.Flatten()),
    ],
)
def test_each_word(text: str, layer: nn.Module) -> None:
    model = parse(text, input=(3, 16, 16))
    assert repr(model[0]) == repr(layer)
    assert to_text(nn.Sequential(layer)) == text


def test_a_prelu_has_one_slope_a_map() -> None:
    with pytest.raises(FovealError, match=r"'1'.*behind 4 maps"):
        to_text(nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU()))
    assert sum(p.numel() for p in parse("3-1Conv4 (PReLU) → FC5 (PReLU)", input=(1, 8, 8))[1].parameters()) == 4


def test_spelling_is_free_and_printing_is_not() -> None:
    loose = " 3 - 1 – 1 conv 8(RELU,bn)->3-2maxpool\n→dropout.5 ".replace("dropout.5", "Dropout 0.5")
    assert to_text(parse(loose)) == "3-1-1Conv8 (ReLU, BN) → 3-2MaxPool → Dropout"


def test_norm_is_the_papers_formula() -> None:
    with torch.device("cpu"):
        a = torch.randn(1, 7, 2, 2, dtype=torch.float64)
        squares = nn.functional.pad(a.square(), (0, 0, 0, 0, 2, 2))
        total = sum(squares[:, i : i + 7] for i in range(5))
        expected = a / (2 + 1e-4 * total) ** 0.75
        assert torch.allclose(parse("Norm", input=(7, 2, 2))(a), expected, rtol=1e-12)


@pytest.mark.parametrize(("input", "conv"), [((4, 30), nn.Conv1d), ((2, 9, 9, 9), nn.Conv3d)])
def test_sequences_and_volumes(input: tuple[int, ...], conv: type[nn.Module]) -> None:
    text = "3-1-1Conv8 (BN, ReLU) → 2-2MaxPool → GlobalAvgPool → FC5"
    model = parse(text, input=input)
    assert isinstance(model[0], conv)
    assert model(torch.empty(2, *input)).shape == (2, 5)
    assert to_text(model) == text


@pytest.mark.parametrize(
    ("text", "place", "what", "mend"),
    [
        ("3-1Conv8 → 11-4Convv96", "11-4Convv96", "'11-4Convv96' is not a layer", "X-YConvZ"),
        ("3-1Conv8 → Relux", "Relux", "not a layer", "did you mean ReLU?"),
        ("3-1Conv8 → Foo", "Foo", "not a layer", "known: X-YConvZ"),
        ("3-1Conv8 3-1Conv9", "3-1Conv8 3-1Conv9", "not a layer", "write → or -> between two steps"),
        ("3-0Conv8", "3-0Conv8", "the stride must be 1 or more", ""),
        ("3-1Conv8 → 300-1MaxPool", "300-1MaxPool", "the maps here are 225x225", "larger input"),
        ("FC10 → 3-1Conv8", "3-1Conv8", "needs maps, and here is a vector of 10", ""),
        ("FC10 → Norm", "Norm", "here is a vector", ""),
        ("3-1Conv8/3", "3-1Conv8/3", "3 groups must divide both 3 maps before and 8 after", ""),
        ("3-2-2MaxPool", "3-2-2MaxPool", "half its window", ""),
        ("[3-1Conv8", "[", "never closed", ""),
        ("[3-1Conv8]", "]", "how often", "x3"),
        ("[3-1Conv8]x0", "x0", "1 or more times", ""),
        ("3-1Conv8 (ReLU", "(", "never closed", ""),
        ("3-1Conv8 (FC4)", "FC4", "cannot stand in brackets", "→"),
        ("FC8 (Ceil)", "Ceil", "belongs to a pooling", ""),
        ("Dropout 1.5", "Dropout 1.5", "between 0 and 1", ""),
        ("ReLU 2", "ReLU 2", "takes no number", "write ReLU"),
        ("3-1Conv8 → → FC3", "→", "a layer is missing here", ""),
        ("3-1Conv8)", ")", "nothing is open", ""),
        ("3-1Conv99999999999", "3-1Conv99999999999", "more than nine digits", "mistyped"),
    ],
)
def test_errors_point_at_the_place(text: str, place: str, what: str, mend: str) -> None:
    with pytest.raises(NotationError) as caught:
        parse(text)
    message, shown, carets = caught.value.what.split("\n")
    assert what in message
    assert mend in caught.value.mend
    assert shown.strip() == text
    start, end = carets.index("^"), len(carets)
    assert shown[start:end] == place


def test_a_long_text_is_cut_around_the_place() -> None:
    steps = ["3-1-1Conv8"] * 40
    steps[20] = "Foo"
    with pytest.raises(NotationError) as caught:
        parse(" → ".join(steps))
    _, shown, carets = caught.value.what.split("\n")
    assert len(shown) <= 100
    assert shown[carets.index("^") : len(carets)] == "Foo"


def test_errors_cross_processes() -> None:
    with pytest.raises(NotationError) as caught:
        parse("Foo")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (our own bytes)
    assert type(copy) is NotationError
    assert str(copy) == str(caught.value)


def test_a_mistyped_size_is_refused_before_memory_is_taken() -> None:
    with torch.device("cpu"), pytest.raises(NotationError, match="weights up to here"):
        parse("FC99999999")


def test_settings_of_the_call() -> None:
    with pytest.raises(FovealError, match="unknown naming 'blocks'"):
        parse("FC3", names="blocks")
    with pytest.raises(FovealError, match="no image"):
        build("FC3", input=(0, 3, 3))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, (3, 5)),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.MaxPool2d(3, dilation=2),
        nn.AvgPool2d(3, padding=1, count_include_pad=False),
        nn.LocalResponseNorm(5),
        nn.BatchNorm2d(3, affine=False),
        nn.AdaptiveAvgPool2d(2),
        nn.GELU(),
        nn.Flatten(2),
    ],
)
def test_what_has_no_word_is_refused_by_name(layer: nn.Module) -> None:
    assert step_of(layer) is None
    with pytest.raises(FovealError, match=r"no word for layer 'part\.odd'"):
        to_text(_nested(layer))


def _nested(layer: nn.Module) -> nn.Sequential:
    model = nn.Sequential()
    model.add_module("part", nn.Sequential())
    model.get_submodule("part").add_module("odd", layer)
    return model


def test_branching_networks_are_refused() -> None:
    with pytest.raises(FovealError, match="no chain"):
        to_text(nn.Conv2d(3, 3, 3))
    with pytest.raises(FovealError, match=r"layer '1' is fully connected along one dimension"):
        to_text(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Linear(4, 2)))


EXTRAS = st.sampled_from(
    ["ReLU", "BN", "Tanh", "Sigmoid", "LeakyReLU 0.2", "LeakyReLU", "PReLU", "Dropout", "Dropout 0.25"]
)


@st.composite
def layers(draw: st.DrawFn) -> str:
    x, y, p = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    padding = draw(st.sampled_from(["", f"-{p}"]))
    groups = draw(st.sampled_from(["", "/1", "/2", "/3"]))
    dilated = draw(st.sampled_from(["", "-2"])) if padding else ""
    conv = f"{x}-{y}{padding}{dilated}Conv{6 * draw(st.integers(1, 3))}{groups}"
    pool = f"{x}-{y}{padding}{draw(st.sampled_from(['MaxPool', 'AvgPool', 'maxpool']))}"
    plain = draw(st.sampled_from(["Norm", "GlobalAvgPool", "Flatten", "BatchNorm"]))
    word = draw(st.sampled_from([conv, conv, pool, plain, f"FC{x * y}", draw(EXTRAS)]))
    extras = draw(st.lists(EXTRAS, max_size=3))
    return f"{word} ({', '.join(extras)})" if extras else word


@st.composite
def texts(draw: st.DrawFn) -> str:
    parts = draw(st.lists(layers(), min_size=1, max_size=5))
    if draw(st.booleans()):
        parts.append(f"[{draw(layers())} -> {draw(layers())}]x{draw(st.integers(1, 3))}")
    return draw(st.sampled_from([" → ", "->", " ->\n"])).join(parts)


@settings(max_examples=300, deadline=None)
@example(text="1-3Conv6 → 4-1-1AvgPool", input=(6, 9, 9, 9))
@given(text=texts(), input=st.sampled_from([(6, 24, 24), (6, 19, 23), (6, 40), (6, 9, 9, 9), (12,)]))
def test_round_trips(text: str, input: tuple[int, ...]) -> None:
    with torch.device("meta"):
        try:
            model = parse(text, input)
        except NotationError:
            return  # such as a window that no longer fits
        printed = to_text(model)
        again = parse(printed, input)
        assert to_text(again) == printed
        # An explicit Flatten before an FC is not printed: on a vector it does nothing and is not made again.
        assert [k for k in kinds(again) if k is not nn.Flatten] == [k for k in kinds(model) if k is not nn.Flatten]
        assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]
        image = torch.empty(2, *input)
        assert again.eval()(image).shape == model.eval()(image).shape


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="0123456789-→>()[],/x ConvMaxPlFRLUDrutBNm.é\n", max_size=40) | st.text(max_size=30))
def test_any_text_is_a_network_or_a_notation_error(text: str) -> None:
    with torch.device("meta"):
        try:
            assert isinstance(parse(text), nn.Sequential)
        except NotationError as error:
            assert error.what
