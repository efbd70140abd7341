"""torchvision's published ImageNet weights, fetched when asked for and only then."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch

from foveal.errors import FovealError, unknown
from foveal.weights.files import Checkpoint, read_weights

_FAMILIES = re.compile(r"vgg\d+(_bn)?|googlenet|resnet\d+|densenet\d+")
_THEIRS = {"alexnet_owt": "alexnet"}  # all others have torchvision's names
_VERSION = "IMAGENET1K_V1"  # the plain training recipe, nearest to the papers'
_HALF = (0.5, 0.5, 0.5)  # mean and deviation of googlenet: torchvision's forward goes over to them from its preset's


@dataclass(frozen=True)
class Published:
    """Where published weights lie, and how images must be prepared for them (RGB in 0..1, then mean and std)."""

    name: str
    url: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int
    crop: int


def published(name: str) -> Published:
    """What torchvision publishes. Needs no network.

    There are vgg11 … vgg19, with batch normalisation vgg11_bn … vgg19_bn, googlenet, resnet18 … resnet152 and
    densenet121 … densenet201, and alexnet_owt, which they call alexnet. googlenet has batch normalisation,
    `googlenet(batch_norm=True, aux=True)`; resnet50 and deeper are of version 1.5.

    Raises FovealError for a network without published weights.
    """
    from torchvision import models  # slow to import, and only needed here

    names = [*_THEIRS, *(known for known in models.list_models(module=models) if _FAMILIES.fullmatch(known))]
    if name not in names:
        raise unknown("network with published ImageNet weights", name, names)
    weights = models.get_model_weights(_THEIRS.get(name, name))[_VERSION]
    preset = weights.transforms()
    mean, std = (_HALF, _HALF) if name == "googlenet" else (tuple(preset.mean), tuple(preset.std))
    return Published(name, weights.url, mean, std, preset.resize_size[0], preset.crop_size[0])


def check_preparation(name: str, mean: Sequence[float], std: Sequence[float], mean_image: bool = False) -> None:
    """FovealError unless images are normalised as the published weights of a network want it."""
    wanted = published(name)
    for given, right in ((mean, wanted.mean), (std, wanted.std)):
        full = tuple(given) * (len(right) if len(given) == 1 else 1)
        same = len(full) == len(right) and all(abs(a - b) < 1e-3 for a, b in zip(full, right, strict=True))
        if mean_image or not same:
            texts = (",".join(f"{value:g}" for value in part) for part in (wanted.mean, wanted.std))
            settings = "mean={} std={}".format(*texts) + (" mean_image=false" if mean_image else "")
            raise FovealError(
                f"the ImageNet weights of {name} want images normalised otherwise than this recipe does",
                f"add {settings}",
            )


def imagenet(name: str) -> Checkpoint:
    """The published weights of a network, for `load_weights(model, imagenet("resnet18"))`.

    The file is downloaded once to torch hub's cache (TORCH_HOME), checked against the hash in its name each time, and
    read like any foreign file. Raises FovealError without a network, naming the URL and where to put the file.
    """
    weights = published(name)
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    expected = file.stem.rpartition("-")[2]
    if not file.exists():
        _download(weights, file, expected)
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(expected):
        raise FovealError(
            f"{file} is damaged: its SHA-256 begins with {found[:8]}, not with {expected}",
            f"delete it, or fetch {weights.url}",
        )
    return read_weights(file)


def _download(weights: Published, file: Path, expected: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(weights.url, str(file), hash_prefix=expected)
    except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the hash is another
        raise FovealError(
            f"cannot download the ImageNet weights of {weights.name} from {weights.url}: {error}",
            f"fetch that file where there is a network and put it at {file}",
        ) from error
