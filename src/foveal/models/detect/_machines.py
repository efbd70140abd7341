"""What R-CNN fits to features that no longer change: a linear support vector machine and four regressors a class."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.svm import LinearSVC
from torch import Tensor

from foveal.errors import FovealError

Floats = NDArray[np.float32]

# As in the paper's code: cost of a mistake, what a positive one counts more, the constant feature of the bias
COST, _POSITIVE, _CONSTANT = 1e-3, 2.0, 10.0
_HARD, _EASY = -1.0001, -1.2  # negatives above are mistakes to learn from, those below are forgotten
_ENOUGH = 2000  # new negatives after which the machine is fitted again
_ITERATIONS = 10_000
_PENALTY, _MOST = 1000.0, 5_000  # λ of regressors (appendix C), and windows of a class that they learn from
NEVER = -20.0  # the bias of a class that no training image holds


class Machine:
    """The support vector machine of one class, from all its positives and those of many negatives that are hard.

    positives float32 [P, D]. Negatives are shown an image at a time (`show`), each once; kept are those that the
    machine of the moment does not put behind its margin, as in P. Felzenszwalb et al., «Object detection with
    discriminatively trained part-based models», PAMI 2010, section 4: others have no influence. `weight` [D], `bias`.
    """

    def __init__(self, positives: Tensor, cost: float = COST) -> None:
        self.cost = cost
        self.positives: Floats = positives.numpy().astype(np.float32)
        self.negatives: Floats = self.positives[:0]
        self.weight, self.bias = torch.zeros(positives.shape[1]), NEVER
        self._new = 0
        self._fitted = False

    def show(self, negatives: Tensor) -> None:
        """The negatives of an image, float32 [N, D]; the first ones are all hard."""
        if not len(self.positives):
            return
        rows: Floats = negatives.numpy()  # NumPy's product is exact where torch's may be taken in bfloat16
        hard = rows[self._margins(rows) > _HARD] if self._fitted else rows
        self.negatives = np.concatenate((self.negatives, hard))
        self._new += len(hard)
        if self._new > _ENOUGH or (self._new and not self._fitted):
            self.fit()

    def fit(self) -> None:
        """Fit to what is kept, if anything is new. FovealError for a class without a negative."""
        if not len(self.positives) or (self._fitted and not self._new):
            return
        if not len(self.negatives):
            raise FovealError("no window of the training images is background", "give more proposals: options.windows")
        examples = np.concatenate((self.positives, self.negatives))
        labels = np.arange(len(examples)) < len(self.positives)
        solver = LinearSVC(
            loss="hinge",
            dual=True,
            C=self.cost,
            class_weight={True: _POSITIVE},
            intercept_scaling=_CONSTANT,
            max_iter=_ITERATIONS,
            random_state=0,
        ).fit(examples, labels)
        self.weight, self.bias = torch.from_numpy(solver.coef_[0]).float(), float(solver.intercept_[0])
        self._fitted, self._new = True, 0
        self.negatives = self.negatives[self._margins(self.negatives) >= _EASY]

    def _margins(self, rows: Floats) -> Floats:
        margins: Floats = rows @ self.weight.numpy() + self.bias
        return margins


class Regressor:
    """The four regressors of one class, from the first 5,000 windows near its objects: features of `width` numbers."""

    def __init__(self, width: int) -> None:
        self.features, self.ways = [torch.zeros(0, width)], [torch.zeros(0, 4)]
        self._room = _MOST

    def show(self, features: Tensor, ways: Tensor) -> None:
        """Windows of an image, float32 [N, D], and the shifts to their objects, [N, 4]."""
        self.features.append(features[: self._room])
        self.ways.append(ways[: self._room])
        self._room -= len(self.ways[-1])

    def fit(self) -> Tensor:
        """float32 [D + 1, 4], the last row for the constant 1."""
        return ridge(torch.cat(self.features), torch.cat(self.ways), _PENALTY)


def ridge(features: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """The W [D + 1, T] of the least |[X 1] W - Y|² + penalty |W|², of features [N, D] and targets [N, T], whose mean is
    taken out before and added to the last row, the bias, behind: R-CNN's appendix C, equation 5, and its code. Zeros
    without an example.

    Solved in float64 for as many unknowns as there are examples or features, whichever is less.
    """
    if not len(features):
        return targets.new_zeros(features.shape[1] + 1, targets.shape[1])
    x = torch.cat((features, torch.ones_like(features[:, :1])), 1).double()
    mean = targets.double().mean(0)
    y = targets.double() - mean
    few = len(x) < x.shape[1]
    matrix = x @ x.T if few else x.T @ x
    matrix += penalty * torch.eye(len(matrix), dtype=matrix.dtype)
    solved = torch.linalg.solve(matrix, y if few else x.T @ y)
    result: Tensor = x.T @ solved if few else solved
    result[-1] += mean
    return result.float()
