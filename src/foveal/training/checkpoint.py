"""Checkpoints that survive a kill at any moment, a full disk and damaged files.

A checkpoint is a folder: weights.safetensors, ema.safetensors (with a moving average), optimizer.pt, position.json and
manifest.json with every file's size and SHA-256. It is written beside its place under another name, flushed to the
disk and then renamed; the one before it is kept until the next is complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from foveal.errors import FovealError
from foveal.weights.files import flush_folder

_BEFORE = {"last": "previous", "best": "best.before"}  # where the one before goes
_FORMAT = 1
_FILES = {"weights.safetensors", "ema.safetensors", "optimizer.pt", "position.json"}


class DamagedCheckpointError(FovealError):
    """A checkpoint that is incomplete, altered, or holds anything but tensors and plain values."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds. `note` says why an older one was taken, and is empty otherwise."""

    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    optimizer: Mapping[str, Any]
    position: Mapping[str, Any]
    note: str = ""


def save(
    run: Path,
    name: str,
    *,
    weights: Mapping[str, Tensor],
    average: Mapping[str, Tensor] | None,
    optimizer: Mapping[str, Any],
    position: Mapping[str, Any],
) -> None:
    """Write checkpoint `name` ("last" or "best") of a run's folder. All of it is there afterwards, or what was before.

    Raises FovealError when the disk is full or cannot be written; the last good checkpoint stays.
    """
    buffer = io.BytesIO()
    torch.save(dict(optimizer), buffer)
    files = {"weights.safetensors": tensor_bytes(weights), "optimizer.pt": buffer.getvalue()}
    if average is not None:
        files["ema.safetensors"] = tensor_bytes(average)
    files["position.json"] = json.dumps(position, indent=1).encode()
    sums = {file: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for file, data in files.items()}
    files["manifest.json"] = json.dumps({"format": _FORMAT, "step": position["step"], "files": sums}, indent=1).encode()
    new = run / f".{name}.new"
    try:
        _remove(new)
        new.mkdir(parents=True)
        for file, data in files.items():
            write_file(new / file, data)
        flush_folder(new)
        _rotate(run, name, new)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise full_disk(run / name, error) from error


def _rotate(run: Path, name: str, new: Path) -> None:
    """Put `new` in its place. Killed between any two lines, `name` or the one before it is there and complete."""
    current, before = run / name, run / _BEFORE[name]
    if current.exists():
        _remove(before)
        current.rename(before)
    new.rename(current)
    flush_folder(run)
    if name == "best":
        _remove(before)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def load(run: Path, name: str) -> Checkpoint:
    """The checkpoint `name`; when it is damaged or missing the one before it, saying so in `note`.

    Raises DamagedCheckpointError when neither is whole, and FovealError when there is none.
    """
    problems: list[str] = []
    for candidate in (name, _BEFORE[name]):
        folder = run / candidate
        if not folder.exists():
            problems.append(f"{folder} is missing")
            continue
        try:
            found = _read_while_replaced(folder)
        except DamagedCheckpointError as error:
            problems.append(error.what)
            continue
        note = f"{'; '.join(problems)}: {folder}, update {found.position['step']}, is used" if problems else ""
        return Checkpoint(found.weights, found.average, found.optimizer, found.position, note)
    if not exists(run, name):
        raise FovealError(f"{run} holds no checkpoint '{name}' yet", "train for longer, or choose another folder")
    raise DamagedCheckpointError("; ".join(problems), "restore it from a copy, or train again with another out=")


def _read_while_replaced(folder: Path) -> Checkpoint:
    """`read`, again as long as a run that goes on puts another checkpoint in this place meanwhile."""
    while True:
        before = _identity(folder)
        try:
            return read(folder)
        except DamagedCheckpointError:
            if _identity(folder) == before:
                raise


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder stands at this path, None for none."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def exists(run: Path, name: str) -> bool:
    """Whether there is a checkpoint `name`, whole or not, or the one before it."""
    return (run / name).exists() or (run / _BEFORE[name]).exists()


def set_damaged_aside(run: Path) -> None:
    """Before a resumed run saves again: keep a damaged `last` from replacing the good one before it."""
    if (run / "last").exists():
        _remove(run / "damaged")
        (run / "last").rename(run / "damaged")


def read(folder: Path) -> Checkpoint:
    """One checkpoint folder, every file checked against its SHA-256 before anything is taken from it.

    Raises DamagedCheckpointError that names the file. Nothing in a checkpoint is executed: weights are safetensors, the
    optimiser is read with weights_only=True.
    """
    manifest = _manifest(folder)
    data = {file: _checked(folder / file, facts) for file, facts in manifest.items()}
    for needed in ("weights.safetensors", "optimizer.pt", "position.json"):
        if needed not in data:
            raise DamagedCheckpointError(f"{folder}: {needed} is not in manifest.json")
    average = data.get("ema.safetensors")
    try:
        return Checkpoint(
            safetensors.torch.load(data["weights.safetensors"]),
            None if average is None else safetensors.torch.load(average),
            torch.load(io.BytesIO(data["optimizer.pt"]), map_location="cpu", weights_only=True),
            json.loads(data["position.json"]),
        )
    except (SafetensorError, ValueError, RuntimeError, EOFError) as error:
        raise DamagedCheckpointError(f"{folder}: {error}") from error
    except pickle.UnpicklingError as error:
        raise DamagedCheckpointError(f"{folder / 'optimizer.pt'} holds code, which is not executed") from error


def _manifest(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        files = manifest["files"]
        if manifest["format"] != _FORMAT:
            raise DamagedCheckpointError(f"{folder} has format {manifest['format']}, not {_FORMAT}")
        if not set(files) <= _FILES:
            raise DamagedCheckpointError(f"{folder / 'manifest.json'} names files that no checkpoint has")
        return {str(name): {"bytes": int(f["bytes"]), "sha256": str(f["sha256"])} for name, f in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(f"{folder / 'manifest.json'} is missing or damaged") from error


def _checked(file: Path, facts: Mapping[str, Any]) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DamagedCheckpointError(f"{file} cannot be read: {error.strerror}") from error
    if len(data) != facts["bytes"]:
        raise DamagedCheckpointError(f"{file} has {len(data)} bytes instead of {facts['bytes']}")
    if hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise DamagedCheckpointError(f"{file} is damaged: its SHA-256 differs from manifest.json")
    return data


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """A state_dict in the safetensors format; tensors that share memory are written once for each name."""
    return safetensors.torch.save({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()})


def write_file(file: Path, data: bytes) -> None:
    """Write and flush to the disk."""
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def replace_file(file: Path, data: bytes) -> None:
    """Write a file so that its old or its new content is there, whole, whatever happens."""
    new = file.with_name(f".{file.name}.new")
    try:
        write_file(new, data)
        new.replace(file)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise full_disk(file, error) from error


def full_disk(place: Path, error: OSError) -> FovealError:
    """The error for a write that failed: where, why, and that nothing older is lost."""
    return FovealError(
        f"{place} cannot be written: {error.strerror or error}",
        "free some space or choose another out=; the last good checkpoint stays, `foveal train RUN` goes on from it",
    )
