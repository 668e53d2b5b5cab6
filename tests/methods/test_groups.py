"""Who belongs to the groups, with which class and weight, and what is told about them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.base import Progress
from methods.blocks.groups import GroupParams, Groups, assign_groups

HALF = Progress(1, 2)


def average_of(*rows: list[float], classes: int = 3) -> Tensor:
    """One image (1, K, 1, P) per row of P probabilities of class 0; the rest goes to the last."""
    p = torch.tensor(rows)[:, None]
    between = [torch.zeros_like(p)] * (classes - 2)
    return torch.stack([p, *between, 1 - p], 1)


def groups_of(average: Tensor, truth: Tensor, **params: object) -> Groups:
    return assign_groups(
        average, truth, average.shape[2:], GroupParams.model_validate(params), HALF
    )


def assigned(**params: object) -> tuple[list[int], str, str]:
    """A labelled image (truth 1 1 0) and an unlabelled one, sure and unsure pixels in both."""
    average = average_of([0.99, 0.55, 0.45], [0.99, 0.6, 0.4])
    groups = groups_of(average, torch.tensor([[[1, 1, 0]]]), **params)
    low, high = ("".join("x" if v else "." for v in m) for m in groups.members)
    return groups.label.tolist(), low, high


def test_labels_are_true_where_known_and_predicted_elsewhere() -> None:
    assert assigned() == ([1, 1, 0, 0, 0, 2], "x..x..", ".xx.xx")


@pytest.mark.parametrize(
    ("params", "low", "high"),
    [
        ({"labeled_split": "low"}, "xxxx..", "....xx"),
        ({"high_label": "gt_only"}, "x..x..", ".xx..."),
        ({"pixels": "labeled"}, "x.....", ".xx..."),
        ({"pixels": "labeled", "split": "none"}, "xxx...", "......"),
        # Classes 1 1 0 | 0 0 2 in two images: the pair of a class change is a border.
        ({"split": "boundary"}, "x..x..", ".xx.xx"),
    ],
)
def test_policies(params: dict[str, object], low: str, high: str) -> None:
    assert assigned(**params)[1:] == (low, high)


def test_maps_are_read_at_the_grid_points() -> None:
    average = average_of([0.5, 0.99, 0.5, 0.6]).repeat_interleave(2, 2)  # (1, 3, 2, 4)
    truth = torch.tensor([[[7, 1, 7, 2]] * 2])
    groups = assign_groups(average, truth, (1, 2), GroupParams(), HALF)
    assert groups.label.tolist() == [1, 2]  # centres of pairs: indices 1 and 3
    assert [m.tolist() for m in groups.members] == [[True, False], [False, True]]


def traits(average: Tensor, **params: object) -> tuple[list[float], list[float], list[int]]:
    found = groups_of(average, torch.tensor([[[1, 1]]]), **params).traits
    assert found is not None
    return found.emphasis.tolist(), found.trust.tolist(), found.second.tolist()


def test_traits() -> None:
    average = average_of([0.99, 0.55], [0.99, 0.6])
    assert groups_of(average, torch.tensor([[[1, 1]]])).traits is None
    assert traits(average, high_label="soft")[1] == pytest.approx([1, 1, 1, 0.6])
    assert traits(average, high_label="top2_safe")[2] == [-1, -1, -1, 2]
    h = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4)) / math.log(3)
    assert traits(average, entropy_weighting="emphasise")[0][3] == pytest.approx(h)
    assert traits(average, entropy_weighting="suppress")[0][3] == pytest.approx(1 - h)


def test_uncertain_negatives_are_ruled_out_for_half_of_the_classes() -> None:
    """U2PL's rank condition: of four classes not the two most probable, of two not the first."""
    four = average_of([0.99, 0.55], [0.99, 0.65], classes=4)
    assert traits(four, low_negatives="all", tau=0.4)[2] == [-1, -1, -1, 3]
    two = average_of([0.99, 0.55], [0.99, 0.6], classes=2)
    assert groups_of(two, torch.tensor([[[1, 1]]]), low_negatives="all").traits is None


def test_facts() -> None:
    average = average_of([0.99, 0.55, 0.45, 0.01], [0.99, 0.6, 0.4, 0.01])
    facts = groups_of(average, torch.tensor([[[0, 0, 0, 0]]])).facts()
    assert {k: v.item() for k, v in facts.items()} == {
        "high_share": 0.5,
        "high_foreground": 0.25,
        "high_border": 0.5,  # all of the unlabelled image's, 0 0 2 2, none of the labelled one's
        "one_sided": 0,
        "low_known": 0.5,
        "high_known": 0.5,
        "low_correct": 0.25,
        "high_correct": 0.25,
    }


def test_pixels_between_the_groups_are_in_neither() -> None:
    """U2PL's split leaves a middle band; here one of five labelled pixels is low, one high."""
    average = average_of([0.95, 0.9, 0.8, 0.3, 0.4])
    facts = groups_of(average, torch.zeros(1, 1, 5).long(), split="percentile_decay").facts()
    named = {k: v.item() for k, v in facts.items()}
    assert named["low_known"] == named["high_known"] == pytest.approx(0.2)
    assert named["low_correct"] == pytest.approx(0.2) and named["high_correct"] == 0


def test_a_class_on_one_side_is_told() -> None:
    average = average_of([0.99, 0.6, 0.98, 0.97])
    facts = groups_of(average, torch.tensor([[[0, 0, 2, 2]]])).facts()
    assert facts["one_sided"].item() == 0.5  # class 2 has low pixels alone


def test_the_border_of_the_high_group_is_measured_in_pixels() -> None:
    """Three pixels are one step of a grid of stride 4 and three steps of the full grid."""
    p = torch.full((1, 1, 8, 32), 0.5)
    average = torch.cat([p, 1 - p], 1)
    truth = (torch.arange(32) >= 16).long().expand(1, 8, 32)
    shares = [
        assign_groups(average, truth, grid, GroupParams(), HALF).facts()["high_border"].item()
        for grid in ((8, 32), (4, 16), (2, 8))
    ]
    assert shares == [6 / 32, 4 / 16, 2 / 8]
