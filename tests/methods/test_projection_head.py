"""Rows of a projected map equal the projected map, in value, gradient and running statistics."""

from __future__ import annotations

import copy

import pytest
import torch

from methods.blocks.heads import ProjectionHead


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("training", [True, False])
def test_rows_equal_the_whole_map(ndim: int, training: bool) -> None:
    torch.manual_seed(0)
    dense = ProjectionHead(6, 5, ndim=ndim).train(training)
    sparse = copy.deepcopy(dense)
    maps = [(3 + 2 * torch.randn(3, 6, *(4,) * ndim)).requires_grad_() for _ in range(2)]
    maps[1].data.copy_(maps[0].data)
    index = torch.randint(3 * 4**ndim, (2, 7))

    whole = dense(maps[0]).movedim(1, -1).flatten(0, -2)[index]
    read = sparse.rows(maps[1])[index]
    torch.testing.assert_close(read, whole, rtol=1e-5, atol=1e-5)

    target = torch.randn_like(whole)
    for value in (whole, read):
        (value * target).sum().backward()
    torch.testing.assert_close(maps[1].grad, maps[0].grad, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(sparse.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)
    for name in ("running_mean", "running_var"):
        kept = [getattr(head.layers[1], name) for head in (sparse, dense)]
        torch.testing.assert_close(*kept)


def test_a_constant_map_does_not_divide_by_zero() -> None:
    head = ProjectionHead(3, 4, ndim=2)
    vectors = head.rows(torch.ones(2, 3, 4, 4))[torch.arange(5)]
    assert vectors.isfinite().all()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
