"""The loader's decisions, messages and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from foveal.data import loader as loader_module
from foveal.data import resident
from foveal.data.dataset import ArraySet, FileSet
from foveal.data.loader import Loader
from foveal.data.pipeline import Pipeline
from foveal.data.resources import cores, free_memory, shared_memory
from foveal.data.streaming import Samples, Stream
from foveal.errors import FovealError
from foveal.types import Batch


def array(count: int = 20, channels: int = 1, side: int = 28) -> ArraySet:
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=g)
    return ArraySet(images, torch.arange(count) % 2, ("a", "b"), "train", "made/train")


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., FileSet]:
    def make(*sizes: tuple[int, int]) -> FileSet:
        for i, size in enumerate(sizes):
            Image.new("RGB", size, (i * 10 % 256, 20, 30)).save(tmp_path / f"{i}.jpg")
        paths = [tmp_path / f"{i}.jpg" for i in range(len(sizes))]
        return FileSet(paths, torch.arange(len(sizes)) % 2, ("a", "b"), "train")

    return make


def test_a_set_that_needs_no_preparation_is_not_copied() -> None:
    data = array()
    made = Loader(data, Pipeline((), ("flip",), (1, 28, 28)), 4, seed=0, train=True)
    assert made.cached and made.workers == 0
    assert made._images is data.images
    before = data.images.clone()
    for batch in made.batches(0):
        batch.images.zero_()  # a consumer may do what it wants with its batch
    assert torch.equal(data.images, before)


def test_progress_and_description() -> None:
    told: list[tuple[int, int]] = []
    data = array(2500)
    made = Loader(
        data, Pipeline(("pad(2)",), ("flip",), (1, 32, 32)), 100, seed=0, train=True, progress=lambda *p: told.append(p)
    )
    assert told == [(1024, 2500), (2048, 2500), (2500, 2500)]
    assert made.describe() == (
        "2500 images in memory (2 MiB), 25 batches of 100 an epoch; "
        "prepare pad(padding=2, fill=0), augment flip(p=0.5), input 1x32x32"
    )


def test_files_of_one_size_are_kept_and_of_several_read_each_time(files: Callable[..., FileSet]) -> None:
    told: list[tuple[int, int]] = []
    pipeline = Pipeline(("resize(32)",), (), (3, 32, 32))
    same = Loader(files(*[(48, 40)] * 70), pipeline, 4, seed=0, train=True, progress=lambda *p: told.append(p))
    assert same.cached and told == [(32, 70), (64, 70), (70, 70)]
    mixed = files((48, 40), (40, 48))
    made = Loader(mixed, pipeline, 2, seed=0, train=True)
    assert not made.cached and "differ in size: 3x32x38 for" in made.describe() and "1.jpg" in made.describe()
    with pytest.raises(FovealError, match=r"differ in size.*\n.*center_crop"):
        Loader(mixed, pipeline, 2, seed=0, train=True, cache=True)


def test_memory_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(("pad(2)",), (), (1, 32, 32))
    monkeypatch.setattr(resident, "free_memory", lambda: 4 * 20 * 1024)
    assert Loader(array(), pipeline, 4, seed=0, train=True).cached
    monkeypatch.setattr(resident, "free_memory", lambda: 4 * 20 * 1024 - 4)
    assert not Loader(array(), pipeline, 4, seed=0, train=True).cached
    assert Loader(array(), pipeline, 4, seed=0, train=True, cache=True).cached
    monkeypatch.setattr(resident, "free_memory", lambda: 1000)
    with pytest.raises(FovealError, match="cache=false"):
        Loader(array(), pipeline, 4, seed=0, train=True, cache=True)
    assert not Loader(array(), pipeline, 4, seed=0, train=True, cache=False).cached


def test_automatic_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(("pad(2)",), (), (1, 32, 32))
    monkeypatch.setattr(loader_module, "cores", lambda: 6)
    assert Loader(array(300), pipeline, 4, seed=0, train=True).workers == 0
    assert Loader(array(300), pipeline, 4, seed=0, train=True, cache=False).workers == 6
    assert Loader(array(200), pipeline, 4, seed=0, train=True, cache=False).workers == 0
    monkeypatch.setattr(loader_module, "cores", lambda: 1)
    assert Loader(array(300), pipeline, 4, seed=0, train=True, cache=False).workers == 0


def test_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_memory() > 1 << 20
    assert shared_memory() is None or shared_memory() >= 0  # type: ignore[operator]
    every = cores()
    assert every >= 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(2 * every))
    assert cores() == 1


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    pipeline = Pipeline((), (), (1, 28, 28))
    with pytest.raises(FovealError, match=r"batch of 10 .* 4 processes\ngive batch_size=8"):
        Loader(array(), pipeline, 10, seed=0, train=True, rank=1, world=4)
    with pytest.raises(FovealError, match="no images"):
        Loader(array().select([]), pipeline, 10, seed=0, train=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_file_is_named(files: Callable[..., FileSet], workers: int) -> None:
    data = files(*[(40, 40)] * 6)
    Path(data.paths[4]).write_bytes(b"no image at all")
    with (
        Loader(data, Pipeline((), (), (3, 32, 32)), 2, seed=0, train=False, cache=False, workers=workers) as made,
        pytest.raises(FovealError, match=r"4\.jpg") as error,
    ):
        assert sum(len(batch.images) for batch in made.batches(0)) == 0
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_does_not_fit_is_named(files: Callable[..., FileSet], train: bool, workers: int) -> None:
    data = files(*[(40, 40)] * 3, (20, 60), *[(40, 40)] * 2)
    with (
        Loader(
            data, Pipeline((), ("flip",), (3, 32, 32)), 6, seed=0, train=train, cache=False, workers=workers
        ) as made,
        pytest.raises(FovealError, match=r"3\.jpg: the transforms leave an image of 60x20"),
    ):
        list(made.batches(0))


def test_without_shared_memory_the_batches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def stream() -> list[Batch]:
        with Loader(array(), pipeline, 4, seed=0, train=True, cache=False, workers=1) as made:
            return list(made.batches(0))

    pipeline = Pipeline(("pad(2)",), ("flip",), (1, 32, 32))
    expected = stream()
    monkeypatch.setattr(loader_module, "shared_memory", lambda: 1000)
    for ours, theirs in zip(stream(), expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_closing_ends_the_workers() -> None:
    made = Loader(array(), Pipeline(("pad(2)",), (), (1, 32, 32)), 4, seed=0, train=True, cache=False, workers=2)
    before = children(os.getpid())
    first = list(made.batches(0))
    kept = children(os.getpid()) - before
    list(made.batches(1))
    assert children(os.getpid()) - before == kept  # the workers live from epoch to epoch
    made.close()
    assert not children(os.getpid()) & kept
    again = list(made.batches(0))
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, again, strict=True))
    made.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), FovealError),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), FovealError),
        (ConnectionResetError(104, "Connection reset by peer"), FovealError),
        (EOFError(), FovealError),
        (RuntimeError("Caught RuntimeError in DataLoader worker process 0."), RuntimeError),
        (OSError("Caught OSError in DataLoader worker process 0."), OSError),
    ],
)
def test_a_worker_that_is_killed_is_told_from_one_that_fails(error: Exception, expected: type[Exception]) -> None:
    """torch reports a dead worker in several ways, by when it died."""

    def dead() -> Iterator[Batch]:
        raise error
        yield

    pipeline = Pipeline((), (), (1, 28, 28))
    stream = Stream(Samples(array(), pipeline, True), 1, True)
    stream._loader = dead()  # type: ignore[assignment]
    with pytest.raises(expected) as raised:
        next(stream.batches([torch.arange(4)], 0))
    assert type(raised.value) is expected
    if expected is FovealError:
        assert "ended from outside" in str(raised.value) and "lower workers=" in str(raised.value)


SCRIPT = """
import signal, sys, time, torch
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
from foveal.data.dataset import ArraySet
from foveal.data.loader import Loader
from foveal.data.pipeline import Pipeline
data = ArraySet(torch.zeros(4000, 1, 28, 28, dtype=torch.uint8), torch.arange(4000) % 2, ("a", "b"), "train")
made = Loader(data, Pipeline(("pad(2)",), (), (1, 32, 32)), 4, seed=0, train=True, cache=False, workers=2)
try:
    for number, batch in enumerate(made.batches(0)):
        if number == 3:
            print("ready", flush=True)
        time.sleep(0.05)
except KeyboardInterrupt:
    made.close()
    print("left", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_leaves_no_workers() -> None:
    """The terminal sends the signal to the whole process group; only the parent acts."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    workers = children(process.pid)
    assert len(workers) >= 2
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (output, errors, process.returncode) == ("left\n", "", 0)
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]


def children(pid: int) -> set[int]:
    """Processes whose parent is `pid`."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found
