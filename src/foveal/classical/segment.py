"""Segmentation by clustering pixels, without any learning: Ward's hierarchy, Gaussian mixture, mean shift.

Clusters are parts of an image, numbered from 0, and no classes: `name_segments` gives each part the class that most of
its pixels have, which is the best that any naming could reach. The clustering itself is scikit-learn's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import AgglomerativeClustering, MeanShift
from sklearn.feature_extraction.image import grid_to_graph
from sklearn.mixture import GaussianMixture
from torch import Tensor

from foveal.errors import FovealError
from foveal.types import IGNORED

Features = npt.NDArray[np.float32]


def ward(image: Tensor, segments: int = 50) -> Tensor:
    """Neighbouring parts merged, those first whose union varies least in colour: image uint8 [C, H, W] → int64 [H, W].

    J. Ward, «Hierarchical grouping to optimize an objective function», JASA 1963, on the grid of pixels, so that every
    segment is connected. Memory and time grow faster than the pixels: about ten seconds for 200x200. Raises FovealError
    for an image of another kind and for a number of segments that is not from 1 to the number of pixels.
    """
    pixels = _features(image, 0.0)
    _check(segments, len(pixels))
    height, width = image.shape[1:]
    grid = grid_to_graph(height, width)
    found = AgglomerativeClustering(n_clusters=segments, linkage="ward", connectivity=grid).fit_predict(pixels)
    return torch.from_numpy(found.astype(np.int64)).view(height, width)


def gaussian_mixture(image: Tensor, components: int = 8, *, position: float = 0.0, seed: int = 0) -> Tensor:
    """The likeliest of `components` Gaussians for each pixel: image uint8 [C, H, W] → int64 [H, W].

    Fitted by expectation maximisation to the colours in 0 … 1 and, with `position` above 0, to the places, where it is
    the weight of one image's longer side against the whole range of a colour. Raises FovealError as `ward`.
    """
    pixels = _features(image, position)
    _check(components, len(pixels))
    found = GaussianMixture(components, random_state=seed, reg_covar=1e-5).fit_predict(pixels)
    return torch.from_numpy(found.astype(np.int64)).view(image.shape[1:])


def mean_shift(image: Tensor, *, spatial: float = 16.0, colour: float = 24.0) -> Tensor:
    """The mode that each pixel climbs to: image uint8 [C, H, W] → int64 [H, W].

    D. Comaniciu, P. Meer, «Mean shift: a robust approach toward feature space analysis», PAMI 2002. spatial, colour:
    the radii of the flat kernel in pixels and in grey levels of 0 … 255. Climbs start from the cells of a grid that
    hold pixels. Raises FovealError for an image of another kind and for radii that are not positive.
    """
    if min(spatial, colour) <= 0:
        raise FovealError(f"radii of {spatial:g} pixels and {colour:g} grey levels", "give positive ones")
    pixels = _features(image, 0.0) * (255 / colour)
    height, width = image.shape[1:]
    rows, columns = np.mgrid[:height, :width].astype(np.float32) / spatial
    found = MeanShift(bandwidth=1.0, bin_seeding=True).fit_predict(
        np.column_stack((pixels, rows.ravel(), columns.ravel()))
    )
    return torch.from_numpy(found.astype(np.int64)).view(height, width)


def name_segments(segments: Tensor, mask: Tensor, num_classes: int) -> Tensor:
    """Each segment's commonest class: segments int64 [H, W], mask [H, W] of classes and 255 → uint8 [H, W].

    Pixels of 255 do not vote; a segment without voters gets 255. Raises FovealError where the sizes differ or a class
    is not below `num_classes`.
    """
    if segments.shape != mask.shape:
        raise FovealError(f"segments of {tuple(segments.shape)}, a mask of {tuple(mask.shape)}", "give equal sizes")
    voters = mask != IGNORED
    if bool(voters.any()) and int(mask[voters].max()) >= num_classes:
        raise FovealError(
            f"the mask has class {int(mask[voters].max())} of {num_classes}", "give the number of classes"
        )
    count = int(segments.max()) + 1
    votes = torch.zeros(count, num_classes, dtype=torch.long)
    votes.index_put_((segments[voters], mask[voters].long()), torch.tensor(1), accumulate=True)
    classes = torch.where(votes.sum(1) > 0, votes.argmax(1), IGNORED)
    return classes.to(torch.uint8)[segments]


def _features(image: Tensor, position: float) -> Features:
    """Colours in 0 … 1, and places if asked for: [H·W, C (+ 2)]."""
    if image.dtype != torch.uint8 or image.dim() != 3:
        raise FovealError(f"an image of {image.dtype}, {tuple(image.shape)}", "give uint8 [C, H, W]")
    channels, height, width = image.shape
    colours: Features = image.reshape(channels, -1).T.float().div(255).numpy()
    if position <= 0:
        return colours
    places = np.mgrid[:height, :width].reshape(2, -1).T * (position / max(height, width))
    both: Features = np.column_stack((colours, places)).astype(np.float32)
    return both


def _check(wanted: int, pixels: int) -> None:
    if not 1 <= wanted <= pixels:
        raise FovealError(f"{wanted} segments of {pixels} pixels", "give a number from 1 to that of the pixels")
