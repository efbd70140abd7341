"""Which classes are there: the losses by the letter, and the sets they are learned from."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from foveal.data.formats import voc as voc_format
from foveal.data.loader import Loader
from foveal.data.open import open_data
from foveal.data.pipeline import Pipeline
from foveal.data.tagset import TagSet
from foveal.errors import FovealError
from foveal.metrics.presence import mean_precision, presence_precisions
from foveal.recipes import resolve
from foveal.tasks import tag
from foveal.types import IGNORED

TAGS = torch.tensor([[1, 0, 255], [0, 0, 1], [1, 255, 0], [0, 0, 0]], dtype=torch.uint8)
SCORES = torch.tensor([[0.3, -2.0, 9.0], [0.9, 0.5, 0.1], [2.0, 7.0, -0.4], [-1.5, 0.2, 1.3]])


class Fixed(nn.Module):
    """Gives scores that it was told."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, images: Tensor) -> Tensor:
        return self.scores


def by_hand(name: str) -> float:
    total = 0.0
    for c in range(3):
        counted = [n for n in range(4) if TAGS[n, c] != IGNORED]
        s = {n: float(SCORES[n, c]) for n in counted}
        y = {n: 1 if TAGS[n, c] == 1 else -1 for n in counted}
        if name == "ranking":
            pairs = [max(0, 1 - s[p] + s[q]) for p in counted for q in counted if y[p] > 0 > y[q]]
            total += sum(pairs) / len(pairs) if pairs else 0
        elif name == "hinge":
            total += sum(max(0, 1 - y[n] * s[n]) for n in counted) / len(counted)
        else:
            total += sum(math.log(1 + math.exp(-y[n] * s[n])) for n in counted) / len(counted)
    return total


@pytest.mark.parametrize("name", ["logistic", "hinge", "ranking"])
def test_the_losses_are_what_they_say(name: tag.Loss) -> None:
    terms = tag.losses(Fixed(SCORES), torch.zeros(4, 3, 2, 2), TAGS, loss=name)
    assert terms.keys() == {name}
    assert float(terms[name]) == pytest.approx(by_hand(name), rel=1e-5)


def test_a_network_with_an_objective_of_its_own_is_refused() -> None:
    network = Fixed(SCORES)
    network.losses = lambda images, targets: {}  # type: ignore[assignment]
    with pytest.raises(FovealError, match="objective of its own"):
        tag.losses(network, torch.zeros(4, 3, 2, 2), TAGS)


def test_average_precision_passes_over_what_does_not_count() -> None:
    each = presence_precisions(SCORES, TAGS, "area")
    for c in (0, 2):
        counted = TAGS[:, c] != IGNORED
        wanted = average_precision_score((TAGS[counted, c] == 1).numpy(), SCORES[counted, c].numpy())
        assert float(each[c]) == pytest.approx(100 * wanted)
    assert each[1].isnan()  # no image has it
    assert mean_precision(each) == pytest.approx(float(each[[0, 2]].mean()))
    # class 0 ranks yes, no, yes, no: precision 1 to recall 0.5, that is at six of eleven points, and 2/3 at the rest
    assert float(presence_precisions(SCORES, TAGS)[0]) == pytest.approx(100 * (6 + 5 * 2 / 3) / 11)
    with pytest.raises(FovealError, match="11_point"):
        presence_precisions(SCORES, TAGS, "11-point")
    with pytest.raises(FovealError, match="any of the classes"):
        mean_precision(each[[1]])


def test_a_class_whose_objects_are_all_difficult_does_not_count(tmp_path: Path) -> None:
    voc_format.example(tmp_path)
    boxes = open_data(tmp_path, "train", task="detect")
    names = [Path(boxes.name(i)).stem for i in range(3)]
    file = tmp_path / "Annotations" / f"{names[0]}.xml"
    first = open_data(tmp_path, "train", task="tag")
    file.write_text(file.read_text().replace("<difficult>0<", "<difficult>1<"))
    hard = open_data(tmp_path, "train", task="tag")
    assert isinstance(first, TagSet) and isinstance(hard, TagSet)
    assert first.classes == ("corner", "flower", "roof")
    assert first.labels[:2].tolist() == [[IGNORED, 0, 1], [0, 1, 0]]  # the first one's corner is difficult
    assert hard.labels[0].tolist() == [IGNORED, 0, IGNORED]
    assert torch.equal(hard.labels[1:], first.labels[1:])
    for row, found in zip(first.labels, boxes.objects, strict=True):  # type: ignore[attr-defined]
        assert set(found.labels.tolist()) == set(row.nonzero().flatten().tolist())
    assert first.signature() != hard.signature()


def test_batches_hold_a_row_of_tags_an_image(tmp_path: Path) -> None:
    voc_format.example(tmp_path)
    images = open_data(tmp_path, "train", task="tag")
    recipe = resolve("resnet18", task="tag", input=(3, 32, 32))
    assert (recipe.task, recipe.loss, recipe.label_smoothing) == ("tag", "logistic", 0.0)
    pipeline = Pipeline(recipe.prepare, recipe.augment, recipe.input, 0, recipe.test)
    with Loader(images, pipeline, 4, seed=0, train=True, workers=0) as loader:
        batch = next(iter(loader.batches(0)))
    assert batch.images.shape == (4, 3, 32, 32) and batch.targets.dtype == torch.uint8
    assert torch.equal(batch.targets, images.labels[batch.indices])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hinge"}, "loss=hinge is about tags"),
        ({"task": "tag", "loss": "squared"}, "unknown loss 'squared'"),
        ({"task": "tag", "label_smoothing": 0.1}, "one class an image"),
        ({"task": "tag", "classes": ("a", "b")}, "of a recipe to tag"),
    ],
)
def test_mistakes_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        resolve("resnet18", **settings)


def test_images_with_a_class_each_hold_no_tags() -> None:
    with pytest.raises(FovealError, match="holds classes of images, and tags are wanted"):
        open_data("digits", task="tag")
