"""The pair loss against closed forms, a double loop and public code."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.contrast import Samples
from tests.methods.pairs import pair_loss

EMPTY = Samples(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool))


def random_samples(
    classes: int,
    slots: int,
    *,
    dim: int = 6,
    filled: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Samples:
    """Unit vectors; a share `filled` of the slots is valid, empty slots hold vectors too."""
    vectors = F.normalize(torch.randn(classes, slots, dim, dtype=dtype), dim=2)
    return Samples(vectors, torch.rand(classes, slots) < filled)


def orthogonal(slots: int) -> Samples:
    """Two classes, every sample of class k is the k-th unit vector."""
    return Samples(
        torch.eye(2, 4)[:, None].repeat(1, slots, 1), torch.ones(2, slots, dtype=torch.bool)
    )


def double_loop(
    anchors: Samples, positives: Samples, negatives: Samples, *, temperature: float, skip_self: bool
) -> float:
    """The definition, pair by pair, in double precision."""
    per_class = []
    for c in range(len(anchors.valid)):
        of_anchor = []
        for i in range(anchors.valid.shape[1]):
            a = anchors.vectors[c, i].double()
            near = [
                float(a @ positives.vectors[c, k].double()) / temperature
                for k in range(positives.valid.shape[1])
                if positives.valid[c, k] and not (skip_self and k == i)
            ]
            far = [
                float(a @ negatives.vectors[e, k].double()) / temperature
                for e, k in product(*map(range, negatives.valid.shape))
                if e != c and negatives.valid[e, k]
            ]
            if anchors.valid[c, i] and near and far:
                rest = sum(math.exp(s) for s in far)
                of_anchor.append(sum(math.log(math.exp(s) + rest) - s for s in near) / len(near))
        if of_anchor:
            per_class.append(sum(of_anchor) / len(of_anchor))
    return sum(per_class) / len(per_class) if per_class else 0.0


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (1.0, 0.7436684),  # ln(1 + 3/e)
        (0.5, 0.3407530),  # ln(1 + 3/e^2)
        (0.1, 0.000136191),  # ln(1 + 3/e^10)
    ],
)
@pytest.mark.parametrize("skip_self", [True, False])
def test_orthogonal_classes_by_hand(temperature: float, expected: float, skip_self: bool) -> None:
    # Positives have similarity 1, the three negatives 0: ln(e^(1/t) + 3) - 1/t.
    s = orthogonal(3)
    loss = pair_loss(s, s, s, temperature=temperature, skip_self=skip_self)
    assert loss.shape == () and loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_identical_vectors_by_hand() -> None:
    # All similarities equal: ln(1 + number of negatives), here 2 other classes of 5.
    s = Samples(torch.eye(1, 4).expand(3, 5, 4), torch.ones(3, 5, dtype=torch.bool))
    loss = pair_loss(s, s, s, temperature=0.1, skip_self=True)
    assert loss.item() == pytest.approx(math.log(11), rel=1e-6)


def test_classes_weigh_equally_by_hand() -> None:
    # Class 0 has 1 anchor and 1 negative: ln(1 + 1/e) = .3132617.
    # Class 1 has 3 anchors... its 4 slots see 2 negatives: ln(1 + 2/e) = .5515447. Mean of the two.
    anchors = orthogonal(4)
    anchors.valid[0, 1:] = False
    negatives = orthogonal(2)
    negatives.valid[1, 1] = False
    loss = pair_loss(anchors, orthogonal(3), negatives, temperature=1.0)
    assert loss.item() == pytest.approx((0.3132617 + 0.5514447) / 2, abs=1e-6)


@pytest.mark.parametrize("filled", [1.0, 0.6, 0.2])
@pytest.mark.parametrize("skip_self", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_equals_double_loop(classes: int, skip_self: bool, filled: float) -> None:
    torch.manual_seed(classes)
    for _ in range(5):
        positives = random_samples(classes, 7, filled=filled)
        anchors = positives.first(4) if skip_self else random_samples(classes, 5, filled=filled)
        negatives = random_samples(classes, 6, filled=filled)
        loss = pair_loss(anchors, positives, negatives, temperature=0.2, skip_self=skip_self)
        expected = double_loop(anchors, positives, negatives, temperature=0.2, skip_self=skip_self)
        assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_order_of_anchors_is_irrelevant() -> None:
    torch.manual_seed(0)
    anchors, keys = random_samples(3, 8, filled=0.7), random_samples(3, 9, filled=0.7)
    order = torch.randperm(8)
    shuffled = Samples(anchors.vectors[:, order], anchors.valid[:, order])
    torch.testing.assert_close(
        pair_loss(anchors, keys, keys, temperature=0.1),
        pair_loss(shuffled, keys, keys, temperature=0.1),
    )


def test_content_of_empty_slots_is_irrelevant() -> None:
    torch.manual_seed(0)
    keys = random_samples(3, 9, filled=0.6)
    other = torch.where(keys.valid[..., None], keys.vectors, 100 * torch.randn(3, 9, 6))
    changed = Samples(other, keys.valid)
    torch.testing.assert_close(
        pair_loss(keys, keys, keys, temperature=0.1, skip_self=True),
        pair_loss(changed, changed, changed, temperature=0.1, skip_self=True),
    )


@pytest.mark.parametrize("skip_self", [True, False])
def test_gradient_by_finite_differences(skip_self: bool) -> None:
    torch.manual_seed(1)
    positives = random_samples(2, 5, dim=3, filled=0.8, dtype=torch.float64)
    negatives = random_samples(2, 4, dim=3, filled=0.8, dtype=torch.float64)

    def loss(p: Tensor, n: Tensor) -> Tensor:
        keys = Samples(p, positives.valid)
        return pair_loss(
            keys.first(3), keys, Samples(n, negatives.valid), temperature=0.5, skip_self=skip_self
        )

    inputs = (positives.vectors.requires_grad_(), negatives.vectors.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)


def one_class_only() -> tuple[Samples, Samples]:
    s = orthogonal(3)
    s.valid[1] = False
    return s, s


def no_positive() -> tuple[Samples, Samples]:
    # A single sample per class: its only positive would be itself.
    s = orthogonal(1)
    return s, s


def no_negative() -> tuple[Samples, Samples]:
    negatives = orthogonal(3)
    negatives.valid[:] = False
    return orthogonal(3), negatives


def no_negative_slot() -> tuple[Samples, Samples]:
    return orthogonal(3), EMPTY


def nothing_valid() -> tuple[Samples, Samples]:
    s = orthogonal(3)
    s.valid[:] = False
    return s, s


def no_slot() -> tuple[Samples, Samples]:
    return EMPTY, EMPTY


@pytest.mark.parametrize(
    "case", [one_class_only, no_positive, no_negative, no_negative_slot, nothing_valid, no_slot]
)
def test_nothing_to_contrast_is_exactly_zero_with_graph(case: Any) -> None:
    keys, negatives = case()
    vectors = keys.vectors.clone().requires_grad_()
    keys = Samples(vectors, keys.valid)
    loss = pair_loss(keys, keys, negatives, temperature=0.1, skip_self=True)
    assert loss.item() == 0 and loss.requires_grad
    loss.backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None and not vectors.grad.any() and vectors.grad.isfinite().all()


def test_detached_keys_take_no_gradient() -> None:
    torch.manual_seed(0)
    high, low = random_samples(2, 4), random_samples(2, 5)
    high.vectors.requires_grad_()
    low.vectors.requires_grad_()
    fixed = low.detach()
    pair_loss(high, fixed, fixed, temperature=0.1).backward()  # type: ignore[no-untyped-call]
    assert low.vectors.grad is None
    assert high.vectors.grad is not None and high.vectors.grad.abs().sum() > 0


@pytest.mark.parametrize("autocast", [True, False])
def test_bfloat16_is_close_to_float32(autocast: bool) -> None:
    torch.manual_seed(0)
    keys = random_samples(4, 32, dim=128)
    full = pair_loss(keys.first(16), keys, keys, temperature=0.1, skip_self=True)
    if not autocast:
        keys = Samples(keys.vectors.bfloat16(), keys.valid)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        low = pair_loss(keys.first(16), keys, keys, temperature=0.1, skip_self=True)
    torch.testing.assert_close(low.float(), full, atol=1e-2, rtol=1e-2)


def test_float32_result_under_autocast() -> None:
    # Similarities over the temperature reach 10: bfloat16 would round them by up to 0.03.
    torch.manual_seed(0)
    centre = F.normalize(torch.randn(4, 1, 128), dim=2)
    vectors = F.normalize(centre + 0.02 * torch.randn(4, 32, 128), dim=2)
    keys = Samples(vectors, torch.ones(4, 32, dtype=torch.bool))
    full = pair_loss(keys, keys, keys, temperature=0.1, skip_self=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = pair_loss(keys, keys, keys, temperature=0.1, skip_self=True)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, full, rtol=1e-3, atol=0)


def test_reference_contrast(reference_values: dict[str, NDArray[Any]]) -> None:
    # Each of the three classes has two sets of five views, so the mean over all anchors, which the
    # public code takes, equals the mean over classes of means over anchors.
    sets = torch.as_tensor(reference_values["contrast_anchors"])
    label = torch.as_tensor(reference_values["contrast_labels"])
    vectors = torch.stack([sets[label == c].flatten(0, 1) for c in range(3)])
    keys = Samples(vectors, torch.ones(3, 10, dtype=torch.bool))
    loss = pair_loss(keys, keys, keys, temperature=0.1, skip_self=True)
    expected = torch.as_tensor(reference_values["contrast_loss_t0.1"])
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


def with_traits(samples: Samples, **changed: Tensor) -> Samples:
    return replace(samples, traits=replace(samples.known, **changed))


def test_a_negative_that_may_be_of_the_anchors_class_is_left_out() -> None:
    torch.manual_seed(0)
    keys = random_samples(2, 3)
    second = torch.full((2, 3), -1)
    second[1, 0] = 0  # the first key of class 1 might be of class 0
    safe = with_traits(keys, second=second)
    kept = Samples(keys.vectors, keys.valid & (second != 0))
    args: dict[str, Any] = {"temperature": 0.5, "skip_self": False}
    of_class_0 = keys.valid & torch.tensor([[True], [False]])
    anchors = Samples(keys.vectors, of_class_0)
    assert pair_loss(anchors, keys, safe, **args).item() == pytest.approx(
        double_loop(anchors, keys, kept, **args),
        rel=1e-5,
    )


def test_trust_weighs_positives_and_emphasis_weighs_anchors() -> None:
    # One anchor e1 per class; positives at similarity 1 and 0, a negative at similarity 0.
    eye = torch.eye(4)
    anchors = Samples(eye[[0, 1]][:, None], torch.ones(2, 1, dtype=torch.bool))
    positives = Samples(torch.stack([eye[[0, 2]], eye[[1, 2]]]), torch.ones(2, 2, dtype=torch.bool))
    negatives = Samples(eye[[3, 3]][:, None], torch.ones(2, 1, dtype=torch.bool))
    near, far = math.log(1 + math.exp(-1)), math.log(2)
    trusted = with_traits(positives, trust=torch.tensor([[1.0, 0.25], [1.0, 0.25]]))
    loss = pair_loss(anchors, trusted, negatives, temperature=1.0).item()
    assert loss == pytest.approx((near + 0.25 * far) / 1.25, rel=1e-5)
    two = Samples(torch.stack([eye[[0, 2]], eye[[1, 2]]]), torch.ones(2, 2, dtype=torch.bool))
    own = Samples(eye[[0, 1]][:, None], torch.ones(2, 1, dtype=torch.bool))
    emphasised = with_traits(two, emphasis=torch.tensor([[3.0, 1.0], [3.0, 1.0]]))
    loss = pair_loss(emphasised, own, negatives, temperature=1.0).item()
    assert loss == pytest.approx((3 * near + far) / 4, rel=1e-5)
    silent = with_traits(two, emphasis=torch.zeros(2, 2))
    assert pair_loss(silent, own, negatives, temperature=1.0).item() == 0
