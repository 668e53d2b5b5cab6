"""The split into low and high group, mode by mode, against hand-made pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.base import Progress
from methods.blocks.splits import Pixels, SplitParams, border, split_pixels

# Nine grid points; the first three are trivial background.
H = torch.tensor([0.0, 0.0, 0.001, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9])
CONFIDENCE = torch.tensor([1.0, 1.0, 0.999, 0.98, 0.95, 0.9, 0.8, 0.6, 0.4])
LABEL = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
BORDER = torch.tensor([0, 0, 0, 1, 1, 0, 1, 1, 0]).bool()
HALF = Progress(1, 2)
PIXELS = Pixels(H, CONFIDENCE, LABEL, BORDER, classes=4)


def shown(mask: torch.Tensor) -> str:
    return "".join("x" if v else "." for v in mask)


def split(fraction: float, pixels: Pixels = PIXELS, **params: Any) -> tuple[str, str]:
    low, high = split_pixels(
        pixels, SplitParams.model_validate(params), Progress(round(1000 * fraction), 1000)
    )
    return shown(low), shown(high)


def pixels_of(entropy: torch.Tensor, label: torch.Tensor, classes: int) -> Pixels:
    """Pixels without a border, none of them trivial."""
    confidence = torch.full_like(entropy, 0.5)
    return Pixels(entropy, confidence, label, torch.zeros_like(label).bool(), classes)


@pytest.mark.parametrize(
    ("params", "fraction", "low", "high"),
    [
        ({"tau": 0.4}, 0.5, "xxxxxxx..", ".......xx"),
        ({"split": "none"}, 0.5, "xxxxxxxxx", "........."),
        ({"split": "boundary"}, 0.5, "xxx..x..x", "...xx.xx."),
        # r(0) = e^-5: 0.3 + 0.3 * 0.0067 = 0.302; at the end of the run 0.6.
        ({"split": "ramp"}, 0.0, "xxxxxx...", "......xxx"),
        ({"split": "ramp"}, 1.0, "xxxxxxxx.", "........x"),
        # ln 2 / ln 4 = 1/2: 0.3758 at the start, 0.5 at the end.
        ({"split": "ramp_ugpcl"}, 0.0, "xxxxxx...", "......xxx"),
        ({"split": "ramp_ugpcl"}, 1.0, "xxxxxxx..", ".......xx"),
        # Six pixels are not trivial: the median of .1 .2 .3 .4 .6 .9 is .35, their mean .41667.
        ({"split": "percentile", "quantile": 0.5}, 0.5, "xxxxxx...", "......xxx"),
        ({"split": "mean"}, 0.5, "xxxxxxx..", ".......xx"),
        # alpha = 0.2 (1 - 0) over six pixels: quantiles .2 and .6.
        ({"split": "percentile_decay"}, 0.0, "xxxxx....", ".......xx"),
        # Medians .1 (class 0), .3 (class 1), .75 (class 2).
        ({"split": "per_class_percentile", "quantile": 0.5}, 0.5, "xxxxxx.x.", "......x.x"),
    ],
)
def test_modes_by_hand(params: dict[str, Any], fraction: float, low: str, high: str) -> None:
    assert split(fraction, **params) == (low, high)


def test_the_mean_counts_certain_foreground_but_not_certain_background() -> None:
    pixels = replace(PIXELS, confidence=torch.full_like(H, 0.999))
    # Of the foreground alone: (.2 + .3 + .4 + .6 + .9) / 5 = .48.
    assert split(0.5, pixels, split="mean")[1] == ".......xx"
    less = replace(pixels, entropy=H * torch.tensor([1, 1, 1, 5, 1, 1, 1, 1, 1.0]))
    assert split(0.5, less, split="mean")[1] == "...x...xx"  # .5 of background is above .48
    none = replace(pixels, label=torch.zeros_like(LABEL))
    assert split(0.5, none, split="mean") == ("xx.......", "..xxxxxxx")  # no candidate: above 0


def test_threshold_of_two_classes_is_capped() -> None:
    pixels = pixels_of(torch.tensor([0.89, 0.91]), torch.zeros(2).long(), 2)
    assert split(1.0, pixels, split="ramp_ugpcl") == ("x.", ".x")


def test_only_trivial_pixels_give_an_empty_high_group() -> None:
    pixels = Pixels(H[:3], CONFIDENCE[:3], LABEL[:3], BORDER[:3], 4)
    for mode in ("percentile", "per_class_percentile", "percentile_decay"):
        assert split(0.5, pixels, split=mode)[1] == "...", mode


def test_many_pixels_have_the_quantile_of_some() -> None:
    points = 1_300_000
    pixels = pixels_of(torch.linspace(0, 1, points), torch.zeros(points).long(), 2)
    high = split_pixels(pixels, SplitParams(split="percentile"), HALF)[1]
    assert high.float().mean().item() == pytest.approx(0.2, abs=1e-3)


@given(
    st.integers(0, 2**31 - 1), st.integers(1, 4), st.sampled_from(["fixed", "per_class_percentile"])
)
def test_random_split_keeps_the_size_of_every_class(seed: int, classes: int, like: Any) -> None:
    torch.manual_seed(seed)
    pixels = pixels_of(torch.rand(200), torch.randint(classes, (200,)), classes)
    expected = split_pixels(pixels, SplitParams(split=like), HALF)[1]
    low, high = split_pixels(pixels, SplitParams(split="random", random_like=like), HALF)
    assert torch.equal(low, ~high)
    for k in range(classes):
        assert (high & (pixels.label == k)).sum() == (expected & (pixels.label == k)).sum()


def test_random_split_halves_a_class_that_entropy_leaves_whole() -> None:
    """Else the draw would be the split by entropy itself, and their comparison mean nothing."""
    torch.manual_seed(0)
    entropy = torch.cat([torch.full((40,), 0.1), torch.full((10,), 0.9), torch.linspace(0, 1, 20)])
    label = torch.tensor([0] * 40 + [1] * 10 + [2] * 20)
    high = split_pixels(pixels_of(entropy, label, 3), SplitParams(split="random"), HALF)[1]
    assert [int(high[label == k].sum()) for k in range(3)] == [20, 5, 10]


def test_random_split_ignores_the_entropy() -> None:
    torch.manual_seed(0)
    pixels = pixels_of(torch.linspace(0, 1, 4000), torch.zeros(4000).long(), 2)
    high = split_pixels(pixels, SplitParams(split="random"), HALF)[1]
    # 2000 of 4000 are drawn; among the 2000 of largest entropy expect 1000 +- 4 x 15.8.
    assert abs(int(high[2000:].sum()) - 1000) < 64


def test_border_by_hand() -> None:
    label = torch.zeros(1, 5, 6, dtype=torch.int64)
    label[0, 2:, 4:] = 3
    near = "\n".join(shown(row) for row in border(label)[0])
    assert near == "......\n...xxx\n...xxx\n...xx.\n...xx."
    far = "\n".join(shown(row) for row in border(label, reach=2)[0])
    assert far == "..xxxx\n..xxxx\n..xxxx\n..xxxx\n..xxxx"


def test_border_does_not_reach_into_another_image_and_works_in_3d() -> None:
    label = torch.zeros(2, 3, 3, 3, dtype=torch.int64)
    label[1] = 1
    assert not border(label).any()
    label[1, 0, 0, 0] = 0
    assert border(label)[1].sum().item() == 8
