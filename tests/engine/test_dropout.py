"""The suite's dropout against its definition and PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from benchmarks.engine.nets.dropout import Dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_dropped_or_scaled(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 5, 67, 101).to(dtype).add(1).to(memory_format=torch.channels_last)
    y = Dropout(p)(x)
    assert y.dtype == dtype and y.stride() == x.stride()
    kept = y != 0
    # p is rounded to 16 bits.
    rtol = 2e-5 if dtype == torch.float32 else 0.016
    torch.testing.assert_close(y[kept], x[kept] / (1 - p), rtol=rtol, atol=0)
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert (~kept).float().mean().item() == pytest.approx(p, abs=5 * deviation)
    neighbours = (~kept).float().flatten()
    together = (neighbours[1:] * neighbours[:-1]).mean().item()
    assert together == pytest.approx(p * p, abs=0.01), "values of one random number are independent"


def test_the_gradient_passes_where_the_value_did() -> None:
    x = torch.ones(2, 3, 8, 9, requires_grad=True)
    y = Dropout(0.3)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y.detach()), "of ones, value and derivative are the same"
    dense = torch.rand(4, 6, dtype=torch.float64, requires_grad=True)

    def drop(values: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        out: torch.Tensor = Dropout(0.3)(values)
        return out

    assert torch.autograd.gradcheck(drop, dense.T)


def test_same_seed_same_mask_and_none_in_evaluation() -> None:
    x, layer = torch.ones(1000), Dropout(0.4)
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(layer(x))
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends_are_those_of_pytorch(p: float) -> None:
    x = torch.ones(100)
    assert torch.equal(Dropout(p)(x), F.dropout(x, p))
