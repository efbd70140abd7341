"""The loader's promise: order and pixels are functions of (seed, epoch, index), shown by hashes of the stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.data.dataset import ArraySet, FileSet, ImageSet
from foveal.data.loader import Loader
from foveal.data.pipeline import Pipeline
from foveal.types import Batch

COUNT, BATCH, SEED = 53, 8, 11
AUGMENT = (
    "scale_jitter(26, 34)",
    "random_crop(24)",
    "affine(10, 0.1, 0.1, 5)",
    "pad_crop(3)",
    "flip",
    "v2.ColorJitter(hue=0.2)",
    "pca_colour(0.2)",
    "color_jitter(0.3, 0.3, 0.3)",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FileSet:
    """JPEG and PNG files of several sizes, some grey."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.RandomState(0)
    paths: list[Path] = []
    for i in range(COUNT):
        size, channels = (random.randint(40, 70), random.randint(40, 70)), () if i % 5 == 0 else (3,)
        path = folder / f"{i}.{'jpg' if i % 2 else 'png'}"
        small = random.randint(0, 256, (6, 6, *channels), dtype=np.uint8)
        Image.fromarray(small).resize(size).save(path)
        paths.append(path)
    return FileSet(paths, torch.arange(COUNT) % 3, ("a", "b", "c"), "train")


@pytest.fixture(scope="module")
def array() -> ArraySet:
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (COUNT, 1, 28, 28), dtype=torch.uint8, generator=g)
    return ArraySet(images, torch.arange(COUNT) % 3, ("a", "b", "c"), "train")


def loader(dataset: ImageSet, *, prepare: tuple[str, ...] = ("resize_exact(30, 36)",), **options: object) -> Loader:
    pipeline = Pipeline(prepare, AUGMENT, (3, 24, 24), seed=SEED)
    return Loader(dataset, pipeline, BATCH, **{"seed": SEED, "train": True, **options})  # type: ignore[arg-type]


def hashes(batches: Iterable[Batch]) -> list[str]:
    """One hash a sample: its index, its label, its pixels."""
    return [
        hashlib.sha256(f"{int(i)} {int(target)}".encode() + image.numpy().tobytes()).hexdigest()
        for batch in batches
        for image, target, i in zip(*batch, strict=True)
    ]


def epochs(made: Loader) -> list[str]:
    with made:
        return [value for epoch in (0, 1, 5) for value in hashes(made.batches(epoch))]


@pytest.mark.parametrize(("kind", "train"), [("files", True), ("files", False), ("array", True)])
def test_workers_and_memory_change_nothing(kind: str, train: bool, request: pytest.FixtureRequest) -> None:
    dataset: ImageSet = request.getfixturevalue(kind)
    expected = epochs(loader(dataset, train=train, cache=False, workers=0))
    assert len(expected) == 3 * (COUNT // BATCH * BATCH if train else COUNT)
    for workers in (1, 4):
        assert epochs(loader(dataset, train=train, cache=False, workers=workers)) == expected
    resident = loader(dataset, train=train, cache=True)
    assert resident.cached
    assert epochs(resident) == expected


def test_images_of_several_sizes_too(files: FileSet) -> None:
    expected = epochs(loader(files, prepare=(), cache=False, workers=0))
    streamed = loader(files, prepare=(), workers=2)
    assert not streamed.cached  # by itself: the sizes differ
    assert epochs(streamed) == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(files: FileSet, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert epochs(loader(files, cache=True)) == epochs(loader(files, cache=False, workers=1))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("train", [True, False])
def test_ranks_cut_each_batch_into_contiguous_parts(array: ArraySet, train: bool, world: int) -> None:
    whole = [hashes([batch]) for batch in loader(array, train=train).batches(3)]
    ranks = [
        [hashes([batch]) for batch in loader(array, train=train, rank=rank, world=world).batches(3)]
        for rank in range(world)
    ]
    for number, batch in enumerate(whole):
        parts = [rank[number] for rank in ranks if number < len(rank)]
        assert [value for part in parts for value in part] == batch
        if train:
            assert [len(part) for part in parts] == [BATCH // world] * world
    assert sum(map(len, ranks)) >= len(whole)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("start", [0, 1, 4, 6])
def test_a_resumed_epoch_is_the_rest_of_it(array: ArraySet, workers: int, start: int) -> None:
    whole = list(loader(array).batches(2))
    assert len(whole) == 6
    with loader(array, workers=workers, cache=False) as resumed:
        for batch in resumed.batches(0):
            assert len(batch.images) == BATCH
            break  # an epoch left in the middle does not leak into the next
        assert hashes(resumed.batches(2, start)) == hashes(whole[start:])


def test_every_sample_once(array: ArraySet) -> None:
    order = torch.cat([batch.indices for batch in loader(array).batches(0)])
    assert len(order) == 48 == len(set(order.tolist()))
    again = torch.cat([batch.indices for batch in loader(array).batches(1)])
    assert not torch.equal(order, again)
    left_out = torch.cat([batch.indices for batch in loader(array, drop_last=False).batches(0)])
    assert torch.equal(left_out[:48], order) and torch.equal(left_out.sort().values, torch.arange(COUNT))
    seen = torch.cat([batch.indices for batch in loader(array, train=False).batches(0)])
    assert torch.equal(seen, torch.arange(COUNT))
    few = array.select(range(5))
    (batch,) = loader(few).batches(0)
    assert torch.equal(batch.indices.sort().values, torch.arange(5)) and loader(few).per_epoch == 1


def test_the_stream_does_not_touch_torchs_rng(array: ArraySet) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    for options in ({"cache": True}, {"cache": False, "workers": 2}):
        torch.manual_seed(4)
        epochs(loader(array, **options))
        assert torch.equal(torch.rand(3), expected)
