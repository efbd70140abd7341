"""The names that torchvision, and for NIN Caffe, give the layers of the networks of the catalogue.

torchvision numbers the layers of its chains (`features.10`, `classifier.3`) and calls the blocks of a ResNet
`layer2.0.conv1`. Both follow from the order of the layers and from where the branches meet, whatever ours are called.
For DenseNet and GoogLeNet, whose branches have names in both, one name is rewritten into the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import fx, nn

from foveal.errors import FovealError
from foveal.graph.trace import trace
from foveal.models import create

_ONE_WEIRD_TRICK = (
    "torchvision's alexnet is not the network of 2012: it has one tower of 64, 192, 384, 256 and 256 filters, after "
    "«One weird trick for parallelizing convolutional neural networks» (2014), and no normalisation: alexnet_owt"
)
_OTHER_INCEPTION = (
    "torchvision's googlenet has batch normalisation, 3x3 in place of 5x5 and auxiliary heads: "
    "googlenet(batch_norm=True, aux=True)"
)
# Ours → theirs, the first pattern that fits the beginning of a name.
_RENAMED: Mapping[str, tuple[Mapping[str, str], str]] = {
    "torchvision's DenseNet names": (
        {
            r"conv1": "features.conv0", r"bn1": "features.norm0", r"bn_last": "features.norm5", r"fc": "classifier",
            r"dense(\d+)_(\d+)\.bn": r"features.denseblock\1.denselayer\2.norm",
            r"dense(\d+)_(\d+)\.conv": r"features.denseblock\1.denselayer\2.conv",
            r"transition(\d+)\.bn": r"features.transition\1.norm", r"transition(\d+)\.": r"features.transition\1.",
        },
        "",
    ),
    "torchvision's GoogLeNet names": (
        {
            r"(conv|bn)1": r"conv1.\1", r"(conv|bn)2_reduce": r"conv2.\1", r"(conv|bn)2": r"conv3.\1",
            r"(inception\w+)\.branch1x1\.": r"\1.branch1.",
            r"(inception\w+)\.branch3x3\.(conv|bn)_reduce": r"\1.branch2.0.\2",
            r"(inception\w+)\.branch3x3\.": r"\1.branch2.1.",
            r"(inception\w+)\.branch5x5\.(conv|bn)_reduce": r"\1.branch3.0.\2",
            r"(inception\w+)\.branch5x5\.": r"\1.branch3.1.",
            r"(inception\w+)\.pool_branch\.": r"\1.branch4.1.",
            r"(aux[12])\.(conv|bn)": r"\1.conv.\2",
        },
        _OTHER_INCEPTION,
    ),
}  # fmt: skip
_CONVOLUTIONS = (nn.Conv2d, nn.BatchNorm2d)
_COUNTED = (*_CONVOLUTIONS, nn.ReLU, nn.MaxPool2d)  # the layers that take a number in torchvision's `features`


@dataclass(frozen=True)
class Known:
    """Another package's names for this network: {their name: ours}.

    `conflict` says why the same weights would compute something else here although all shapes fit, `mismatch` what to
    think of when they do not.
    """

    rule: str
    names: Mapping[str, str]
    conflict: str = ""
    mismatch: str = ""


def known(model: nn.Module) -> Iterator[Known]:
    """The names under which other packages may have saved this network; none for networks that no map knows."""
    elsewhere = getattr(model, "names_elsewhere", None)
    if elsewhere is not None:  # a detector, which no trace goes through, says it itself
        yield from (Known(rule, names) for rule, names in elsewhere())
        return
    try:
        graph = trace(model).graph
    except FovealError:
        return  # not a chain and not a ResNet that can be seen through; the names themselves were tried before
    classifier = getattr(model, "classifier_name", None)
    if classifier:  # a network on top of a classifier whose layers keep their names
        yield from _underneath(model, classifier)
        return
    modules = dict(model.named_modules())
    nodes = [node for node in graph.nodes if node.op != "output"]
    if any(node.meta.get("kind") == "add" for node in nodes):
        yield from _resnet(nodes, modules)
        return
    if any(node.meta.get("kind") == "cat" for node in nodes):
        for rule, (pairs, mismatch) in _RENAMED.items():
            yield _renamed(rule, pairs, mismatch, model)
        return
    leaves = [(str(node.target), modules[str(node.target)]) for node in nodes if node.op == "call_module"]
    yield from _nin(leaves)
    if sum(isinstance(leaf, nn.Linear) for _, leaf in leaves) == 3 and isinstance(leaves[0][1], nn.Conv2d):
        yield _chain("torchvision's VGG names", leaves, (0, 3, 6))
        yield _chain("torchvision's AlexNet names", leaves, (1, 4, 6), _ONE_WEIRD_TRICK)


def _underneath(model: nn.Module, classifier: str) -> Iterator[Known]:
    """The names of the classifier's weights, as far as the network on top of it has them."""
    own = model.state_dict()
    with torch.device("meta"):
        below = create(classifier)
    for found in known(below):
        names = {theirs: ours for theirs, ours in found.names.items() if ours in own}
        yield replace(found, names=names)


def _renamed(rule: str, pairs: Mapping[str, str], mismatch: str, model: nn.Module) -> Known:
    """Rewrites the names of this network; DenseNet's published files have the older `norm.1` for `norm1` as well."""
    names: dict[str, str] = {}
    for ours in model.state_dict():
        pattern = next((pattern for pattern in pairs if re.match(pattern, ours)), "")
        theirs = re.sub(f"^{pattern}", pairs[pattern], ours) if pattern else ours
        names[theirs] = names[re.sub(r"(denselayer\d+\.\w+)(\d\.)", r"\1.\2", theirs)] = ours
    return Known(rule, names, mismatch=mismatch)


def _chain(rule: str, leaves: list[tuple[str, nn.Module]], classifier: tuple[int, ...], mismatch: str = "") -> Known:
    """`features.N` counts convolutions, norms, ReLUs and poolings; `classifier.N` stand at fixed places."""
    names: dict[str, str] = {}
    number, places = 0, iter(classifier)
    for path, leaf in leaves:
        if isinstance(leaf, nn.Linear):
            names.update(_tensors(f"classifier.{next(places)}", path, leaf))
        elif isinstance(leaf, _COUNTED):
            names.update(_tensors(f"features.{number}", path, leaf))
            number += 1
    normalised = [path for path, leaf in leaves if isinstance(leaf, nn.LocalResponseNorm)]
    conflict = (
        f"this network normalises in {normalised[0]}, torchvision's of these shapes does not" if normalised else ""
    )
    return Known(rule, names, conflict, mismatch)


def _nin(leaves: list[tuple[str, nn.Module]]) -> Iterator[Known]:
    """Caffe's names of a network in network: block b is conv{b}, cccp{2b-1}, cccp{2b}, in its last block for ImageNet
    with the width behind, conv4-1024."""
    convolutions = [(path, leaf) for path, leaf in leaves if isinstance(leaf, nn.Conv2d)]
    pointwise = [leaf.kernel_size == (1, 1) for _, leaf in convolutions]
    if len(pointwise) % 3 or pointwise != [False, True, True] * (len(pointwise) // 3) or not pointwise:
        return
    names: dict[str, str] = {}
    for i, (path, leaf) in enumerate(convolutions):
        block, within = divmod(i, 3)
        theirs = f"cccp{2 * block + within}" if within else f"conv{block + 1}"
        names |= _tensors(theirs, path, leaf) | _tensors(f"{theirs}-1024", path, leaf)
    yield Known("Caffe's names of a network in network", names)


def _resnet(nodes: list[fx.Node], modules: Mapping[str, nn.Module]) -> Iterator[Known]:
    """Stem `conv1`, `bn1`; blocks `layerS.B.convK`, `.bnK`, `.downsample.0` (and `.1`); `fc`. A stage has one width."""
    names: dict[str, str] = {}
    stage, block, width, conflict = 0, 0, 0, ""
    for node in nodes:
        if node.meta.get("kind") != "add":
            continue
        stem, residual, shortcut = _branches(node)
        convolutions = [conv for path in residual if isinstance(conv := modules[path], nn.Conv2d)]
        if not residual or not isinstance(modules[residual[0]], nn.Conv2d):
            return  # pre-activation, or an addition that closes no block
        if not names:
            names.update(_numbered("", stem, modules))
        stage, block = (stage, block + 1) if convolutions[-1].out_channels == width else (stage + 1, 0)
        width = convolutions[-1].out_channels
        prefix = f"layer{stage}.{block}."
        names.update(_numbered(prefix, residual, modules))
        projection = [path for path in shortcut if isinstance(modules[path], _CONVOLUTIONS)]
        for i, path in enumerate(projection):
            names.update(_tensors(f"{prefix}downsample.{i}", path, modules[path]))
        if len(convolutions) == 3 and convolutions[0].stride != (1, 1) and not conflict:
            conflict = (
                f"this network strides at the 1x1 {residual[0]} (as in the paper), torchvision's at the 3x3 (v1.5)"
            )
    linear = [path for node in nodes if isinstance(modules.get(path := str(node.target)), nn.Linear)]
    if len(linear) == 1:
        names.update(_tensors("fc", linear[0], modules[linear[0]]))
    yield Known("torchvision's ResNet names", names, conflict)


def _branches(join: fx.Node) -> tuple[list[str], list[str], list[str]]:
    """What lies before the fork, on the branch with more layers, and on the other one, in order of execution."""
    ways = [_backwards(source) for source in join.all_input_nodes]
    if len(ways) != 2:
        return [], [], []
    longer, shorter = sorted(ways, key=len, reverse=True)
    common = [path for path in longer if path in shorter]
    split = [[path for path in way if path not in common][::-1] for way in (longer, shorter)]
    return common[::-1], split[0], split[1]


def _backwards(node: fx.Node) -> list[str]:
    way: list[str] = []
    while node.op == "call_module":
        way.append(str(node.target))
        node = node.all_input_nodes[0]
    return way


def _numbered(prefix: str, paths: list[str], modules: Mapping[str, nn.Module]) -> dict[str, str]:
    names: dict[str, str] = {}
    for kind, label in ((nn.Conv2d, "conv"), (nn.BatchNorm2d, "bn")):
        for i, path in enumerate((path for path in paths if isinstance(modules[path], kind)), start=1):
            names.update(_tensors(f"{prefix}{label}{i}", path, modules[path]))
    return names


def _tensors(theirs: str, ours: str, layer: nn.Module) -> dict[str, str]:
    return {f"{theirs}.{leaf}": f"{ours}.{leaf}" for leaf in layer.state_dict()}
