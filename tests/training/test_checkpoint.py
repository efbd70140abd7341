"""Checkpoints through kills, full disks, damage and malice."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from foveal.errors import FovealError
from foveal.training import checkpoint
from foveal.training.checkpoint import DamagedCheckpointError


def save(run: Path, step: int, name: str = "last") -> None:
    """A small checkpoint whose every part knows its step."""
    checkpoint.save(
        run,
        name,
        weights={"w": torch.full((50,), float(step)), "shared": torch.ones(2).expand(3, 2)},
        average={"w": torch.full((50,), step + 0.5)},
        optimizer={"optimizer": {"state": {0: {"momentum_buffer": torch.full((50,), -float(step))}}}, "scaler": {}},
        position={"step": step},
    )


def assert_whole(found: checkpoint.Checkpoint, step: int) -> None:
    """All parts are of one step."""
    assert found.position["step"] == step
    assert found.weights["w"][0] == step and found.average is not None and found.average["w"][0] == step + 0.5
    assert found.optimizer["optimizer"]["state"][0]["momentum_buffer"][0] == -step


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it, nothing is cleaned up."""


CALLS = ((os, "fsync"), (os, "rmdir"), (os, "unlink"), (Path, "rename"), (Path, "mkdir"), (Path, "open"))


def failing(monkeypatch: pytest.MonkeyPatch, at: int, failure: Callable[[], BaseException]) -> list[int]:
    """Make the `at`-th system call of a save fail. The list counts them."""
    count = [0]

    def wrap(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            count[0] += 1
            if count[0] == at:
                raise failure()
            return real(*arguments, **options)

        return call

    for owner, name in CALLS:
        monkeypatch.setattr(owner, name, wrap(getattr(owner, name)))
    return count


def calls_of_a_save(run: Path) -> int:
    """How many places there are to die."""
    with pytest.MonkeyPatch.context() as patch:
        count = failing(patch, -1, Killed)
        save(run, 3)
        return count[0]


@pytest.mark.parametrize("name", ["last", "best"])
def test_killed_at_any_call_one_whole_checkpoint_stays(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    save(run, 1)
    save(run, 2)
    places = calls_of_a_save(run)
    assert places > 20
    for place in range(1, places + 1):
        shutil.rmtree(run)
        save(run, 1, name)
        save(run, 2, name)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            failing(patch, place, Killed)
            for step in (3, 4):  # the first may have fewer calls than counted
                save(run, step, name)
        left = checkpoint.load(run, name)
        assert_whole(left, left.position["step"])
        assert left.position["step"] in (2, 3, 4)
        save(run, 5, name)  # and the next save works on whatever was left behind
        assert_whole(checkpoint.load(run, name), 5)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_or_failing_disk_keeps_the_last_good_one(tmp_path: Path, code: int) -> None:
    run = tmp_path / "run"
    save(run, 1)
    save(run, 2)
    for place in range(1, calls_of_a_save(run) + 1):
        shutil.rmtree(run)
        save(run, 1)
        save(run, 2)
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, place, lambda: OSError(code, os.strerror(code)))
            try:
                save(run, 3)
            except FovealError as error:
                assert "cannot be written" in error.what and os.strerror(code) in error.what
                assert "last good checkpoint stays" in error.mend
        left = checkpoint.load(run, "last")
        assert_whole(left, left.position["step"])
        assert left.position["step"] in (2, 3)


def test_a_real_limit_on_the_size_of_files(tmp_path: Path) -> None:
    save(tmp_path, 2)
    code = """
import resource, signal, sys, torch
from pathlib import Path
from foveal.errors import FovealError
from foveal.training import checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    checkpoint.save(Path(sys.argv[1]), "last", weights={"w": torch.zeros(9_000)}, average=None, optimizer={},
                    position={"step": 3})
except FovealError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "cannot be written: File too large" in done.stdout
    assert_whole(checkpoint.load(tmp_path, "last"), 2)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "empty"])
def test_damage_is_refused_and_the_one_before_is_used(tmp_path: Path, damage: str) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    chance = random.Random(0)
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path / "last", whole)
    for file in sorted(whole.iterdir()):
        for _ in range(12 if damage in ("flip", "truncate") else 1):
            data = bytearray(file.read_bytes())
            target = tmp_path / "last" / file.name
            place = chance.randrange(len(data))
            if damage == "flip":
                data[place] ^= 1 << chance.randrange(8)
                target.write_bytes(data)
            elif damage == "truncate":
                target.write_bytes(data[:place])
            elif damage == "empty":
                target.write_bytes(b"")
            else:
                target.unlink()
            try:
                found = checkpoint.load(tmp_path, "last")
            finally:
                shutil.copy(file, target)
            if found.note:
                assert_whole(found, 1)
                assert file.name in found.note and "previous, update 1, is used" in found.note
            else:  # a flipped bit in a part of the manifest that says nothing about the files' content
                assert file.name == "manifest.json"
                assert_whole(found, 2)


def test_two_damaged_ones_are_an_error(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    for name in ("last", "previous"):
        (tmp_path / name / "weights.safetensors").write_bytes(b"?")
    with pytest.raises(DamagedCheckpointError, match=r"last/weights.safetensors has 1 bytes.*previous/weights"):
        checkpoint.load(tmp_path, "last")


def test_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="holds no checkpoint 'last' yet"):
        checkpoint.load(tmp_path, "last")


class Attack:
    """Unpickled, it would touch a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path, form: str) -> None:
    save(tmp_path, 1)
    target = tmp_path / "touched"
    buffer = io.BytesIO()
    if form == "pickle":
        buffer.write(pickle.dumps(Attack(target)))
    else:
        torch.save({"optimizer": Attack(target)}, buffer, _use_new_zipfile_serialization=form == "zip")
    forge(tmp_path / "last", "optimizer.pt", buffer.getvalue())
    with pytest.raises(DamagedCheckpointError, match=r"optimizer.pt holds code, which is not executed"):
        checkpoint.load(tmp_path, "last")
    assert not target.exists()


def forge(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and its checksum, as an attacker would."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_forged_weights_and_names_are_refused(tmp_path: Path) -> None:
    save(tmp_path, 1)
    forge(tmp_path / "last", "weights.safetensors", b"\xff" * 200)
    with pytest.raises(DamagedCheckpointError, match="last"):
        checkpoint.load(tmp_path, "last")
    save(tmp_path, 2)
    manifest = tmp_path / "last" / "manifest.json"
    manifest.write_text(json.dumps({"format": 1, "files": {"../../secret": {"bytes": 1, "sha256": ""}}}))
    with pytest.raises(DamagedCheckpointError, match="names files that no checkpoint has"):
        checkpoint.read(tmp_path / "last")


def test_a_damaged_last_does_not_push_out_the_good_one(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / "last" / "position.json").write_text("{}")
    assert checkpoint.load(tmp_path, "last").position["step"] == 1
    checkpoint.set_damaged_aside(tmp_path)
    assert_whole(checkpoint.read(tmp_path / "previous"), 1)
    assert (tmp_path / "damaged").exists()
    save(tmp_path, 3)
    assert_whole(checkpoint.read(tmp_path / "previous"), 1)


@pytest.mark.parametrize("name", ["last", "best"])
def test_replaced_while_it_is_read_the_newer_one_is_taken(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1, name)
    manifest, saved = checkpoint._manifest, []

    def then_replaced(folder: Path) -> Any:
        """The manifest of the first; before its files are read a second checkpoint stands in the same place."""
        files = manifest(folder)
        if not saved:
            saved.append(2)
            save(tmp_path, 2, name)
        return files

    monkeypatch.setattr(checkpoint, "_manifest", then_replaced)
    found = checkpoint.load(tmp_path, name)
    assert_whole(found, 2)
    assert found.note == ""
