"""Rules on detectors: what they learn from, what they find, and a trunk that passes can go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from foveal.contracts.behaviour import BEHAVIOUR
from foveal.contracts.report import Rule, Skip, Violation, listed
from foveal.contracts.structure import STRUCTURE
from foveal.contracts.subject import Network, kept, mode

_ENTRIES = {"boxes": torch.float32, "scores": torch.float32, "labels": torch.int64}
_UPDATES, _FALL = 10, 0.95
_SHARED = ("copies", "reproducible", "deterministic", "state dict")  # rules of all networks that ask for no scores


def _parts(network: Network) -> str:
    missing = [part for part in ("backbone", "losses", "detect") if not hasattr(network.model, part)]
    if missing:
        raise Violation(f"{type(network.model).__name__} has no {listed(missing)}")
    return "backbone, losses and detect"


def _of_backbone(check: Callable[[Network], str]) -> Callable[[Network], str]:
    return lambda network: f"backbone: {check(network.backbone)}"


def _one_type(network: Network) -> str:
    network.needs_numbers()
    images = network.images(2)
    evaluated, trained = (_form(network.scores(images, training)) for training in (False, True))
    if evaluated != trained:
        raise Violation(f"{evaluated} in eval mode, {trained} in training mode")
    return f"{evaluated} in both modes"


def _form(answer: Any) -> str:
    """Types, without sizes: how many proposals there are depends on the image."""
    if isinstance(answer, Tensor):
        return f"{answer.dim()}-d tensor"
    if isinstance(answer, list):
        return f"list of {_form(answer[0]) if answer else 'nothing'}"
    if isinstance(answer, tuple):
        return f"{type(answer).__name__}({', '.join(map(_form, answer))})"
    return type(answer).__name__


def _losses(network: Network) -> str:
    network.needs_numbers()
    model: Any = network.model
    images = network.images(3)
    with mode(model, True), kept(model), torch.random.fork_rng(devices=[]), torch.enable_grad():
        model.zero_grad(set_to_none=True)
        try:
            terms = model.losses(images, _targets(network, images))
            wrong = [name for name, term in terms.items() if term.dim() or not torch.isfinite(term)]
            if wrong:
                raise Violation(f"no finite scalar: {listed(wrong)}")
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
            wanting = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        finally:
            model.zero_grad(set_to_none=True)
    if wanting:
        raise Violation(f"no gradient reaches {len(wanting)}: {listed(wanting)}")
    return f"{listed(list(terms))}; a gradient for every parameter"


def _learns(network: Network) -> str:
    network.needs_numbers()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        model: Any = network.build("cpu", seed=1, **network.options).train()
        images = network.images(2)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        values = []
        for _ in range(_UPDATES):
            loss = torch.stack(list(model.losses(images, _targets(network, images)).values())).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            values.append(float(loss.detach()))
    if not values[-1] < _FALL * values[0]:
        raise Violation(f"{_UPDATES} updates on one batch bring the loss from {values[0]:.3g} to {values[-1]:.3g}")
    return f"from {values[0]:.3g} to {values[-1]:.3g} in {_UPDATES} updates on one batch"


def _detections(network: Network) -> str:
    network.needs_numbers()
    model: Any = network.model
    images = network.images(2)
    with mode(model, False), torch.no_grad():
        answer = model.detect(images)
    if not isinstance(answer, list) or len(answer) != len(images):
        raise Violation(f"detect gives {_form(answer)}, not one entry an image")
    height, width = images.shape[2:]
    for one in answer:
        other = [key for key, kind in _ENTRIES.items() if key not in one or one[key].dtype != kind]
        if other:
            raise Violation(f"missing, or of another type than it should be: {listed(other)}")
        boxes, scores, labels = (one[key] for key in _ENTRIES)
        if boxes.shape != (len(scores), 4) or labels.shape != scores.shape:
            raise Violation(f"boxes {list(boxes.shape)}, scores {list(scores.shape)}, labels {list(labels.shape)}")
        if short := [key for key, value in one.items() if len(value) != len(scores)]:
            raise Violation(f"not one entry a box: {listed(short)}")
        if (scores[:-1] < scores[1:]).any():
            raise Violation("scores rise")
        if ((boxes < 0) | (boxes > boxes.new_tensor((width, height, width, height)))).any():
            raise Violation("boxes leave the image")
        if ((labels < 0) | (labels >= (network.num_classes or model.num_classes))).any():
            raise Violation(f"labels {sorted(set(labels.tolist()))}")
    return f"{' and '.join(str(len(one['scores'])) for one in answer)} boxes of two images"


def _facts(network: Network) -> str:
    if network.facts is None or network.facts.parameters is None:
        raise Skip("no paper's figures are known of this network")
    _ = network.model
    count = sum(p.numel() for p in network.build("meta").parameters())
    if count != network.facts.parameters:
        raise Violation(f"parameters {count:,}, published {network.facts.parameters:,}")
    return f"{count:,} parameters, as in {network.facts.paper}"


def _targets(network: Network, images: Tensor) -> Sequence[dict[str, Tensor]]:
    """Two boxes an image, of two classes, with masks and keypoints; of more than two images the second one is empty."""
    height, width = images.shape[2:]
    size = torch.tensor((width, height, width, height))
    boxes = torch.tensor(((0.1, 0.1, 0.5, 0.7), (0.4, 0.3, 0.9, 0.9))) * size
    labels = torch.tensor((0, (network.num_classes or 2) - 1))
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = True
    across = torch.linspace(0.2, 0.8, getattr(network.model, "keypoints", 1))
    points = boxes[:, None, :2] + across[None, :, None] * (boxes[:, None, 2:] - boxes[:, None, :2])
    keypoints = torch.cat((points, torch.full_like(points[..., :1], 2)), -1)
    full = {"boxes": boxes, "labels": labels, "masks": masks, "keypoints": keypoints}
    empty = {key: value[:0] for key, value in full.items()}
    return [empty if i == 1 and len(images) > 2 else full for i in range(len(images))]


DETECTOR: tuple[Rule[Network], ...] = (
    Rule(
        "parts",
        "what a detector computes, learns and says are three things; passes go through its trunk",
        "give the network a module `backbone`, losses(images, targets) and detect(images)",
        _parts,
    ),
    *(Rule(rule.name, rule.why, rule.mend, _of_backbone(rule.check)) for rule in STRUCTURE),
    Rule(
        "one output type",
        "code that reads the output in training must be able to read it in use",
        "forward returns its raw answer in both modes; losses and detections have functions of their own",
        _one_type,
    ),
    Rule(
        "losses",
        "training adds the terms up; images without objects are part of every set",
        "losses(images, targets) returns {name: scalar}, with `boxes` [K, 4] and `labels` [K] of each image, K from 0",
        _losses,
    ),
    Rule(
        "learns",
        "a detector whose targets are coded wrongly trains without an error and finds nothing",
        "compare what losses wants of the network with what detect makes of it",
        _learns,
    ),
    Rule(
        "detections",
        "metrics, drawings and files take boxes in pixels of the image, best first",
        "detect(images) returns a list of {boxes float32 [K, 4], scores float32 [K] falling, labels int64 [K] from 0}",
        _detections,
    ),
    *(rule for rule in BEHAVIOUR if rule.name in _SHARED),
    Rule(
        "published facts",
        "a network that differs from its paper is another network",
        "correct the code, or the facts with the place where they are published",
        _facts,
    ),
)
