"""Weight files: what is read, what is refused and why, and that nothing in them is ever executed."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from foveal.errors import FovealError
from foveal.training import checkpoint
from foveal.weights.files import read_weights, save_weights, without_prefix

STATE = OrderedDict(weight=torch.arange(6.0).reshape(3, 2), bias=torch.tensor([1.0, -2.0, 3.0]))


class Executes:
    """What a hostile file holds: unpickling it would create the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


class Evaluates:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return eval, (f"open({str(self.marker)!r}, 'w')",)


def _same(tensors: Any) -> bool:
    return list(tensors) == list(STATE) and all(torch.equal(tensors[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": s, "optimizer": {"lr": 0.1}, "args": argparse.Namespace(lr=0.1)},
        lambda s: {"model_state": s, "ema": {name: value + 1 for name, value in s.items()}},
        lambda s: {"ema": s},
        lambda s: {"state_dict": {"model": s}},
        lambda s: {f"module.{name}": value for name, value in s.items()},
        lambda s: {f"_orig_mod.module.model.{name}": value for name, value in s.items()},
        lambda s: {"model_ema": {"n_averaged": torch.tensor(4), **{f"module.{name}": v for name, v in s.items()}}},
        lambda s: {**s, "epoch": 3},
    ],
)
def test_wrapped_pytorch_files(tmp_path: Path, wrap: Callable[[Any], Any], legacy: bool) -> None:
    file = tmp_path / "weights.pth"
    torch.save(wrap(STATE), file, _use_new_zipfile_serialization=not legacy)
    assert _same(read_weights(file).tensors)


def test_format_is_told_by_content(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.safetensors")
    save_weights(STATE, tmp_path / "b.pth")
    assert _same(read_weights(tmp_path / "a.safetensors").tensors)
    assert _same(read_weights(tmp_path / "b.pth").tensors)


def test_notes_say_what_was_unwrapped(tmp_path: Path) -> None:
    torch.save({"ema": {"module.weight": torch.ones(1)}, "epoch": 3}, tmp_path / "w.pt")
    assert read_weights(tmp_path / "w.pt").notes == ("taken from 'ema'", "prefix 'module.' removed")


def test_prefix_stays_unless_all_names_share_it() -> None:
    assert without_prefix(["module.a", "b"]) == {"module.a": "module.a", "b": "b"}
    assert without_prefix(["module.a", "module.model.b"]) == {"module.a": "a", "module.model.b": "model.b"}


def test_round_trip_keeps_order_types_and_metadata(tmp_path: Path) -> None:
    state = {
        "z": torch.tensor([1, 2]), "a": torch.tensor(True), "h": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.ones(0, 3), "strided": torch.arange(6.0).reshape(2, 3).t(),
    }  # fmt: skip
    digest = save_weights(state, tmp_path / "w.safetensors", {"classes": "cat,dog"})
    back = read_weights(tmp_path / "w.safetensors")
    assert list(back.tensors) == list(state) and back.ordered and back.metadata == {"classes": "cat,dog"}
    assert all(torch.equal(back.tensors[n], state[n]) and back.tensors[n].dtype == state[n].dtype for n in state)
    assert len(digest) == 64 and digest == save_weights(state, tmp_path / "again.safetensors", {"classes": "cat,dog"})


def test_tied_weights_are_written_twice(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    save_weights(model, tmp_path / "w.safetensors")
    assert set(read_weights(tmp_path / "w.safetensors").tensors) == set(model.state_dict())


def test_run_folder_gives_its_best_weights(tmp_path: Path) -> None:
    for i, name in enumerate(("last", "best")):
        weights = {"w": torch.full((1,), i)}
        checkpoint.save(tmp_path, name, weights=weights, average=None, optimizer={}, position={"step": i})
    assert read_weights(tmp_path).tensors["w"].item() == 1


@pytest.mark.parametrize("harm", ["weights", "manifest", "average"])
def test_a_damaged_checkpoint_of_a_run_is_refused(harm: str, tmp_path: Path) -> None:
    weights = {"w": torch.zeros(1)}
    checkpoint.save(tmp_path, "best", weights=weights, average=weights, optimizer={}, position={"step": 1})
    if harm == "weights":
        save_weights({"w": torch.ones(1)}, tmp_path / "best" / "ema.safetensors")
    else:
        (tmp_path / "best" / {"manifest": "manifest.json", "average": "ema.safetensors"}[harm]).unlink()
    with pytest.raises(FovealError, match="damaged"):
        read_weights(tmp_path)


def test_saving_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "w.safetensors"
    save_weights(STATE, file)

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FovealError, match=r"cannot write weights to .*No space left"):
        save_weights({"other": torch.zeros(2)}, file)
    assert _same(read_weights(file).tensors)
    assert list(tmp_path.iterdir()) == [file]


def test_unwritable_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FovealError, match="cannot write weights"):
        save_weights(STATE, tmp_path / "file" / "w.safetensors")


def _hostile(root: Path, marker: Path) -> dict[str, tuple[bytes | Path, str]]:
    """name → (content or path, what the message must say)."""
    ours = root / "ours.safetensors"
    save_weights(STATE, ours)
    good = ours.read_bytes()
    torch.save(STATE, root / "good.pt")
    zipped = (root / "good.pt").read_bytes()
    flipped = bytearray(good)
    flipped[-3] ^= 4

    def saved(content: Any, **options: Any) -> bytes:
        torch.save(content, root / "made", **options)
        return (root / "made").read_bytes()

    def archive(**members: str | bytes) -> bytes:
        with zipfile.ZipFile(root / "zip", "w") as file:
            for name, content in members.items():
                file.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), content)
        return (root / "zip").read_bytes()

    def header(content: Any, data: bytes = b"") -> bytes:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        return struct.pack("<Q", len(text)) + text + data

    with zipfile.ZipFile(root / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("a/data.pkl", b"\0" * 5_000_000)
    script = torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2))
    script.save(root / "script.pt")
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    return {
        "system": (saved({"state_dict": STATE, "x": Executes(marker)}), "posix.system|nt.system"),
        "system_legacy": (saved(Executes(marker), _use_new_zipfile_serialization=False), "posix.system|nt.system"),
        "eval": (saved({"weight": Evaluates(marker)}), "eval"),
        "nested_deep": (saved([[[{"a": [Executes(marker)]}]]]), "posix.system|nt.system"),
        **{f"pickle{n}": (pickle.dumps(Executes(marker), n), "refused|neither|as weights") for n in range(6)},
        "pickle_numpy": (pickle.dumps(np.array([Executes(marker)], dtype=object), 2), "refused|as weights"),
        "module": (saved(nn.Linear(2, 2)), "torch.nn.modules.linear.Linear"),
        "torchscript": (root / "script.pt", "TorchScript"),
        "npy": (b"\x93NUMPY\x01\x00" + pickle.dumps(Executes(marker)), "NumPy"),
        "hdf5": (b"\x89HDF\r\n\x1a\n", "Keras"),
        "web_page": (b"<HTML><body>404</body>", "web page"),
        "text": (b"cos\nsystem\n(S'true'\ntR.", "neither"),
        "list": (saved([torch.ones(2)]), "holds a list"),
        "no_tensors": (saved({"epoch": 3}), "no tensors"),
        "sparse": (saved({"w": torch.eye(3).to_sparse()}), "sparse"),
        "meta": (saved({"w": torch.empty(3, device="meta")}), "empty-device"),
        "empty": (b"", "is empty"),
        "three_bytes": (b"abc", "neither"),
        "folder": (root / "folder", "folder without weights"),
        "absent": (root / "absent.pt", "no weights at"),
        "zip_of_text": (archive(readme="hello"), "not PyTorch's: it holds readme"),
        "zip_lying": (archive(a__data_pkl=pickle.dumps(Executes(marker), 2)), "as weights|refused"),
        "zip_bomb": (root / "bomb.pt", "more than its size"),
        "zip_truncated": (zipped[: len(zipped) // 2], "damaged"),
        "zip_flipped": (zipped.replace(STATE["weight"].numpy().tobytes(), b"\xff" * 24), "checksum"),
        "st_truncated": (good[:-5], "damaged"),
        "st_flipped": (bytes(flipped), "SHA-256"),
        "st_header_beyond": (struct.pack("<Q", 1 << 60) + good[8:], "header claims"),
        "st_header_huge": (header(b"{" + b" " * 17_000_000 + b"}"), "header of"),
        "st_not_json": (header(b"{nonsense"), "damaged"),
        "st_offsets": (header({"a": {**tensor, "data_offsets": [0, 1 << 40]}}, b"\0" * 8), "damaged"),
        "st_overlap": (header({"a": tensor, "b": tensor}, b"\0" * 8), "damaged"),
        "st_negative": (header({"a": {**tensor, "shape": [-2]}}, b"\0" * 8), "damaged"),
        "st_overflow": (header({"a": {**tensor, "shape": [1 << 62, 1 << 62]}}, b"\0" * 8), "damaged"),
        "st_type": (header({"a": {**tensor, "dtype": "PYOBJ"}}, b"\0" * 8), "damaged"),
        "st_shape": (header({"a": {**tensor, "shape": [3]}}, b"\0" * 8), "damaged"),
        "st_nothing": (header({}), "no tensors"),
    }


def test_hostile_files_are_refused_and_execute_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "folder").mkdir()
    cases = _hostile(tmp_path, marker)
    assert len(cases) >= 30
    for name, (content, reason) in cases.items():
        file = content if isinstance(content, Path) else tmp_path / f"case_{name}.pt"
        if isinstance(content, bytes):
            file.write_bytes(content)
        with pytest.raises(FovealError, match=reason) as caught:
            read_weights(file)
        text = str(caught.value)
        assert text.count("\n") <= 1 and caught.value.mend, name
        assert file.name in text and "weights_only" not in text, name
        assert not marker.exists(), name


@pytest.mark.parametrize("kind", ["safetensors", "pt", "legacy"])
def test_damage_anywhere_is_an_error_or_harmless(tmp_path: Path, kind: str) -> None:
    """Bit flips and truncations: never another exception, and (but for legacy files, which hold no checksum) never
    other values than were saved."""
    file, copy = tmp_path / "w", tmp_path / "damaged"
    if kind == "safetensors":
        save_weights(STATE, file)
    else:
        torch.save(STATE, file, _use_new_zipfile_serialization=kind == "pt")
    whole = file.read_bytes()
    rng = random.Random(0)
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        copy.write_bytes(bytes(damaged) if rng.random() < 0.8 else whole[: rng.randrange(len(whole))])
        try:
            found = read_weights(copy).tensors
        except FovealError:
            continue
        assert kind == "legacy" or (set(found) == set(STATE) and all(torch.equal(found[n], STATE[n]) for n in STATE))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x08\0\0\0\0\0\0\0{"]), rest=st.binary())
def test_any_bytes_give_a_foveal_error(tmp_path: Path, head: bytes, rest: bytes) -> None:
    (tmp_path / "any").write_bytes(head + rest)
    with pytest.raises(FovealError):
        read_weights(tmp_path / "any")


def test_foreign_safetensors_have_no_order(tmp_path: Path) -> None:
    save_file(dict(STATE), tmp_path / "w.safetensors")
    assert not read_weights(tmp_path / "w.safetensors").ordered


def test_no_unsafe_reader_in_the_package() -> None:
    source = Path(__file__).parents[2] / "src" / "foveal"
    unsafe = ("pickle.load", "weights_only=False", "allow_pickle=True", "yaml.load(", "torch.jit.load(", "marshal.load")
    found = [
        f"{file.name}: {call}" for file in source.rglob("*.py") for call in unsafe if call in file.read_text("utf-8")
    ]
    assert not found
