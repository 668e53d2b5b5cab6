"""Controls of EGCL-Net's ablation: other readings, negatives of high entropy, no contrast."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from methods.base import Batch
from methods.blocks.contrast import Samples, contrasted
from methods.blocks.controls import ControlParams, control_pairs
from methods.blocks.embedding import Drawn
from methods.egcl_net import EGCLParams
from tests.methods.stored_net import (
    END,
    HALVES,
    RAMP,
    SURE,
    UNSURE,
    batch_of,
    closed_form,
    halves_of,
    method_of,
    values,
)

LOW_ONLY: dict[str, Any] = {"w_low": 1.0, "w_high": 0.0, "w_cross": 0.0}
BOTH: dict[str, Any] = {"w_low": 0.5, "w_high": 0.5, "w_cross": 0.0}


def test_high_entropy_negatives_lengthen_the_list_of_low_anchors() -> None:
    method, _ = halves_of(SURE, UNSURE, low_negatives="all", **LOW_ONLY)
    terms = values(method, batch_of(1, 1))
    assert terms["contrast_low"] == pytest.approx(RAMP * closed_form(64), rel=1e-5)


def test_high_entropy_negatives_take_no_gradient() -> None:
    method, net = halves_of(SURE, UNSURE, low_negatives="all", **LOW_ONLY)
    method.losses(batch_of(1, 1), END)["contrast_low"].backward()  # type: ignore[no-untyped-call]
    assert net.features.grad is not None
    certain, uncertain = net.features.grad.flatten(1).abs().sum(1).tolist()
    assert certain > 0 and uncertain == 0


def test_high_entropy_negatives_exclude_the_other_terms() -> None:
    with pytest.raises(ValidationError, match="set w_low to 1"):
        EGCLParams(low_negatives="all", **BOTH)


def test_labeled_pixels_alone_may_be_contrasted() -> None:
    method, _ = halves_of(UNSURE, SURE, split="none", pixels="labeled", **LOW_ONLY)
    terms = values(method, batch_of(1, 1))
    assert terms["contrast_low"] == pytest.approx(RAMP * closed_form(32), rel=1e-5)
    assert method.take_observed()["inert_low"].item() == 0


def test_joint_reading_equals_the_semantic_one_when_one_group_is_filled() -> None:
    found = []
    for reading in ("semantic", "joint"):
        method, _ = halves_of(SURE, SURE, reading=reading, **BOTH)
        found.append(values(method, batch_of(1, 1)))
    assert found[1]["contrast_low"] == pytest.approx(found[0]["contrast_low"], rel=1e-5)
    assert found[1]["contrast_high"] == 0 < found[1]["contrast_low"]


def test_joint_reading_pushes_the_groups_of_one_class_apart() -> None:
    method, _ = halves_of(SURE, UNSURE, reading="joint", w_low=0.25, w_high=0.75, w_cross=0.0)
    # Negatives: 32 of the own class in the other group at similarity 1, 64 of the other class at 0.
    expected = math.log(1 + 32 + 64 / math.e)
    terms = values(method, batch_of(1, 1))
    assert terms["contrast_low"] == pytest.approx(0.25 * RAMP * expected, rel=1e-5)
    assert terms["contrast_high"] == pytest.approx(0.75 * RAMP * expected, rel=1e-5)


def test_entropy_group_reading_looks_at_the_group_alone() -> None:
    method, net = method_of(reading="entropy_group", **BOTH)
    shown = torch.stack([torch.zeros_like(HALVES), torch.ones_like(HALVES)])
    net.fill(shown, [SURE, UNSURE], HALVES.repeat(2, 1, 1))
    # All low points are e1, all high points e2, whatever their class: 64 negatives at 0.
    terms = values(method, batch_of(1, 1))
    for name in ("low", "high"):
        assert terms[f"contrast_{name}"] == pytest.approx(RAMP * closed_form(64) / 2, rel=1e-5)


@pytest.mark.parametrize(("reading", "negatives"), [("joint", 3 * 5), ("entropy_group", 2 * 5)])
def test_other_readings_have_the_pair_budget_of_the_default_with_memory(
    reading: str, negatives: int
) -> None:
    """All vectors equal: ln(1 + number of negatives), of 3 keys and 2 remembered ones each."""
    method, net = method_of(reading=reading, memory=2, keys=3, anchors=2, **BOTH)
    net.fill(torch.zeros_like(HALVES).repeat(2, 1, 1), [SURE, UNSURE], HALVES.repeat(2, 1, 1))
    values(method, batch_of(1, 1))
    terms = values(method, batch_of(1, 1))
    expected = RAMP * math.log(1 + negatives) / 2
    assert terms["contrast_low"] == pytest.approx(expected, rel=1e-5)
    facts = method.take_observed()
    # Two anchors of each of two classes; in the joint reading every one is a row of its own.
    assert facts["anchors_low"].item() == 4
    assert facts["classes_low"].item() == (2 if reading == "joint" else 1)


def test_an_anchor_of_another_reading_is_never_its_own_positive() -> None:
    """Distinct orthogonal vectors: every true positive has similarity 0, itself would have 1."""
    vectors = torch.eye(8).view(2, 2, 2, 8)  # group, class, slot
    full = torch.ones(2, 2, dtype=torch.bool)
    low, high = (Samples(v, full) for v in vectors)
    for reading, others in (("entropy_group", 4), ("joint", 6)):
        pairs = control_pairs(
            ControlParams.model_validate({"reading": reading, **BOTH}),
            Drawn(low.first(1), low),
            Drawn(high.first(1), high),
        )
        for name in ("low", "high"):
            term = contrasted(pairs[name], temperature=1.0)
            assert term.loss.item() == pytest.approx(math.log(1 + others), rel=1e-6), reading
            assert term.anchors.item() == 2


def test_other_readings_exclude_what_they_have_no_meaning_for() -> None:
    with pytest.raises(ValidationError, match="set w_cross to 0"):
        EGCLParams(reading="joint")
    with pytest.raises(ValidationError, match="no second class"):
        EGCLParams(reading="joint", high_label="top2_safe", **BOTH)


def test_entropy_minimisation_in_place_of_contrast() -> None:
    method, _ = halves_of(UNSURE, UNSURE, lam_con=0.0, lam_entropy=0.5)
    terms = values(method, batch_of(1, 1))
    assert set(terms) == {"supervised", "consistency", "entropy"}
    h = -(0.6 * math.log2(0.6) + 0.4 * math.log2(0.4))
    assert terms["entropy"] == pytest.approx(0.5 * RAMP * h, rel=1e-5)


def halves_batch(label: Tensor) -> Batch:
    return Batch(torch.zeros(1, 1, *label.shape), label[None], torch.zeros(1, 1, *label.shape))


def test_a_random_split_differs_where_entropy_parts_nothing() -> None:
    """All pixels uncertain: by entropy there is no low group, at random both have half."""
    method, _ = halves_of(UNSURE, UNSURE, split="random")
    terms = values(method, halves_batch(HALVES))
    for name in ("low", "high", "cross"):
        assert terms[f"contrast_{name}"] == pytest.approx(RAMP * closed_form(32) / 3, rel=1e-5)
    assert method.take_observed()["one_sided"].item() == 0
