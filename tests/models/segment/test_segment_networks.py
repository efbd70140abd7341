"""The segmentation networks against what their papers say of them; counts and structure are the contract's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.graph.receptive_field import receptive_field
from foveal.graph.shapes import shapes
from foveal.layers.alignment import MirrorPad
from foveal.layers.crf import DenseCRF
from foveal.models import create
from foveal.models.segment.dilated import _context
from foveal.models.segment.patch_classifier import PATCH
from foveal.models.segment.pspnet import PSPNet
from foveal.weights.files import Checkpoint
from foveal.weights.match import match

ENTRIES = {n: e for n, e in catalog.entries("model").items() if e.module.startswith("foveal.models.segment")}
ANY_SIZE = sorted(set(ENTRIES) - {"label_map", "deconvnet", "crf_rnn", "fcn32s_fixed", "frrn_b", "tiramisu67"})


def on_meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return create(name, **options).eval()  # type: ignore[arg-type]


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def published(name: str, key: str) -> object:
    facts = catalog.facts(name)
    assert facts is not None
    return facts.published[key]


def test_every_network_states_its_paper() -> None:
    assert not [name for name in ENTRIES if catalog.facts(name) is None]


@pytest.mark.parametrize("name", ANY_SIZE)
def test_scores_have_the_images_own_size(name: str) -> None:
    facts = catalog.facts(name)
    assert facts is not None
    images = torch.empty(1, facts.input[0], 67, 93, device="meta")
    assert on_meta(name, num_classes=5)(images).shape == (1, 5, 67, 93)


@pytest.mark.parametrize("name", ["segnet", "deconvnet", "frrn_a", "frrn_b", "linknet"])
def test_parameters_round_to_the_papers_millions(name: str) -> None:
    millions = published(name, "parameters_in_millions")
    assert isinstance(millions, int | float)
    digits = len(str(millions).partition(".")[2])
    assert round(parameters(on_meta(name)) / 1e6, digits) == millions


@pytest.mark.parametrize(("name", "layers"), [("tiramisu56", 56), ("tiramisu67", 67), ("tiramisu103", 103)])
def test_tiramisu_has_its_layers_and_the_papers_numbers(name: str, layers: int) -> None:
    model = on_meta(name)
    assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in model.modules()) == layers
    statistics = sum(2 * m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    counted = round((parameters(model) + statistics) / 1e6, 1)
    assert counted == (1.4 if name == "tiramisu56" else published(name, "parameters_in_millions"))


def test_tiramisu_stacks_the_maps_that_the_authors_correct() -> None:
    """Their code's page: 112, 192, 304, 464, 656 and 896 maps on the way down, then 1088 and 816 on the way up."""
    sizes = {layer.path: layer.output[0] for layer in shapes(on_meta("tiramisu103"), (3, 224, 224))}
    down = [sizes[path] for path in ("cat", "cat#2", "cat#3", "cat#4", "cat#5")]
    assert down == [112, 192, 304, 464, 656]
    assert 656 + sizes["bottleneck.cat#16"] == 896
    assert sizes["cat#6"] + sizes["up1.cat#13"] == 1088
    assert sizes["cat#7"] + sizes["up2.cat#11"] == 816


def test_unet_valid_is_figure_1() -> None:
    model = on_meta("unet", channels=1, borders="valid")
    assert parameters(model) == 31_030_658
    assert model(torch.empty(1, *(1, 572, 572), device="meta")).shape[1:] == published("unet", "output")
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == published("unet", "convolutional_layers")


def test_unet_mirrored_is_unet_valid_on_the_mirrored_image() -> None:
    torch.manual_seed(0)
    valid, mirror = (create("unet", width=2, borders=borders).eval() for borders in ("valid", "mirror"))
    mirror.load_state_dict(valid.state_dict())
    images = torch.rand(1, 3, 21, 18)
    expected = valid(MirrorPad(92, 16, 4)(images))[:, :, :21, :18]
    torch.testing.assert_close(mirror(images), expected)


def test_unet_refuses_what_it_is_not() -> None:
    with pytest.raises(FovealError, match="borders"):
        create("unet", borders="wrap")
    with pytest.raises(FovealError, match="at least one map"):
        create("unet", width=0)


def test_deconvnet_comes_down_to_one_position_and_back() -> None:
    sizes = {layer.path: layer.output for layer in shapes(on_meta("deconvnet"), (3, 224, 224))}
    assert sizes["fc7.relu"] == (4096, 1, 1)
    assert sizes["deconv_fc6.relu"] == (512, 7, 7)
    assert [sizes[f"unpool{n}"][1] for n in (5, 4, 3, 2, 1)] == [14, 28, 56, 112, 224]


def test_segnets_decoder_mirrors_its_encoder() -> None:
    model = on_meta("segnet")
    widths = {name: m.out_channels for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert [widths[f"conv{b}_1_D.conv"] for b in (5, 4, 3, 2)] == [512, 256, 128, 64]
    assert widths["conv1_1_D"] == 11
    assert len(widths) == 26


@pytest.mark.parametrize("size", [(32, 48), (45, 37)])
def test_unpooling_puts_values_where_the_maxima_were(size: tuple[int, int]) -> None:
    """Of SegNet's outermost brackets: what comes out of unpool1 stands where pool1 took its values."""
    torch.manual_seed(0)
    model, seen = create("segnet").eval(), {}
    for name in ("conv1_2", "pool1", "unpool1", "conv2_1_D"):
        model.get_submodule(name).register_forward_hook(lambda m, i, output, name=name: seen.update({name: output}))
    with torch.no_grad():
        model(torch.rand(1, 3, *size))
    places = F.max_pool2d(seen["conv1_2"], 2, 2, return_indices=True)[1]
    assert torch.equal(seen["unpool1"].flatten(2).gather(2, places.flatten(2)), seen["conv2_1_D"].flatten(2))
    assert (seen["unpool1"] != 0).sum() == (seen["conv2_1_D"] != 0).sum()


def test_the_front_end_has_a_stride_of_8_and_pixels_in_its_middle() -> None:
    sizes = {layer.path: layer.output for layer in shapes(on_meta("dilated"), (3, 528, 528))}
    assert sizes["mirror"][1:] == (900, 900)
    assert sizes["score"][1:] == (66, 66)  # as the released network
    field = receptive_field(on_meta("dilated", context="none"), (3, 96, 96))["score"]
    assert (field.stride[0], field.centre[0]) == (8, 3.5)
    context = receptive_field(_context(2, "basic"), (2, 80, 80))["conv8"]
    assert context.size[0] == published("dilated", "context_receptive_field")


def test_the_context_module_starts_as_the_identity() -> None:
    torch.manual_seed(0)
    scores = torch.rand(1, 3, 20, 20)
    torch.testing.assert_close(_context(3, "basic")(scores), scores)
    large = _context(3, "large")(scores)
    assert (large - scores).abs().mean() < 0.1 * scores.mean()
    assert len(_context(3, "none")) == 0
    with pytest.raises(FovealError, match="context"):
        create("dilated", context="huge")


def test_frrns_residual_stream_keeps_the_images_size() -> None:
    sizes = {layer.path: layer.output for layer in shapes(on_meta("frrn_a"), (3, 256, 512))}
    streams = [size for path, size in sizes.items() if path.startswith("frru") and path.endswith(".add")]
    assert len(streams) == 17
    assert set(streams) == {(32, 256, 512)}
    assert sizes["frru4_2.conv2.relu"] == (384, 16, 32)


def test_gridnet_has_five_streams() -> None:
    sizes = {layer.path: layer.output for layer in shapes(on_meta("gridnet"), (3, 400, 400))}
    assert [sizes[f"within_4_{s}.conv2"][0] for s in range(1, 6)] == [16, 32, 64, 128, 256]
    assert [sizes[f"within_4_{s}.conv2"][1] for s in range(1, 6)] == [400, 200, 100, 50, 25]
    with pytest.raises(FovealError, match="2 columns"):
        create("gridnet", columns=1)


def test_pspnet_pools_at_four_scales_and_has_an_auxiliary_loss() -> None:
    model = on_meta("pspnet", num_classes=4)
    assert isinstance(model, PSPNet)
    sizes = {layer.path: layer.output for layer in shapes(model, (3, 473, 473))}
    assert [sizes[f"pyramid{n}.relu"] for n in (1, 2, 3, 6)] == [(512, n, n) for n in (1, 2, 3, 6)]
    assert sizes["resize6"][1:] == (60, 60)
    terms = model.losses(torch.empty(2, 3, 65, 65, device="meta"), torch.zeros(2, 65, 65, device="meta").byte())
    assert list(terms) == ["cross_entropy", "aux"]
    with pytest.raises(FovealError, match="encoder"):
        create("pspnet", encoder="vgg16")


@pytest.mark.parametrize("fusion", ["input", "feature", "decision"])
def test_fcnn_fuses_cues(fusion: str) -> None:
    model = create("fcnn", 3, cues=(3, 2, 1), fusion=fusion)
    images = torch.rand(1, 6, 17, 22)
    assert model(images).shape == (1, 3, 17, 22)
    assert sum(name.startswith("path") for name, _ in model.named_children()) == (1 if fusion == "input" else 3)
    for wrong in ({"cues": ()}, {"fusion": "late"}):
        with pytest.raises(FovealError):
            create("fcnn", **wrong)


def test_label_map_knows_places() -> None:
    torch.manual_seed(0)
    model = create("label_map", 3, input=(3, 32, 48), hidden=8)
    assert model(torch.rand(2, 3, 32, 48)).shape == (2, 3, 32, 48)
    with pytest.raises(FovealError, match="33x48"):
        create("label_map", input=(3, 33, 48))


def test_patch_classifier_is_the_classifier_of_each_pixels_patch() -> None:
    torch.manual_seed(0)
    model = create("patch_classifier").eval().double()
    net = model.get_submodule("net")
    image = torch.rand(1, 1, 6, 5, dtype=torch.float64)
    patches = F.unfold(MirrorPad(PATCH // 2)(image), PATCH)[0].T.reshape(-1, 1, PATCH, PATCH)
    x: Tensor = patches
    for name, layer in net.named_children():
        if isinstance(layer, nn.Conv2d):
            x = F.conv2d(x, layer.weight, layer.bias)
        elif name.startswith("pool"):
            x = F.max_pool2d(x, 2)
        elif name.startswith("fc"):
            x = F.linear(x.flatten(1), layer.weight.flatten(1), layer.bias)  # type: ignore[arg-type,operator,union-attr]
        elif name.startswith("relu"):
            x = F.relu(x)
    torch.testing.assert_close(model(image)[0].flatten(1).T, x)


def test_crf_rnn_refines_any_network() -> None:
    torch.manual_seed(0)
    model = create("crf_rnn", 3, network="fcnn", iterations=2)
    images = torch.randn(2, 3, 12, 10)
    scores = model(images)
    assert scores.shape == (2, 3, 12, 10)
    scores.square().sum().backward()
    crf = model.get_submodule("crf")
    assert isinstance(crf, DenseCRF)
    for p in model.parameters():
        assert p.grad is not None
        assert bool(p.grad.abs().sum() > 0)
    for wrong in ("vgg16", "crf_rnn"):
        with pytest.raises(FovealError, match="no scores for each pixel"):
            create("crf_rnn", network=wrong)


@pytest.mark.parametrize(
    ("name", "options", "encoder"),
    [
        ("fcn8s", {"encoder": "vgg16"}, "vgg16"),
        ("dilated", {}, "vgg16"),
        ("pspnet", {}, "resnet50"),
        ("linknet", {}, "resnet18"),
    ],
)
def test_published_weights_of_the_encoder_find_their_layers(name: str, options: dict[str, str], encoder: str) -> None:
    """torchvision's names of its own network; only its last layer, the classes of ImageNet, has no place."""
    model = on_meta(name, num_classes=4, **options)
    with torch.device("meta"):
        theirs = torchvision.models.get_model(encoder, **({"init_weights": False} if "vgg" in encoder else {}))
    found = match(model, Checkpoint("theirs", theirs.state_dict()), partial=True)
    assert not found.mismatched
    assert {key.rpartition(".")[0] for key in found.unexpected} == {"classifier.6" if "vgg" in encoder else "fc"}
    assert {p.model for p in found.pairs} == {key for key in on_meta(encoder).state_dict() if key in model.state_dict()}
