"""Rules on what a network does: what it gives, and what it leaves alone."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from foveal.contracts.report import Rule, Skip, Violation, described, listed
from foveal.contracts.subject import Network, kept, mode
from foveal.graph.count import count

_TOLERANCE = 1e-6  # of the largest score: float64 sums in another order


def _builds(network: Network) -> str:
    if isinstance(network._built, str):
        raise Violation(network._built)
    parameters = sum(p.numel() for p in network.model.parameters())
    return f"{type(network.model).__name__} with {parameters:,} parameters"


def _scores(network: Network) -> str:
    _ = network.model
    for batch in (1, 3):
        scores = network.scores(network.images(batch))
        if not isinstance(scores, Tensor):
            raise Violation(f"forward gives {_kind(scores)}, not one tensor")
        classes = (network.num_classes,) if network.num_classes is not None else tuple(scores.shape[1:2])
        wanted = (batch, *classes, *(network.input[1:] if network.is_dense(scores) else ()))
        if tuple(scores.shape) != wanted:
            raise Violation(f"a batch of {batch} gives scores {list(scores.shape)}, not {list(wanted)}")
        if network.numerics and not torch.isfinite(scores).all():
            raise Violation(f"a batch of {batch} gives NaN or infinite scores")
    return f"[N, {', '.join(map(str, scores.shape[1:]))}] for batches of 1 and 3"


def _same_output(network: Network) -> str:
    images = network.images(3)
    evaluated, trained = _kind(network.scores(images)), _kind(network.scores(images, training=True))
    if evaluated != trained:
        raise Violation(f"{evaluated} in eval mode, {trained} in training mode")
    return f"{evaluated} in both modes"


def _reproducible(network: Network) -> str:
    network.needs_numbers()
    first, second = (network.build("cpu", seed=1, **network.options).state_dict() for _ in range(2))
    different = [name for name in first if name not in second or not _equal(first[name], second[name])]
    if different or first.keys() != second.keys():
        raise Violation(f"two networks of one seed differ in {listed(different)}")
    return "one seed, one network"


def _deterministic(network: Network) -> str:
    network.needs_numbers()
    images = network.images(2)
    shown, before = images.clone(), {n: v.clone() for n, v in _state(network.model).items()}
    with mode(network.model, False), torch.no_grad():
        first, second = network.model(images), network.model(images)
    changed = [name for name, value in _state(network.model).items() if not _equal(value, before[name])]
    if changed:
        raise Violation(f"running in eval mode changes {listed(changed)}")
    if not torch.equal(images, shown):
        raise Violation("forward overwrites its input")
    if not _equal(first, second):
        raise Violation("the same images give other scores the second time, in eval mode")
    return "the same twice; network and images untouched"


def _single(network: Network) -> str:
    """In float64: deep plain networks are chaotic, and amplify the rounding of float32 until it shows."""
    network.needs_numbers()
    _ = _tensor(network.scores(network.images(1)))
    model, images = copy.deepcopy(network.model).double(), network.images(3).double()
    with mode(model, False), torch.no_grad(), torch.random.fork_rng(devices=[]):
        batch = model(images)
        singles = torch.cat([model(image[None]) for image in images])
    difference = float((batch - singles).abs().max())
    if not difference <= _TOLERANCE * max(1.0, float(batch.abs().max())):
        raise Violation(f"an image alone and in a batch differ by {difference:.2g}")
    return f"equal to {difference:.1g} in float64"


def _gradients(network: Network) -> str:
    model = network.model
    images = network.images(3)
    with mode(model, True), kept(model), torch.random.fork_rng(devices=[]), torch.enable_grad():
        model.zero_grad(set_to_none=True)
        try:
            _loss(network, images).backward()  # type: ignore[no-untyped-call]
            wanting = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
            broken = [
                n for n, p in model.named_parameters() if network.numerics and p.grad is not None
                and not torch.isfinite(p.grad).all()
            ]  # fmt: skip
        finally:
            model.zero_grad(set_to_none=True)
    if wanting or broken:
        parts = [f"no gradient reaches {len(wanting)}: {listed(wanting)}"] if wanting else []
        parts += [f"NaN or infinite gradients in {listed(broken)}"] if broken else []
        raise Violation("; ".join(parts))
    return "one for every parameter"


def _loss(network: Network, images: Tensor) -> Tensor:
    model: Any = network.model
    if callable(getattr(model, "losses", None)):  # its own objective, auxiliary heads included
        terms: Mapping[str, Tensor] = model.losses(images, _targets(_tensor(network.scores(images))))
        return torch.stack([term.sum() for term in terms.values()]).sum()
    scores = _tensor(model(images))
    return F.cross_entropy(scores, _targets(scores))


def _targets(scores: Tensor) -> Tensor:
    """A class for each image or, where there are scores for each, for each of its pixels."""
    grid = scores.shape[2:]
    classes = torch.arange(len(scores), device=scores.device) % scores.shape[1]
    return classes.view(-1, *(1,) * len(grid)).expand(-1, *grid)


def _hooks(network: Network) -> str:
    """Written-over values show here even where the graph hides them (`x += y` traces like `x = x + y`)."""
    model, called = network.model, Counter[str]()
    used = {str(node.target) for node in network.graph.nodes if node.op == "call_module"}
    handles = [
        module.register_full_backward_hook(lambda _module, _into, _out, path=path: called.update([path]))
        for path, module in model.named_modules()
        if path in used and not isinstance(module, nn.Identity)
    ]
    with mode(model, False), torch.random.fork_rng(devices=[]), torch.enable_grad():
        try:
            scores = _tensor(model(network.images(2).requires_grad_()))
            scores.sum().backward()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise Violation(described(error)) from error
        finally:
            model.zero_grad(set_to_none=True)
            for handle in handles:
                handle.remove()
    if len(called) < len(handles):
        raise Violation(f"{len(handles) - len(called)} of {len(handles)} layers see no gradient")
    return f"reach {len(handles)} layers"


def _round_trip(network: Network) -> str:
    network.needs_numbers()
    state = network.model.state_dict()
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise Violation(f"the state dict holds more than tensors: {listed(strange)}")
    places: dict[int, str] = {}
    for name, value in state.items():
        if value.numel() and (twin := places.setdefault(value.data_ptr(), name)) != name:
            raise Violation(f"{twin} and {name} share their memory")
    fresh = network.build("cpu", seed=2, **network.options)
    fresh.load_state_dict(load(save({name: value.contiguous() for name, value in state.items()})))
    images = network.images(2)
    with mode(fresh, False), torch.no_grad():
        if not _equal(fresh(images), network.scores(images)):
            raise Violation("a network with the same state dict gives other scores: something is not in it")
    return f"{len(state)} tensors there and back, the same scores"


def _copy(network: Network) -> str:
    twin = copy.deepcopy(network.model)
    shared = {id(p) for p in twin.parameters()} & {id(p) for p in network.model.parameters()}
    if shared:
        raise Violation(f"the copy shares {len(shared)} parameters with the original")
    if network.numerics:
        images = network.images(2)
        with mode(twin, False), torch.no_grad():
            if not _equal(twin(images), network.scores(images)):
                raise Violation("the copy gives other scores")
    return "an independent twin"


def _meta(network: Network) -> str:
    _ = network.model
    try:
        model = network.build("meta", **network.options)
        with mode(model, False), torch.no_grad():
            model(torch.empty(2, *network.input, device="meta"))
    except Exception as error:  # foreign code: which exception is the finding
        raise Violation(described(error)) from error
    real = [name for name, value in _state(model).items() if value.device.type != "meta"]
    if real:
        raise Violation(f"has memory nevertheless: {listed(real)}")
    return "built and run without memory"


def _facts(network: Network) -> str:
    facts = network.facts
    if facts is None:
        raise Skip("no paper's figures are known of this network")
    _ = network.model
    found = count(network.build("meta"), facts.input)
    wrong = [
        f"{name} {value:,}, published {published:,}"
        for name, value, published in (
            ("parameters", found.trainable, facts.parameters),
            ("multiply-adds", found.macs, facts.macs),
        )
        if published is not None and value != published
    ]
    if wrong:
        raise Violation("; ".join(wrong))
    return f"{found.trainable:,} parameters, {found.macs:,} multiply-adds, as in {facts.paper}"


def _kind(scores: Any) -> str:
    if isinstance(scores, Tensor):
        return f"a tensor {list(scores.shape)}"
    if isinstance(scores, Mapping):
        return f"a {type(scores).__name__} of {listed([str(key) for key in scores])}"
    return f"a {type(scores).__name__}"


def _tensor(scores: Any) -> Tensor:
    if not isinstance(scores, Tensor):
        raise Skip(f"forward gives {_kind(scores)}, not one tensor")
    return scores


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


BUILDS = Rule(
    "builds",
    "everything else needs a network",
    "the factory takes keyword options only, all with defaults, and returns the network",
    _builds,
)

BEHAVIOUR: tuple[Rule[Network], ...] = (
    Rule(
        "scores",
        "losses, metrics and protocols take one row of scores an image, or one a pixel, one score a class",
        "forward returns scores [N, num_classes], or to segment [N, num_classes, H, W] of the image's own size",
        _scores,
    ),
    Rule(
        "one output type",
        "code that reads the output in training must be able to read it in use",
        "return the scores alone in both modes; compute auxiliary outputs in losses(images, targets)",
        _same_output,
    ),
    Rule(
        "gradients",
        "a parameter without a gradient is never trained, and breaks training on several devices",
        "use every layer in forward or in losses(images, targets); detach nothing that is to be trained",
        _gradients,
    ),
    Rule(
        "backward hooks",
        "Grad-CAM, guided backpropagation and DeconvNet read and change gradients layer by layer",
        "write nothing in place (also not `x += y`), and let every layer's output reach the scores",
        _hooks,
    ),
    Rule(
        "meta device",
        "shapes, counts and memory of big networks are found without building them",
        "create tensors with torch functions (not NumPy), and branch on no value while building",
        _meta,
    ),
    Rule(
        "copies",
        "passes change a copy, never the original",
        "keep no tensors that need gradients, no hooks and no handles beside parameters and buffers",
        _copy,
    ),
    Rule(
        "reproducible",
        "the same seed must give the same run",
        "initialise from torch's random state alone, not from NumPy, `random` or the time",
        _reproducible,
    ),
    Rule(
        "deterministic",
        "evaluation must not depend on what was evaluated before, nor change the network",
        "no randomness, no counters and no writing to the input in eval mode",
        _deterministic,
    ),
    Rule(
        "batch of one",
        "an image's scores must not depend on its neighbours in the batch",
        "normalise and reduce over the image alone in eval mode",
        _single,
    ),
    Rule(
        "state dict",
        "checkpoints hold the state dict and nothing else",
        "keep every value that forward uses in a parameter or persistent buffer of its own",
        _round_trip,
    ),
    Rule(
        "published facts",
        "a network that differs from its paper is another network",
        "correct the code, or the facts with the place where they are published",
        _facts,
    ),
)
