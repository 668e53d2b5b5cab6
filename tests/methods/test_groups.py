"""The split into low- and high-entropy groups, mode by mode, against hand-made pixels."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from methods.blocks.groups import GroupParams, Pixels, assign_groups, split_by_entropy

# Nine grid points; the first three are trivial background.
H = torch.tensor([0.0, 0.0, 0.001, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9])
CONFIDENCE = torch.tensor([1.0, 1.0, 0.999, 0.98, 0.95, 0.9, 0.8, 0.6, 0.4])
LABEL = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
PIXELS = Pixels(H, CONFIDENCE, LABEL, classes=4)


def split(fraction: float, pixels: Pixels = PIXELS, **params: Any) -> tuple[str, str]:
    low, high = split_by_entropy(pixels, GroupParams.model_validate(params), fraction)
    return "".join("x" if v else "." for v in low), "".join("x" if v else "." for v in high)


@pytest.mark.parametrize(
    ("params", "fraction", "low", "high"),
    [
        ({"tau": 0.4}, 0.5, "xxxxxxx..", ".......xx"),
        ({"split": "none"}, 0.5, "xxxxxxxxx", "........."),
        # r(0) = e^-5: 0.3 + 0.3 * 0.0067 = 0.302; at the end of the run 0.6.
        ({"split": "ramp"}, 0.0, "xxxxxx...", "......xxx"),
        ({"split": "ramp"}, 1.0, "xxxxxxxx.", "........x"),
        # ln 2 / ln 4 = 1/2: 0.3758 at the start, 0.5 at the end.
        ({"split": "ramp_ugpcl"}, 0.0, "xxxxxx...", "......xxx"),
        ({"split": "ramp_ugpcl"}, 1.0, "xxxxxxx..", ".......xx"),
        # Six pixels are not trivial: the median of .1 .2 .3 .4 .6 .9 is .35.
        ({"split": "percentile", "quantile": 0.5}, 0.5, "xxxxxx...", "......xxx"),
        # alpha = 0.2 (1 - 0) over six pixels: quantiles .2 and .6.
        ({"split": "percentile_decay"}, 0.0, "xxxxx....", ".......xx"),
        # Medians .1 (class 0), .3 (class 1), .75 (class 2).
        ({"split": "per_class_percentile", "quantile": 0.5}, 0.5, "xxxxxx.x.", "......x.x"),
    ],
)
def test_modes_by_hand(params: dict[str, Any], fraction: float, low: str, high: str) -> None:
    assert split(fraction, **params) == (low, high)


def test_threshold_of_two_classes_is_capped() -> None:
    pixels = Pixels(torch.tensor([0.89, 0.91]), torch.full((2,), 0.6), torch.zeros(2).long(), 2)
    assert split(1.0, pixels, split="ramp_ugpcl") == ("x.", ".x")


def test_only_trivial_pixels_give_an_empty_high_group() -> None:
    pixels = Pixels(H[:3], CONFIDENCE[:3], LABEL[:3], 4)
    for mode in ("percentile", "per_class_percentile", "percentile_decay"):
        assert split(0.5, pixels, split=mode)[1] == "...", mode


@given(st.integers(0, 2**31 - 1), st.integers(1, 4))
def test_random_split_keeps_the_size_of_every_class(seed: int, classes: int) -> None:
    torch.manual_seed(seed)
    pixels = Pixels(torch.rand(200), torch.rand(200), torch.randint(classes, (200,)), classes)
    fixed = split_by_entropy(pixels, GroupParams(), 0.5)[1]
    low, high = split_by_entropy(pixels, GroupParams(split="random"), 0.5)
    assert torch.equal(low, ~high)
    for k in range(classes):
        assert (high & (pixels.label == k)).sum() == (fixed & (pixels.label == k)).sum()


def test_random_split_ignores_the_entropy() -> None:
    torch.manual_seed(0)
    pixels = Pixels(torch.linspace(0, 1, 4000), torch.rand(4000), torch.zeros(4000).long(), 2)
    high = split_by_entropy(pixels, GroupParams(split="random"), 0.5)[1]
    # 2000 of 4000 are drawn; among the 2000 of largest entropy expect 1000 +- 4 x 15.8.
    assert abs(int(high[2000:].sum()) - 1000) < 64


def average_of(*rows: list[float]) -> Tensor:
    """One image (1, 3, 1, P) per row of P probabilities of class 0; the rest goes to class 2."""
    p = torch.tensor(rows)[:, None]
    return torch.stack([p, torch.zeros_like(p), 1 - p], 1)


def assigned(**params: object) -> tuple[list[int], str, str]:
    """A labelled image (truth 1 1 0) and an unlabelled one, sure and unsure pixels in both."""
    average = average_of([0.99, 0.55, 0.45], [0.99, 0.6, 0.4])
    truth = torch.tensor([[[1, 1, 0]]])
    groups = assign_groups(average, truth, GroupParams.model_validate(params), 0.5)
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
        ({"include_background": False}, "x.....", ".x...x"),
    ],
)
def test_policies(params: dict[str, object], low: str, high: str) -> None:
    assert assigned(**params)[1:] == (low, high)


def test_traits() -> None:
    average = average_of([0.99, 0.55], [0.99, 0.6])
    truth = torch.tensor([[[1, 1]]])

    def traits(**params: object) -> tuple[list[float], list[float], list[int]]:
        found = assign_groups(average, truth, GroupParams.model_validate(params), 0.5).traits
        assert found is not None
        return found.emphasis.tolist(), found.trust.tolist(), found.second.tolist()

    assert assign_groups(average, truth, GroupParams(), 0.5).traits is None
    assert traits(high_label="soft")[1] == pytest.approx([1, 1, 1, 0.6])
    assert traits(high_label="top2_safe")[2] == [-1, -1, -1, 2]
    h = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4)) / math.log(3)
    assert traits(entropy_weighting="emphasise")[0][3] == pytest.approx(h)
    assert traits(entropy_weighting="suppress")[0][3] == pytest.approx(1 - h)


def test_facts() -> None:
    average = average_of([0.99, 0.55, 0.45, 0.01], [0.99, 0.6, 0.4, 0.01])
    truth = torch.tensor([[[0, 0, 0, 0]]])
    facts = assign_groups(average, truth, GroupParams(), 0.5).facts
    assert {k: v.item() for k, v in facts.items()} == {
        "high_share": 0.5,
        "high_foreground": 0.25,
        "low_known": 0.5,
        "high_known": 0.5,
        "low_correct": 0.25,
        "high_correct": 0.25,
    }
