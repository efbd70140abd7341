"""A network over a sequence: handwritten digits on an endless strip of paper, read column by column.

The strip is a signal of eight numbers (the rows) per step (the column). A one-dimensional classifier of twelve columns
learns at every position of a piece of strip at once (`Slider`), and reads another strip of digits that it has never
seen (`foveal.dense`). Run it: python examples/sequence_1d.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import foveal
from foveal.graph import receptive_field
from foveal.graph.slide import Slider

PATCH = 12  # columns: a digit and two on either side
PIECE = 4000  # positions that one update learns from
BLANK, UNCLEAR = 10, -100  # no digit begins here; one column off, where no answer is asked for


def written(split: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A strip [8, L] in 0…1 with all digits of a split in random order and spacing; their columns; their classes."""
    digits = foveal.open_data("digits", split)
    chance = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits), generator=chance)
    gaps = torch.randint(1, 6, (len(order),), generator=chance)
    starts = PATCH + (8 + gaps).cumsum(0) - 8
    strip = torch.zeros(8, int(starts[-1]) + 8 + PATCH)
    for start, index in zip(starts.tolist(), order.tolist(), strict=True):
        strip[:, start : start + 8] = digits[index][0][0] / 255  # uint8 [1, 8, 8]
    return strip, starts, digits.labels[order]


def trained(strip: Tensor, starts: Tensor, labels: Tensor, updates: int = 300) -> nn.Module:
    """A classifier of [8, 12] into ten digits and «none begins here»."""
    torch.manual_seed(0)
    net = foveal.build("3-1Conv24 (ReLU) → 3-1Conv32 (ReLU) → 2-2MaxPool → FC64 (ReLU) → FC11", input=(8, PATCH))
    wanted = torch.full((strip.shape[1] - PATCH + 1,), BLANK)  # by the first column of the patch
    wanted[torch.cat((starts - 3, starts - 1))] = UNCLEAR
    wanted[starts - 2] = labels
    rare = torch.ones(11).index_fill(0, torch.tensor(BLANK), 0.3)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    slider = Slider(net, input=(8, PATCH))
    for _ in range(updates):
        at = int(torch.randint(len(wanted) - PIECE, (1,)))
        scores = slider(strip[None, :, at : at + PIECE + PATCH - 1])  # [1, 11, PIECE]
        F.cross_entropy(scores, wanted[None, at : at + PIECE], weight=rare, ignore_index=UNCLEAR).backward()
        optimizer.step()
        optimizer.zero_grad()
    return net


def read(net: nn.Module, strip: Tensor) -> list[tuple[int, int]]:
    """Column and class of every digit: of neighbouring columns with an answer the surest one."""
    chances = foveal.dense(net, strip, input=(8, PATCH)).softmax(0)  # [11, L], at the patch's middle column
    sure, answer = chances[:BLANK].max(0)
    found: list[tuple[int, int]] = []
    for column in (sure > chances[BLANK]).nonzero().flatten().tolist():
        start = column - PATCH // 2 + 2
        if found and start - found[-1][0] < 5:
            if sure[column] <= sure[found[-1][0] + PATCH // 2 - 2]:
                continue
            found.pop()
        found.append((start, int(answer[column])))
    return found


def main() -> float:
    """Train, read, and say how many digits were read rightly."""
    net = trained(*written("train", seed=0))
    strip, starts, labels = written("test", seed=1)
    found = dict(read(net, strip))
    right = sum(
        label in (found.get(start + off) for off in (-1, 0, 1))
        for start, label in zip(starts.tolist(), labels.tolist(), strict=True)
    )
    field = receptive_field(net, (8, PATCH))
    print(
        f"a strip of {strip.shape[1]:,} columns with {len(starts)} digits; pool2 sees {field['pool2'].size[0]} columns"
    )
    print(f"read: {' '.join(str(label) for _, label in sorted(found.items())[:30])} …")
    print(f"true: {' '.join(map(str, labels[:30].tolist()))} …")
    print(f"{right} of {len(starts)} digits found and named ({right / len(starts):.1%}), {len(found)} answers")
    return right / len(starts)


if __name__ == "__main__":
    main()
