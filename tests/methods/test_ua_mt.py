"""UA-MT: the masked loss by hand and against public code, the method on fixed logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from methods.base import Batch, Progress
from methods.blocks.entropy import entropy
from methods.blocks.losses import certain_mse, softmax32, supervised_loss
from methods.blocks.ramps import sigmoid_ramp
from methods.networks import Decoded, SegNet
from methods.ua_mt import UAMT, UAMTParams
from tests.pixel_net import END, RAMP, assert_same, batch, make


def test_certain_mse_by_hand() -> None:
    # Pixel 0: .2^2 + .2^2 = .08; pixel 1 is masked; pixel 2: .4^2 + .4^2 = .32.
    # Divided by 2, over two pixels: (.04 + .16) / 2.
    p = torch.tensor([[[0.7, 0.9, 0.5], [0.3, 0.1, 0.5]]])
    q = torch.tensor([[[0.5, 0.0, 0.9], [0.5, 1.0, 0.1]]])
    u = torch.tensor([[0.1, 0.6, 0.4]])
    loss, share = certain_mse(p, q, u, threshold=0.5, norm=2)
    assert loss.item() == pytest.approx(0.1, abs=1e-7)
    assert share.item() == pytest.approx(2 / 3)
    half, _ = certain_mse(p, q, u, threshold=0.5, norm=4)
    assert half.item() == pytest.approx(0.05, abs=1e-7)


def test_uncertainty_at_the_threshold_is_masked() -> None:
    p, q, u = torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.full((1, 1), 0.5)
    assert certain_mse(p, q, u, threshold=0.5, norm=1)[0].item() == 0


def test_empty_mask_is_exactly_zero_with_graph() -> None:
    p = torch.rand(2, 3, 4, 4, requires_grad=True)
    loss, share = certain_mse(p, torch.rand(2, 3, 4, 4), torch.ones(2, 4, 4), threshold=0.5, norm=3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0 and share.item() == 0
    assert p.grad is not None and not p.grad.any() and p.grad.isfinite().all()


@pytest.mark.parametrize("name", ["c4", "c2"])
@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_reference_ua_mt(
    reference_values: dict[str, NDArray[Any]], name: str, fraction: float
) -> None:
    a, b, passes = (
        torch.as_tensor(reference_values[f"{name}_{key}"])
        for key in ("logits_a", "logits_b", "mc_logits")
    )
    loss, _ = certain_mse(
        softmax32(a),
        softmax32(b),
        entropy(passes.softmax(2).mean(0)),
        threshold=(0.75 + 0.25 * sigmoid_ramp(fraction)) * math.log(2),
        norm=2,
    )
    expected = torch.as_tensor(reference_values[f"{name}_ua_mt_ln2_norm2_at_{fraction}"])
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)


class FixedLogits(SegNet):
    """Ignores the image: all images get the logits of one row of pixels, (K, P)."""

    level_channels = stage_channels = (1, 1, 1)

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def encode(self, image: Tensor) -> list[Tensor]:
        return [image]

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:  # noqa: ARG002
        return Decoded(self.logits[None, :, None].repeat(len(levels[0]), 1, 1, 1), ())


def method_of(student: Tensor, teacher: Tensor, **params: object) -> UAMT:
    """UA-MT whose networks give fixed probabilities (K, P)."""
    method = UAMT(
        lambda **_: FixedLogits(student.log()),
        UAMTParams.model_validate(params),
        classes=len(student),
        ndim=2,
    )
    method.teacher.load_state_dict({"logits": teacher.log()})
    return method


def consistency(method: UAMT, t: Progress) -> tuple[float, float]:
    """The term, and the share of pixels that took part."""
    pixels = 2
    batch = Batch(
        image=torch.zeros(1, 1, 1, pixels),
        label=torch.zeros(1, 1, pixels, dtype=torch.int64),
        unlabeled=torch.zeros(3, 1, 1, pixels),
    )
    value = method.losses(batch, t)["consistency"].item()
    return value, method.take_observed()["certain_share"].item()


# Teacher: pixel 0 has entropy 0.780 (more than ln 2 = 0.693, less than 3/4 ln 4 = 1.040), pixel 1
# has 0.325.
STUDENT = torch.tensor([[0.50, 0.60], [0.30, 0.20], [0.10, 0.10], [0.10, 0.10]])
TEACHER = torch.tensor([[0.70, 0.90], [0.25, 0.10], [0.03, 1e-9], [0.02, 1e-9]])


def test_method_by_hand() -> None:
    # Squared differences: pixel 0: .04 + .0025 + .0049 + .0064 = .0538
    #                      pixel 1: .09 + .01 + .01 + .01 = .12
    # Both are certain: (.0538 + .12) / (4 * 2) = .021725. Half the run: ramp e^-1.25 = .2865048.
    value, share = consistency(method_of(STUDENT, TEACHER, weight=0.5), Progress(50, 100))
    assert share == 1
    assert value == pytest.approx(0.5 * 0.2865048 * 0.021725, rel=1e-5)


def test_method_with_ln2_and_two_by_hand() -> None:
    # Threshold (3/4 + .0716) ln 2 = .5695 masks pixel 0: .12 / (2 * 1).
    method = method_of(STUDENT, TEACHER, weight=0.5, threshold_base="ln2", norm="two")
    value, share = consistency(method, Progress(50, 100))
    assert share == 0.5
    assert value == pytest.approx(0.5 * 0.2865048 * 0.06, rel=1e-5)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (99, 1.0)])
def test_threshold_rises_from_three_quarters_to_all(step: int, expected: float) -> None:
    # Two classes at .75: entropy .5623, between .521 at the start and .693 at the end.
    p = torch.tensor([[0.75, 0.75], [0.25, 0.25]])
    _, share = consistency(method_of(p, p, passes=2), Progress(step, 100))
    assert share == expected


def test_ramp_shortens_the_warm_up() -> None:
    value, _ = consistency(method_of(STUDENT, TEACHER, weight=0.5, ramp=0.5), Progress(50, 100))
    assert value == pytest.approx(0.5 * 0.021725, rel=1e-5)


def test_every_image_has_its_own_target() -> None:
    """One pass without noise: its mask is that of the target itself."""
    method, data = make(UAMT, values={"weight": 2.0, "passes": 1, "noise": 0.0}), batch()
    method.teacher.slope.data.mul_(-1)
    target = method.teacher(data.unlabeled).softmax(1).detach()
    certain = -(target * target.log()).sum(1) < (0.75 + 0.25 * RAMP) * math.log(3)
    squared = (method.student(data.unlabeled).softmax(1) - target).square().sum(1)
    terms = method.losses(data, END)
    assert_same(method, terms["consistency"], 2 * RAMP * squared[certain].mean() / 3)
    l_sup = supervised_loss(method.predict(data.image), data.label)
    assert_same(method, terms["supervised"], l_sup)
