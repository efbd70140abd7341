"""The reader of CIFAR's pickles: plain data comes out, nothing is ever run."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from foveal.data.formats import _pickle
from foveal.data.formats._pickle import read_pickle
from foveal.errors import FovealError

IMAGES = np.random.RandomState(0).randint(0, 256, (7, 3072)).astype(np.uint8)


def read(tmp_path: Path, data: bytes) -> object:
    file = tmp_path / "batch"
    file.write_bytes(data)
    return read_pickle(file)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_every_protocol_with_bytes_keys_and_arrays(protocol: int, tmp_path: Path) -> None:
    batch = {
        b"data": IMAGES,
        b"labels": list(range(7)),
        b"filenames": [b"a.png", b""],
        b"more": (1, 2.5, None, True, False, -(2**40), "\u00fc", (), (1,), (1, 2), [], {}, {"x": 300, "y": 70_000}),
        b"wide": np.arange(6, dtype=">i4").reshape(2, 3),
        b"columns": np.asfortranarray(IMAGES[:, :5]),
    }
    found = read(tmp_path, pickle.dumps(batch, protocol=protocol))
    assert isinstance(found, dict)
    assert list(found) == [key.decode() for key in batch]
    for key, value in batch.items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(found[key.decode()], value)
        elif (
            protocol > 1 or key != b"filenames"
        ):  # protocols 0 and 1 write empty bytes by a call that is not needed here
            assert found[key.decode()] == value


def python2_string(data: bytes) -> bytes:
    short = len(data) < 256
    return b"U" + bytes([len(data)]) + data if short else b"T" + struct.pack("<I", len(data)) + data


def python2_batch(images: np.ndarray, labels: list[int]) -> bytes:
    """What Python 2 wrote in 2009: byte strings, numpy.core, MARKs; opcode by opcode."""
    text = python2_string
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01(cnumpy\nndarray\nq\x02(K\x00tq\x03" + text(b"b") + b"tq\x04Rq\x05"
    )
    shape = b"(" + b"".join(b"M" + struct.pack("<H", size) for size in images.shape) + b"t"
    dtype = b"cnumpy\ndtype\nq\x06(" + text(b"u1") + b"K\x00K\x01tRq\x07(K\x03" + text(b"|")
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01" + shape + dtype + b"\x89" + text(images.tobytes()) + b"tb"
    numbers = b"]q\x08(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return (
        b"\x80\x02}q\x00("
        + text(b"batch_label")
        + text(b"training batch 1 of 5")
        + text(b"labels")
        + numbers
        + text(b"data")
        + array
        + state
        + text(b"filenames")
        + b"]("
        + b"".join(text(b"%d.png" % i) for i in labels)
        + b"eu."
    )


def test_python_2_layout(tmp_path: Path) -> None:
    data = python2_batch(IMAGES, [3, 1, 4, 1, 5, 9, 2])
    assert np.array_equal(pickle.loads(data, encoding="bytes")[b"data"], IMAGES)  # noqa: S301 (the oracle, our own bytes)
    found = read(tmp_path, data)
    assert isinstance(found, dict)
    assert found["labels"] == [3, 1, 4, 1, 5, 9, 2]
    assert np.array_equal(found["data"], IMAGES)
    assert found["data"].dtype == np.uint8


class Runs:
    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, ...]:
        return self.call[0], self.call[1:]


MARKER = "foveal-was-here"
HOSTILE = {
    "system": pickle.dumps({b"data": Runs(os.system, f"touch {MARKER}")}, 2),
    "mkdir": pickle.dumps(Runs(os.mkdir, MARKER), 4),
    "eval": pickle.dumps(Runs(eval, f"open('{MARKER}', 'w')"), 2),
    "stack global": pickle.dumps(Runs(eval, f"open('{MARKER}', 'w')"), 4),
    "inst": b"(S'touch foveal-was-here'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'touch foveal-was-here'\no.",
    "newobj": b"\x80\x02cbuiltins\nobject\n)\x81.",
    "persistent": b"Pevil\n.",
    "extension": b"\x80\x02\x82\x01.",
    "numpy's own": b"cnumpy.core.multiarray\nscalar\n)R.",
    "codec with a side door": b"c_codecs\nencode\n(Vabc\nVzip\ntR.",
    "object array": pickle.dumps(np.array([{}, None], dtype=object), 2),
    "getattr": b"cbuiltins\ngetattr\n.",
    "state of a list": b"]}b.",
    "calls a list": b"])R.",
    "recursive": b"]q\x00h\x00a}h\x00h\x00R.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_and_nothing_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FovealError, match="nothing of it was run") as caught:
        read(tmp_path, HOSTILE[name])
    assert str(tmp_path / "batch") in caught.value.what
    assert "binary version" in caught.value.mend
    assert not (tmp_path / MARKER).exists()


WRONG = {
    "no end": b"\x80\x02}",
    "empty": b"",
    "text": b"hello",
    "stack": b"\x86.",
    "memo": b"h\x05.",
    "mark": b"t.",
    "odd dict": b"(K\x01d.",
    "unhashable": b"}]K\x01s.",
    "append to a dict": b"}K\x01a.",
    "short array": pickle.dumps(IMAGES, 2).replace(struct.pack("<H", 3072), struct.pack("<H", 4000)),
    "cut": pickle.dumps({b"data": IMAGES}, 2)[:500],
}


@pytest.mark.parametrize("name", WRONG)
def test_damaged_pickles(name: str, tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="damaged or no pickle"):
        read(tmp_path, WRONG[name])


def test_growth_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    grows = b"(" + text + b"q\x00" + b"c_codecs\nencode\n(h\x00Vlatin1\ntR" * 50 + b"t."
    with pytest.raises(FovealError, match="far more than it holds"):
        read(tmp_path, grows)
    monkeypatch.setattr(_pickle, "_MAX_OPCODES", 1000)
    with pytest.raises(FovealError, match="far more than it holds"):
        read(tmp_path, b"(" + b"]" * 2000 + b"t.")
    monkeypatch.setattr(_pickle, "_MAX_BYTES", 1000)
    with pytest.raises(FovealError, match="larger than"):
        read(tmp_path, b"(" + b"]" * 2000 + b"t.")


def test_random_bytes_raise_nothing_else(tmp_path: Path) -> None:
    chance = np.random.RandomState(1)
    whole = np.frombuffer(python2_batch(IMAGES[:1, :300], [3]), np.uint8)
    for _ in range(400):
        data = whole.copy()
        at = chance.randint(0, len(data), 3)
        data[at] = chance.randint(0, 256, 3)
        try:
            read(tmp_path, data.tobytes())
        except FovealError as error:
            assert error.mend
