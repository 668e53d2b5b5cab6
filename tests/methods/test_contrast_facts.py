"""What is told about contrastive terms and embeddings."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from methods.blocks.contrast import Pairs, Samples, contrasted
from methods.blocks.contrast_facts import mean_similarities, uniformity


def test_mean_similarities_by_hand() -> None:
    # Class 0 holds e1 and e2, class 1 holds e1: means (e1 + e2)/2 and e1.
    vectors = torch.stack([torch.eye(4)[[0, 1]], torch.eye(4)[[0, 3]]])
    samples = Samples(vectors, torch.tensor([[True, True], [True, False]]))
    positive, negative = mean_similarities(samples)
    assert positive.item() == pytest.approx((0.5 + 1) / 2)
    assert negative.item() == pytest.approx(0.5)


def test_uniformity_by_hand() -> None:
    # e1, e2 and -e1: squared distances 2, 2 and 4; the empty slot does not count.
    e = torch.eye(3)
    vectors = torch.stack([torch.stack([e[0], e[1]]), torch.stack([-e[0], e[0]])])
    samples = Samples(vectors, torch.tensor([[True, True], [True, False]]))
    expected = math.log((2 * math.exp(-4) + math.exp(-8)) / 3)
    assert uniformity(samples).item() == pytest.approx(expected, rel=1e-5)


def test_uniformity_is_the_published_one() -> None:
    """`torch.pdist(x, p=2).pow(2).mul(-t).exp().mean().log()`, t = 2, in the authors' README."""
    torch.manual_seed(0)
    x = F.normalize(torch.randn(12, 5), dim=1)
    samples = Samples(x.view(3, 4, 5), torch.ones(3, 4, dtype=torch.bool))
    expected = torch.pdist(x, p=2).pow(2).mul(-2).exp().mean().log()
    torch.testing.assert_close(uniformity(samples), expected)


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_pair_it_is_zero(count: int) -> None:
    valid = torch.arange(4).view(2, 2) < count
    assert uniformity(Samples(torch.randn(2, 2, 3), valid)).item() == 0


def test_an_anchor_counts_only_with_a_positive_and_a_negative() -> None:
    """Class 0 has two anchors; class 1 has one, whose only positive is itself."""
    keys = Samples(torch.eye(3)[:, None].repeat(1, 2, 1), torch.ones(3, 2, dtype=torch.bool))
    keys.valid[1, 1] = keys.valid[2] = False
    of_class_0 = keys.valid & torch.tensor([[True], [False], [False]])
    negatives = Samples(keys.vectors, of_class_0)
    found = contrasted(Pairs(keys, keys, negatives, skip_self=True), temperature=1.0)
    assert (found.loss.item(), found.anchors.item(), found.classes.item()) == (0, 0, 0)
    assert found.skipped.item() == 1
    found = contrasted(Pairs(keys, keys, keys, skip_self=True), temperature=1.0)
    # Class 0 has positives at 1 and one negative at 0; the anchor of class 1 still has no positive.
    assert found.loss.item() == pytest.approx(math.log(1 + 1 / math.e), rel=1e-5)
    assert (found.anchors.item(), found.classes.item()) == (2, 1)
    assert found.skipped.item() == pytest.approx(1 / 3)
    found = contrasted(Pairs(keys, keys, keys), temperature=1.0)
    assert (found.anchors.item(), found.classes.item(), found.skipped.item()) == (3, 2, 0)
