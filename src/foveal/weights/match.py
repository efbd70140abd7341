"""Which tensor of a file belongs to which tensor of a network, decided whole before anything is changed.

Three rules, in this order; the first that pairs every tensor of both sides wins:

1. names: the same names (wrappers' prefixes aside);
2. known names: another package's names for the same network (`keymaps`);
3. order and shape: the tensors of one layer form a group, whose signature is the names and shapes within it (`weight`
   64×3×7×7, `bias` 64). The groups of the file in stored order and those of the network in order of execution must be
   the same sequence of signatures. A file that does not keep the order (safetensors sorts by name) qualifies only if
   all signatures differ, or if its layers are only numbered (`3.weight`, `layers.12.weight`), which is an order.

No rule guesses: a near miss is an error that lists what is missing, unless `partial` accepts it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph.order import execution_order
from foveal.weights import darknet, keymaps
from foveal.weights.files import Checkpoint, read_weights, without_prefix

Shape = tuple[int, ...]
Signature = tuple[tuple[str, Shape], ...]
_ROWS = 24  # rows of a table that are shown in full
_COUNTER = "num_batches_tracked"  # of batch norm: old files lack it, and with a momentum it influences nothing


@dataclass(frozen=True)
class Pair:
    """One tensor of the file and the tensor of the network that it belongs to."""

    file: str
    model: str
    file_shape: Shape
    model_shape: Shape


@dataclass(frozen=True)
class Matching:
    """What of a file belongs where: the rule used, the pairs that fit, and everything that does not."""

    source: str
    rule: str
    pairs: tuple[Pair, ...]
    mismatched: tuple[Pair, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every tensor of the file and of the network has found its place."""
        return not (self.mismatched or self.missing or self.unexpected)

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**asdict(self), "complete": self.complete}

    def text(self, rows: int = _ROWS) -> str:
        """A table for the terminal, shortened in the middle beyond `rows` rows; what does not fit is always listed."""
        total = len(self.pairs) + len(self.mismatched) + len(self.missing)
        lines = [f"{self.source}: {len(self.pairs)} of {total} tensors matched by {self.rule}"]
        lines += [f"  {note}" for note in self.notes]
        table = [(pair.file, pair.model, _size(pair.model_shape)) for pair in self.pairs]
        left, right = (max((len(row[i]) for row in table), default=0) for i in (0, 1))
        lines += _shortened([f"  {a:<{left}} → {b:<{right}}  {size}" for a, b, size in table], rows)
        if self.mismatched:
            lines.append("of another shape, left as initialised:")
            lines += _shortened([f"  {_differs(pair)}" for pair in self.mismatched], rows)
        for title, names in (
            ("missing in the file, left as initialised:", self.missing),
            ("in the file only, not used:", self.unexpected),
        ):
            if names:
                lines += [title, *_shortened([f"  {name}" for name in names], rows)]
        return "\n".join(lines)

    __str__ = text


def load_weights(
    model: nn.Module, file: str | Path | Checkpoint, *, partial: bool = False, classes: int | None = None
) -> Matching:
    """Fill the network with a file's weights (safetensors, .pt, .pth, darknet's .weights, a run's folder) and say what
    went where.

    Values are cast to the network's own type and device. Nothing is changed unless everything is decided: without
    `partial`, FovealError when any tensor is missing, left over or of another shape (a head of another class count is
    one); with it, what fits is loaded and the rest stays as initialised, as the returned table says. With the number of
    `classes` of the network, heads for another number are accepted where they are all that differs.
    """
    if isinstance(file, Checkpoint):
        checkpoint = file
    else:
        named = str(file).endswith(darknet.SUFFIX)
        checkpoint = darknet.read_darknet(file, model) if named else read_weights(file)
    target = _tensors(model)
    if any(tensor.device.type == "meta" for tensor in target.values()):
        raise FovealError(
            "the network is on the meta device and has no memory for weights", "build it on a real device"
        )
    matching = match(model, checkpoint, partial=partial, classes=classes)
    for pair in matching.pairs:
        if not torch.isfinite(checkpoint.tensors[pair.file]).all():
            raise FovealError(f"{checkpoint.source}: '{pair.file}' holds NaN or infinite values", "use another copy")
    with torch.no_grad():
        for pair in matching.pairs:
            target[pair.model].copy_(checkpoint.tensors[pair.file])
    return matching


def match(model: nn.Module, checkpoint: Checkpoint, *, partial: bool = False, classes: int | None = None) -> Matching:
    """Decide which tensor belongs where, changing nothing; the same errors as `load_weights`."""
    target = _tensors(model)
    tries = [_matching("names", _same_names(checkpoint, target), checkpoint, target)]
    if tries[0].complete or _only_heads(tries[0], classes):
        return tries[0]
    for known in keymaps.known(model):
        tries.append(_matching(known.rule, known.names, checkpoint, target, known))
        if tries[-1].complete or _only_heads(tries[-1], classes):
            if known.conflict and not partial:
                raise _conflict(tries[-1], known.conflict)
            return tries[-1]
    ordered, reason = _by_order(model, checkpoint, heads_may_differ=partial or classes is not None)
    if ordered:
        found = _matching("order of execution and shape", ordered, checkpoint, target)
        if found.complete or partial or _only_heads(found, classes):
            return found
        reason = "the last layer is another"
    best = max(tries, key=lambda tried: len(tried.pairs))
    if not best.pairs:
        raise _nothing(best, checkpoint, target, reason)
    if not partial:
        raise _incomplete(best, reason)
    return best


def _only_heads(matching: Matching, classes: int | None) -> bool:
    """Whether only layers with `classes` outputs here and another number, the same for all, in the file do not fit."""
    there = {pair.file_shape[:1] for pair in matching.mismatched}
    return (
        classes is not None
        and not (matching.missing or matching.unexpected)
        and len(there) == 1
        and len(matching.pairs) > 0
        and all(
            pair.model_shape[:1] == (classes,) and pair.model_shape[1:] == pair.file_shape[1:]
            for pair in matching.mismatched
        )
    )


def _matching(
    rule: str,
    names: Mapping[str, str],
    checkpoint: Checkpoint,
    target: Mapping[str, Tensor],
    known: keymaps.Known | None = None,
) -> Matching:
    """Sort the tensors under a mapping {file's name: network's name} into what fits and what does not."""
    fits: list[Pair] = []
    differs: list[Pair] = []
    used = {ours: theirs for theirs, ours in names.items() if theirs in checkpoint.tensors and ours in target}
    for ours in (name for name in target if name in used):
        there, here = checkpoint.tensors[used[ours]], target[ours]
        pair = Pair(used[ours], ours, tuple(there.shape), tuple(here.shape))
        same_kind = there.is_floating_point() == here.is_floating_point() and not there.is_complex()
        (fits if pair.file_shape == pair.model_shape and same_kind else differs).append(pair)
    taken = set(used.values())
    notes = [*checkpoint.notes]
    if known is not None:
        notes += [note for note, holds in ((known.conflict, fits), (known.mismatch, differs)) if note and holds]
    return Matching(
        checkpoint.source,
        rule,
        tuple(fits),
        tuple(differs),
        tuple(name for name in target if name not in used and not name.endswith(_COUNTER)),
        tuple(name for name in checkpoint.tensors if name not in taken and not name.endswith(_COUNTER)),
        tuple(notes),
    )


def _same_names(checkpoint: Checkpoint, target: Mapping[str, Tensor]) -> dict[str, str]:
    ours = {short: name for name, short in without_prefix(target).items()}
    return {name: ours[name] for name in checkpoint.tensors if name in ours}


def _by_order(model: nn.Module, checkpoint: Checkpoint, heads_may_differ: bool) -> tuple[dict[str, str], str]:
    """Rule 3: {file's name: network's name}, or an empty one and the reason why the rule cannot decide."""
    theirs, ours = _groups(checkpoint.tensors), _groups(_tensors(model))
    try:
        executed = [name for name in execution_order(model) if name in ours]
    except FovealError as error:
        return {}, f"the order of execution is unknown: {error.what}"
    if len(executed) != len(ours):
        return {}, f"layers that never run: {', '.join(name for name in ours if name not in executed)[:200]}"
    if len(theirs) != len(executed):
        return {}, f"the file has {len(theirs)} layers with weights and the network {len(executed)}"
    stored = _stored_order(theirs, [_signature(ours[name]) for name in executed], checkpoint.ordered)
    if stored is None:
        return {}, "the file does not keep the order of its layers, and their shapes alone do not tell"
    for i, (there, here) in enumerate(zip(stored, executed, strict=True)):
        if _signature(theirs[there]) != _signature(ours[here]):
            is_head = i == len(stored) - 1 and heads_may_differ and theirs[there].keys() == ours[here].keys()
            if not is_head:
                return {}, f"layer {i + 1} in order is {_layer(there, theirs)} in the file, {_layer(here, ours)} here"
    return {
        _join(there, leaf): _join(here, leaf)
        for there, here in zip(stored, executed, strict=True)
        for leaf in theirs[there]
    }, ""


def _groups(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Shape]]:
    """{layer: {weight: shape, bias: shape, …}}, in the given order."""
    groups: dict[str, dict[str, Shape]] = {}
    for name, tensor in tensors.items():
        layer, _, leaf = name.rpartition(".")
        if leaf != _COUNTER:
            groups.setdefault(layer, {})[leaf] = tuple(tensor.shape)
    return groups


def _signature(group: Mapping[str, Shape]) -> Signature:
    return tuple(sorted(group.items()))


def _stored_order(
    groups: Mapping[str, Mapping[str, Shape]], wanted: list[Signature], ordered: bool
) -> list[str] | None:
    """The file's layers in order of execution: as stored, or as their shapes or their numbers tell; None if neither."""
    if ordered:
        return list(groups)
    places = {_signature(group): name for name, group in groups.items()}
    if len(places) == len(groups):  # every signature occurs once, so that it alone decides
        return [places[signature] for signature in wanted] if set(wanted) == set(places) else None
    parts = {name: re.split(r"(\d+)", name) for name in groups}
    if len({tuple(split[0::2]) for split in parts.values()}) > 1:  # the names differ in more than their numbers
        return None
    return sorted(groups, key=lambda name: [int(number) for number in parts[name][1::2]])


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def _nothing(best: Matching, checkpoint: Checkpoint, target: Mapping[str, Tensor], reason: str) -> FovealError:
    first = [next(iter(names), "nothing") for names in (checkpoint.tensors, target)]
    return FovealError(
        f"{checkpoint.source} holds weights of another network: none of its {len(checkpoint.tensors)} tensors matches "
        f"({first[0]} … there, {first[1]} … here; by order: {reason}){_notes(best)}",
        "create the network that the file was saved from",
    )


def _incomplete(best: Matching, reason: str) -> FovealError:
    parts = [f"{best.source} fits only in part, by {best.rule}"]
    if best.missing:
        parts.append(f"{len(best.missing)} missing: {_first(best.missing)}")
    if best.unexpected:
        parts.append(f"{len(best.unexpected)} not in the network: {_first(best.unexpected)}")
    if best.mismatched:
        differing = tuple(_differs(pair) for pair in best.mismatched)
        parts.append(f"{len(differing)} of another shape: {_first(differing)}")
    parts.append(f"by order: {reason}")
    return FovealError(
        "; ".join(parts) + _notes(best),
        f"partial=True (--partial) loads the {len(best.pairs)} tensors that fit and leaves the rest as initialised",
    )


def _conflict(matching: Matching, conflict: str) -> FovealError:
    return FovealError(
        f"{matching.source} fits by {matching.rule}, but would compute something else: {conflict}",
        "create the variant that the weights were trained for; partial=True (--partial) loads them nevertheless",
    )


def _notes(matching: Matching) -> str:
    return f" ({'; '.join(matching.notes)})" if matching.notes else ""


def _first(names: tuple[str, ...], count: int = 10) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def _differs(pair: Pair) -> str:
    return f"{pair.model} (file {_size(pair.file_shape)}, network {_size(pair.model_shape)})"


def _layer(name: str, groups: Mapping[str, Mapping[str, Shape]]) -> str:
    group = groups[name]
    leaf = "weight" if "weight" in group else next(iter(group))
    return f"{name or 'the network itself'} ({leaf} {_size(group[leaf])})"


def _join(layer: str, leaf: str) -> str:
    return f"{layer}.{leaf}" if layer else leaf


def _size(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _shortened(lines: list[str], rows: int) -> list[str]:
    if len(lines) <= rows:
        return lines
    half = max(rows // 2, 1)
    return [*lines[:half], f"  … {len(lines) - 2 * half} more …", *lines[-half:]]
