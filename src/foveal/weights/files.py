"""Weight files: reading our own and foreign ones without executing anything, and writing ours atomically.

The format is told by the file's content, never by its name. PyTorch files go through `torch.load(weights_only=True)`,
whose unpickler knows tensors and containers only; whatever else a file holds is refused with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import pickle  # only for the name of its error
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.weights.blobs import is_npz, read_blobs, split_order

DIGEST, ORDER = "foveal.sha256", "foveal.order"
_HEADER_LIMIT = 16_000_000  # bytes; the header of a network with a thousand layers takes about one
_NESTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "params")
_AVERAGES = ("ema", "model_ema", "ema_state_dict", "state_dict_ema", "ema_state")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_FOREIGN = {
    b"\x89HDF": "an HDF5 (Keras) file",
    b"\x93NUM": "a NumPy array",
    b"GGUF": "a GGUF file",
    b"<htm": "a web page",
}
_EXPORT = "save the weights alone where you trust the file: torch.save(model.state_dict(), 'weights.pt')"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a weight file, on the CPU, by name.

    `ordered` says whether the order of `tensors` is the order in which the network registered them (safetensors files
    of other packages are sorted by name, so theirs is not). `notes` tell what was unwrapped to get at the tensors.
    """

    source: str
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = True
    notes: tuple[str, ...] = ()


def read_weights(file: str | Path) -> Checkpoint:
    """The weights in a safetensors or PyTorch (.pt, .pth, .th, zip or legacy) file, in a run's folder, or in Caffe's
    order in an .npz, whose name ends in :bgr or :rgb (`weights.blobs`).

    Nested dictionaries (`state_dict`, `model`, `ema` …) are unwrapped and the prefixes `module.`, `_orig_mod.` and
    `model.` removed where all names share them. Raises FovealError, having executed nothing, for a file that is
    missing, empty, damaged, of another kind, or that would run code.
    """
    path, order = split_order(file)
    path = _resolved(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise FovealError(f"cannot read weights from {path}: {error.strerror or error}") from error
    if not head:
        raise FovealError(f"{path} is empty", "download or copy it again")
    for magic, kind in _FOREIGN.items():
        if head[:4].lower() == magic.lower():
            raise FovealError(
                f"{path} is {kind}, not network weights", "give a safetensors or PyTorch (.pt, .pth) file"
            )
    if head[:2] == b"PK" and is_npz(path):
        tensors, notes = read_blobs(path, order)
        return Checkpoint(str(path), tensors, ordered=False, notes=tuple(notes))
    if order:
        raise FovealError(f"{path} is no .npz of Caffe's blobs, so :{order} means nothing", f"leave :{order} away")
    pickled = head[:2] == b"PK" or head[:1] == b"\x80"
    if head[8:9] == b"{" or (path.suffix == ".safetensors" and not pickled):
        return _read_safetensors(path, head)
    return _read_torch(path, head)


def save_weights(
    model: nn.Module | Mapping[str, Tensor], file: str | Path, metadata: Mapping[str, str] | None = None
) -> str:
    """Write the state dict to a safetensors file, atomically, and return the SHA-256 of its content.

    The digest covers names, types, shapes, bytes and metadata, lies in the file's header, and is verified when the
    file is read. Raises FovealError when the file cannot be written; what was there before then stays as it was.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    tensors = _unshared(state)
    header = {**(metadata or {}), ORDER: json.dumps(list(tensors))}
    digest = _digest(tensors, header)
    path = Path(file).expanduser()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, {**header, DIGEST: digest})
        with temporary.open("r+b") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        flush_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise FovealError(
            f"cannot write weights to {path}: {error}",
            "is the disk full or the folder read-only? An earlier file stays",
        ) from error
    finally:
        with contextlib.suppress(OSError):  # the folder itself may be what is missing
            temporary.unlink(missing_ok=True)
    return digest


def without_prefix(names: Iterable[str]) -> dict[str, str]:
    """Each name → the name without the wrappers' prefixes (`module.` …) that all names share."""
    short = {name: name for name in names}
    shared = True
    while short and shared:
        shared = False
        for prefix in _PREFIXES:
            if all(name.startswith(prefix) and name != prefix for name in short.values()):
                short = {name: value.removeprefix(prefix) for name, value in short.items()}
                shared = True
    return short


def _resolved(path: Path) -> Path:
    """The file itself, or the best weights of a run's folder."""
    if not path.exists():
        raise FovealError(f"no weights at {path}", "give an existing file, a run's folder, or 'imagenet'")
    if not path.is_dir():
        if not path.is_file():
            raise FovealError(f"{path} is not a regular file", "give a safetensors or PyTorch (.pt, .pth) file")
        return path
    for folder in (path / "best", path / "last", path):
        for name in ("ema.safetensors", "weights.safetensors"):
            if (folder / name).is_file():
                _check_manifest(folder, name, needed=folder != path)
                return folder / name
    raise FovealError(f"{path} is a folder without weights", "give a file, or a run's folder (it has best/ or last/)")


def _check_manifest(folder: Path, name: str, *, needed: bool) -> None:
    """FovealError unless a checkpoint's weights have the SHA-256 of its manifest, or it has none and needs none."""
    manifest = folder / "manifest.json"
    if not needed and not manifest.exists():
        return
    try:
        sums = {file: facts["sha256"] for file, facts in json.loads(manifest.read_bytes())["files"].items()}
        with (folder / name).open("rb") as stream:
            whole = hashlib.file_digest(stream, "sha256").hexdigest() == sums[name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FovealError(
            f"{manifest} is missing or damaged", "restore it from a copy, or name a weights file"
        ) from error
    if not whole or ("ema.safetensors" in sums and name != "ema.safetensors"):
        raise FovealError(f"{folder} is damaged: its weights are not those of manifest.json", "restore it from a copy")


def _read_safetensors(path: Path, head: bytes) -> Checkpoint:
    size, length = path.stat().st_size, int.from_bytes(head[:8], "little")
    if size < 8 or length > size - 8:
        raise FovealError(
            f"{path} is damaged: its header claims {length:,} bytes, the file has {size:,}", "download or copy it again"
        )
    if length > _HEADER_LIMIT:
        raise FovealError(f"{path}: a header of {length:,} bytes (at most {_HEADER_LIMIT:,})", "this is no weight file")
    try:
        with safe_open(path, framework="pt", device="cpu") as archive:
            metadata: dict[str, str] = dict(archive.metadata() or {})
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError) as error:
        raise FovealError(f"{path} is damaged: {_line(error)}", "download or copy it again") from error
    order = _checked_order(path, tensors, metadata)
    ordered = {name: tensors[name] for name in order or tensors}
    return _unwrapped(str(path), ordered, {k: v for k, v in metadata.items() if k not in (DIGEST, ORDER)}, bool(order))


def _checked_order(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> list[str]:
    """The names in registration order if the file is one of ours, after checking its digest; else an empty list."""
    if DIGEST not in metadata:
        return []
    header = {name: value for name, value in metadata.items() if name != DIGEST}
    if _digest(tensors, header) != metadata[DIGEST]:
        raise FovealError(f"{path} is damaged: its SHA-256 is not the one it was saved with", "use another copy")
    order: list[str] = json.loads(header[ORDER])  # whole, since the digest covers it
    return order


def _read_torch(path: Path, head: bytes) -> Checkpoint:
    if head[:2] == b"PK":
        _gate_zip(path)
    elif head[:1] != b"\x80":
        raise FovealError(f"{path} is neither safetensors nor PyTorch (it starts with {head[:8]!r})", _EXPORT)
    try:
        # A training script's settings are often saved beside the weights; a Namespace only ever holds attributes.
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(),
            path.open("rb") as stream,
        ):
            warnings.simplefilter("ignore")  # about pickle protocols: either the content is read or it is an error
            content = torch.load(stream, map_location="cpu", weights_only=True)  # given a path, it goes by the suffix
    except Exception as error:  # a parser of untrusted bytes: whatever it stumbles over is the file's fault
        raise _refusal(path, error) from error
    return _unwrapped(str(path), content, {}, True)


def _gate_zip(path: Path) -> None:
    """Refuse zips that are not PyTorch's plain ones, and damaged ones, before torch sees them."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _gate_members(path, members)
            damaged = archive.testzip()  # torch itself does not look at the checksums
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError) as error:
        raise FovealError(f"{path} is damaged: {_line(error)}", "download or copy it again") from error
    if damaged is not None:
        raise FovealError(f"{path} is damaged: the checksum of {damaged} is wrong", "download or copy it again")


def _gate_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse TorchScript, other archives, and compressed members (bombs: PyTorch stores plainly)."""
    names = [member.filename.rpartition("/")[2] for member in members]
    if "constants.pkl" in names or any("/code/" in member.filename for member in members):
        raise FovealError(
            f"{path} is a TorchScript archive, which holds a program", f"{_EXPORT} of torch.jit.load's result"
        )
    if "data.pkl" not in names:
        shown = ", ".join(member.filename for member in members[:3]) or "nothing"
        raise FovealError(f"{path} is a zip, but not PyTorch's: it holds {shown}", _EXPORT)
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or (
        sum(m.file_size for m in members) > path.stat().st_size
    ):
        raise FovealError(f"{path} holds more than its size: PyTorch's files are not compressed", _EXPORT)


def _refusal(path: Path, error: Exception) -> FovealError:
    """torch's reason in one line, without its advice to switch the safety off."""
    text = str(error)
    if called := re.search(r"GLOBAL (\S+)", text):
        return FovealError(
            f"{path} is refused: opening it would run or build '{called[1]}', and weights are only tensors", _EXPORT
        )
    if operand := re.search(r"Unsupported operand (\d+)", text):
        name = next((op.name for op in pickletools.opcodes if ord(op.code) == int(operand[1])), operand[1])
        return FovealError(f"{path} is refused: its pickle uses {name}, which tensors do not need", _EXPORT)
    reason = text.rpartition("WeightsUnpickler error:")[2].strip()
    if isinstance(error, pickle.UnpicklingError) and "weights_only" in reason.partition("\n")[0]:
        reason = "what it holds is not only tensors"
    return FovealError(f"{path} cannot be read as weights: {_line(reason or error)}", _EXPORT)


def _unwrapped(source: str, content: object, metadata: Mapping[str, str], ordered: bool) -> Checkpoint:
    notes: list[str] = []
    while isinstance(content, Mapping) and (nest := _nest(content)):
        notes.append(f"taken from '{nest}'")
        content = content[nest]
    if not isinstance(content, Mapping):
        raise FovealError(f"{source} holds a {type(content).__name__}, not a dictionary of tensors", _EXPORT)
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        shown = ", ".join(str(name) for name in list(content)[:5]) or "nothing"
        raise FovealError(f"{source} holds no tensors (it holds {shown})", _EXPORT)
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise FovealError(f"{source}: '{name}' is a sparse, quantised or empty-device tensor", _EXPORT)
    if len(others := [str(name) for name in content if str(name) not in tensors]) > 0:
        notes.append(f"left out (no tensors): {', '.join(others[:5])}{' …' if len(others) > 5 else ''}")
    if all(name.startswith("module.") for name in tensors if name != "n_averaged"):
        tensors.pop("n_averaged", None)  # the counter of torch's AveragedModel
    short = without_prefix(tensors)
    if (first := next(iter(tensors))) != short[first]:
        notes.append(f"prefix '{first.removesuffix(short[first])}' removed")
    return Checkpoint(source, {short[name]: value for name, value in tensors.items()}, metadata, ordered, tuple(notes))


def _nest(content: Mapping[Any, Any]) -> str | None:
    """The key under which the weights lie: the plain ones before their moving average."""
    for name in (*_NESTS, *_AVERAGES):
        inner = content.get(name)
        if isinstance(inner, Mapping) and inner:
            return name
    return None


def _unshared(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each in memory of its own (safetensors refuses tied weights: they are written twice)."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.device.type == "meta":
            raise TypeError(f"'{name}' has no values to save")
        tensor = value.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return tensors


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Flush a folder's names to the disk, to survive a power cut, where the system can (Windows does it itself)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _line(error: BaseException | str) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
