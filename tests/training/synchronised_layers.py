"""Run by torchrun in two processes: synchronised layers on halves of a batch = torch's layers on the whole."""

from __future__ import annotations

import copy

import torch
import torch.distributed as dist
from small_networks import small
from torch import nn

from foveal.layers.synchronised import synchronise


def main() -> None:
    """This process's part against the whole, which it computes by itself."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(5)
    reference = nn.Sequential(small()[0], nn.BatchNorm2d(8), nn.Dropout(0.4), nn.Dropout2d(0.4), nn.BatchNorm2d(8))
    images, above = torch.randn(6, 1, 5, 5), torch.randn(6, 8, 5, 5)
    mine = synchronise(copy.deepcopy(reference))
    assert mine.state_dict().keys() == reference.state_dict().keys()
    for layout in (torch.contiguous_format, torch.channels_last):
        reference.zero_grad()
        mine.zero_grad()
        whole = images.clone(memory_format=layout).requires_grad_()
        torch.manual_seed(9)
        expected = reference(whole)
        (expected * above).sum().backward()
        part = images[3 * rank : 3 * rank + 3].clone(memory_format=layout).requires_grad_()
        torch.manual_seed(9)
        found = mine(part)
        (found * above[3 * rank : 3 * rank + 3]).sum().backward()
        torch.testing.assert_close(found, expected[3 * rank : 3 * rank + 3])
        assert whole.grad is not None and part.grad is not None
        torch.testing.assert_close(part.grad, whole.grad[3 * rank : 3 * rank + 3], rtol=1e-4, atol=1e-5)
        for (name, p), q in zip(mine.named_parameters(), reference.parameters(), strict=True):
            assert p.grad is not None and q.grad is not None
            total = p.grad.clone()
            dist.all_reduce(total)
            torch.testing.assert_close(total, q.grad, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
        for name, value in mine.state_dict().items():
            torch.testing.assert_close(value, reference.state_dict()[name], msg=lambda m, n=name: f"{n}: {m}")
    mine.eval()
    reference.eval()
    torch.testing.assert_close(mine(images), reference(images))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
