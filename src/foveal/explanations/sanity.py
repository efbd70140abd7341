"""Does an explanation depend on what the network has learnt? Its layers are destroyed one by one, from the top.

J. Adebayo, J. Gilmer, M. Muelly, I. Goodfellow, M. Hardt, B. Kim, «Sanity checks for saliency maps», NeurIPS 2018,
section 3 (cascading randomisation). Departure: a layer is destroyed by shuffling the values of its weights, which
keeps their distribution, and not by drawing them anew, for which every layer would need its own rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.explanations._common import Explanation, Progress, scores, single, targets
from foveal.explanations._draw import Spread, enlarged, heat, photograph, sheet
from foveal.graph.modes import evaluating

_SIDE = 112  # pixels of a picture on the sheet
_HIGH = 0.5  # rank correlation above which a map has hardly noticed
_MOST = 24  # stages that are compared; of more layers every so many


def sanity(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    of: str = "saliency",
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    mean: Spread = None,
    std: Spread = None,
    progress: Progress | None = None,
) -> Explanation:
    """An explanation's map on the trained network, and on copies whose last 1, 2, … all layers have shuffled weights.

    A map that stays alike is no explanation of the network: it shows the image. Arrays: correlations [L], Spearman's
    rank correlation of the absolute values with the map of the trained network, and maps [L + 1, H, W], the first the
    trained network's.

    Args:
        model: a network; the work is done on a copy.
        image: one image [C, H, W] as the network takes it.
        target: the class; by default the most probable one, also on the destroyed networks.
        of: the explanation, whose first array is compared: [H, W], [B, H, W] or [B, C, H, W] (summed over C).
        options: the method's own options.
        seed: of the shuffling.
        mean, std: how the image was normalised, for drawing it.
        progress: told (networks explained, all).

    Raises:
        FovealError: as the method; an unknown method or option, or one without such a map.
    """
    images = single(image, "sanity")
    explain = catalog.get("explanation", of)
    given = dict(options or {})
    catalog.check_options(explain, given)
    with evaluating(model), torch.no_grad():
        chosen = int(targets(scores(model, images), target)[0])
    copied = deepcopy(model).eval()
    weighted = [(path, layer) for path, layer in copied.named_modules() if list(layer.parameters(recurse=False))]
    if not weighted:
        raise FovealError("the network has no weights to shuffle", "explain one that learns")

    def mapped() -> Tensor:
        return _map(explain(copied, images, chosen, **given), of, tuple(images.shape[2:]))

    generator = torch.Generator().manual_seed(seed)
    step = -(-len(weighted) // _MOST)
    found, names = [mapped()], ["as trained"]
    weighted.reverse()
    for number, (path, layer) in enumerate(weighted):
        _shuffle(layer, generator)
        if (number + 1) % step == 0 or number + 1 == len(weighted):
            found.append(mapped())
            names.append(path or "the network")
        if progress is not None:
            progress(number + 1, len(weighted))
    correlations = torch.tensor([_spearman(found[0], map_) for map_ in found[1:]])
    return _result(images[0], found, (names, correlations), of, (mean, std))


def _shuffle(layer: nn.Module, generator: torch.Generator) -> None:
    """The layer's own weights, each tensor's values in a random order. In place: the layer is the copy's."""
    with torch.no_grad():
        for weight in layer.parameters(recurse=False):
            order = torch.randperm(weight.numel(), generator=generator)
            weight.copy_(weight.flatten()[order.to(weight.device)].view(weight.shape))


def _map(found: Any, method: str, size: tuple[int, ...]) -> Tensor:
    values = found.values if isinstance(found, Explanation) else found
    good = isinstance(values, Tensor) and values.ndim in (2, 3, 4) and tuple(values.shape[-2:]) == size
    if not good or (values.ndim > 2 and len(values) != 1):
        raise FovealError(f"{method} gives no map of the image", "check saliency, guided_backprop or grad_cam")
    flat = values.detach().cpu().float()
    flat = flat if flat.ndim == 2 else flat[0]
    return flat.abs().sum(0) if flat.ndim == 3 else flat.abs()


def _spearman(a: Tensor, b: Tensor) -> float:
    """The correlation of ranks, equal values sharing their mean rank; 0 where one of the maps is constant."""
    x, y = (_ranks(values) for values in (a, b))
    norm = float(x.norm() * y.norm())
    return float(x @ y) / norm if norm else 0.0


def _ranks(values: Tensor) -> Tensor:
    """Ranks around their mean, float64 [n]."""
    _, inverse, counts = torch.unique(values.flatten(), return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks: Tensor = (last - (counts - 1) / 2)[inverse]
    return ranks - ranks.mean()


def _result(
    image: Tensor,
    found: Sequence[Tensor],
    compared: tuple[Sequence[str], Tensor],
    method: str,
    spread: tuple[Spread, Spread],
) -> Explanation:
    names, correlations = compared
    tiles = [(enlarged(photograph(image, *spread), _SIDE), "image"), (enlarged(heat(found[0]), _SIDE), names[0])]
    for map_, name, value in zip(found[1:], names[1:], correlations.tolist(), strict=True):
        tiles.append((enlarged(heat(map_), _SIDE), f"{name} {value:+.2f}"))
    half, last = float(correlations[(len(correlations) - 1) // 2]), float(correlations[-1])
    if abs(last) > _HIGH:
        verdict = "does not depend on what was learnt"
    else:
        verdict = f"{'hardly ' if abs(half) > _HIGH else ''}depends on what the later layers have learnt"
    text = f"{method} {verdict}: rank correlation {half:+.2f} with their half shuffled, {last:+.2f} with all"
    return Explanation(
        {"correlations": correlations, "maps": torch.stack(list(found))}, {"sanity": sheet(tiles, 8)}, text
    )
