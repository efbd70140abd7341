"""Windows move with their image: whatever happens to a box happens to a window that is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from foveal.data.boxset import BoxSet
from foveal.data.formats import voc
from foveal.data.loader import Loader
from foveal.data.open import open_data
from foveal.data.pipeline import Pipeline

STEPS = [
    ("flip",),
    ("v2.RandomVerticalFlip(p=1)",),
    ("v2.RandomHorizontalFlip(p=1)", "v2.RandomIoUCrop(min_scale=0.5)", "resize_exact(48, 64)"),
    ("zoom_out(2)", "resize_exact(48, 64)"),
    ("random_crop((48, 64))", "color_jitter(0.2, 0.2, 0.2)"),
]


class Boxes:
    """Finds the boxes of an image, in order, and the whole image behind them."""

    def __init__(self, images: BoxSet, pipeline: Pipeline) -> None:
        self.known = [(images.load(i), images.objects[i].boxes) for i in range(len(images))]
        self.pipeline = pipeline

    def __call__(self, image: Tensor) -> Tensor:
        whole = torch.tensor([[0.0, 0.0, image.shape[2], image.shape[1]]])
        for original, boxes in self.known:
            prepared = self.pipeline.prepare(original, train=True)
            if torch.equal(prepared, image):
                scale = torch.tensor((image.shape[2] / original.shape[2], image.shape[1] / original.shape[1]) * 2)
                return torch.cat((boxes * scale, whole))
        raise AssertionError("not an image of the set")


@pytest.mark.parametrize("augment", STEPS, ids=str)
@pytest.mark.parametrize("cache", [True, False])
def test_windows_go_where_boxes_go(tmp_path: Path, augment: tuple[str, ...], cache: bool) -> None:
    voc.example(tmp_path)
    images = open_data(tmp_path, "train", task="detect")
    assert isinstance(images, BoxSet)
    pipeline = Pipeline(("resize_exact(60, 80)",), augment, (3, 48, 64), 3)
    find = Boxes(images, pipeline)
    with Loader(images, pipeline, 2, seed=3, train=True, workers=0, cache=cache, propose=find) as loader:
        targets = [target for epoch in range(3) for batch in loader.batches(epoch) for target in batch.targets]
    seen = 0
    for target in targets:
        windows, boxes = target["proposals"], target["boxes"]
        assert type(windows) is Tensor and windows.dtype == torch.float32
        assert (windows >= 0).all() and (windows <= torch.tensor((64, 48) * 2)).all()
        far = (boxes[:, None] - windows).abs().amax(-1)  # [boxes, windows]
        assert (far.amin(1) < 1e-3).all()
        seen += len(boxes)
    assert seen
