"""The fully connected conditional random field, and its mean field as a layer that learns.

P. Krähenbühl, V. Koltun, «Efficient inference in fully connected CRFs with Gaussian edge potentials», NIPS 2011; S.
Zheng et al., «Conditional random fields as recurrent neural networks», ICCV 2015, sections 4 and 5.

Every pixel is joined to every other. A pair pays μ(l, l') w k(f_i, f_j) for its labels l and l', the more the nearer
the two are (spatial kernel) or the nearer and the more alike in colour (bilateral kernel). Mean field repeats: blur the
marginals with both kernels, weight, mix labels by μ, subtract from the scores, take the softmax. Blurring is done on
the permutohedral lattice (`layers.permutohedral`), which is built once an image.

As in the authors' code, a kernel is normalised symmetrically, D^-1/2 K D^-1/2 with D the sums of its rows, and a pixel
counts among its own neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from foveal.layers.permutohedral import Lattice

Filter = Callable[[Tensor], Tensor]  # values [P, C] → [P, C], linear
_LARGEST_EXACT = 20_000  # pixels; the matrix of a kernel has their square


class DenseCRF(nn.Module):
    """Mean field of a fully connected CRF: scores [N, C, H, W], images [N, D, H, W] → scores [N, C, H, W].

    The softmax over dim 1 of what comes in are the marginals without neighbours, of what goes out those with them.
    iterations: 10 for post-processing; CRF-RNN trains with 5. spatial, position: the deviations in pixels of the two
    kernels' positions. colour: that of the bilateral kernel's colours, in grey levels of 0 … 255. `levels` says how
    many of these one unit of each channel of the images is: 1 for pixels as they are, 255 · deviation for normalised
    ones (a mean does not matter). exact: sums over all pairs in place of the lattice, for small images (the lattice is
    an approximation: it blurs with a piecewise linear spline).

    Parameters, differentiable as the scores are: weight_spatial and weight_bilateral [C], and compatibility μ [C, C],
    1 for two labels and 0 for one (Potts) to begin with. The images get no gradient. Raises ValueError for numbers that
    are not positive, and, if exact, for images of more than 20,000 pixels.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        iterations: int = 10,
        spatial: float = 3.0,
        position: float = 80.0,
        colour: float = 13.0,
        weight_spatial: float = 3.0,
        weight_bilateral: float = 10.0,
        levels: tuple[float, ...] | float = 1.0,
        exact: bool = False,
    ) -> None:
        super().__init__()
        if iterations < 1 or min(spatial, position, colour) <= 0:
            raise ValueError(f"DenseCRF of {iterations} iterations, deviations {spatial}, {position}, {colour}")
        self.iterations, self.spatial, self.position, self.colour = iterations, spatial, position, colour
        self.exact = exact
        self.weight_spatial = nn.Parameter(torch.full((num_classes,), float(weight_spatial)))
        self.weight_bilateral = nn.Parameter(torch.full((num_classes,), float(weight_bilateral)))
        self.compatibility = nn.Parameter(1 - torch.eye(num_classes))
        self.levels: Tensor
        self.register_buffer("levels", torch.as_tensor(levels, dtype=torch.get_default_dtype()).reshape(-1, 1, 1))

    def forward(self, scores: Tensor, images: Tensor) -> Tensor:
        device = "cpu" if scores.is_meta else scores.device.type  # there is no autocast on meta
        with torch.autocast(device, enabled=False):
            given = scores if scores.dtype == torch.float64 else scores.float()
            near = self._kernel(_places(given) / self.spatial)
            refined = [self._image(one, image, near) for one, image in zip(given, images, strict=True)]
        return torch.stack(refined)

    def _image(self, scores: Tensor, image: Tensor, near: Filter) -> Tensor:
        """scores [C, H, W], image [D, H, W] → [C, H, W]."""
        colours = (image.detach().to(scores.dtype) * self.levels.to(scores.dtype) / self.colour).flatten(1).T
        places = _places(scores) / self.position
        alike = self._kernel(torch.cat((places, colours), 1))
        unary = scores.flatten(1).T.contiguous()  # [H·W, C]
        # Weighting and mixing labels, both linear, are one matrix for each kernel.
        mix_near = (self.compatibility * self.weight_spatial).T.to(unary)
        mix_alike = (self.compatibility * self.weight_bilateral).T.to(unary)
        refined = unary
        for _ in range(self.iterations):
            marginals = refined.softmax(1)
            refined = torch.addmm(unary, near(marginals), mix_near, alpha=-1)
            refined.addmm_(alike(marginals), mix_alike, alpha=-1)
        return refined.T.reshape(scores.shape)

    def _kernel(self, features: Tensor) -> Filter:
        """The normalised kernel of features [P, d] in deviations."""
        return _pairs(features) if self.exact else Lattice(features).normalise().filter

    def extra_repr(self) -> str:
        sizes = f"spatial={self.spatial}, position={self.position}, colour={self.colour}"
        return f"iterations={self.iterations}, {sizes}" + (", exact" if self.exact else "")


def _places(scores: Tensor) -> Tensor:
    """The pixels' coordinates x, y, row by row: [H·W, 2]. The lattice is not alike in all axes: their order counts."""
    rows, columns = (torch.arange(n, dtype=scores.dtype, device=scores.device) for n in scores.shape[-2:])
    return torch.cartesian_prod(rows, columns).flip(1)


def _pairs(features: Tensor) -> Filter:
    """The normalised kernel as a matrix."""
    if len(features) > _LARGEST_EXACT:
        raise ValueError(f"{len(features)} pixels are too many for exact=True: {_LARGEST_EXACT} at most")
    with torch.no_grad():
        kernel = (
            torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist").square_().mul_(-0.5).exp_()
        )
        norm = kernel.sum(1).rsqrt()
        kernel = norm[:, None] * kernel * norm
    return lambda values: kernel @ values
