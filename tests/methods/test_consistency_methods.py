"""Losses of the consistency methods on networks that are simple enough to follow."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.base import Method, Progress
from methods.blocks.adversarial import untracked_statistics, virtual_adversarial
from methods.blocks.divergence import (
    jeffreys,
    jensen_shannon,
    kl_from_mean,
    sharpen,
    sharpen_binary,
    soft_cross_entropy,
)
from methods.blocks.losses import supervised_loss
from methods.blocks.rotation import draw_turns, rotate
from methods.entropy_min import EntropyMin
from methods.ict import ICT
from methods.mean_teacher import MeanTeacher
from methods.r_drop import RDrop
from methods.rot_consistency import RotConsistency
from methods.ua_mt import UAMT
from methods.unimatch_v2 import UniMatchV2
from tests.pixel_net import END, RAMP, PixelNet, assert_same, batch, make


def _map(*rows: tuple[float, ...]) -> Tensor:
    """Probabilities of one image with one row of pixels, (1, K, 1, P), given per pixel."""
    return torch.tensor(rows).T[None, :, None]


def test_divergences_by_hand() -> None:
    p, q = _map((0.5, 0.5)), _map((0.9, 0.1))
    kl_pq = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    kl_qp = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert jeffreys(p.log(), q.log()).item() == pytest.approx((kl_pq + kl_qp) / 2, rel=1e-5)
    assert kl_from_mean(p, q.log()).item() == pytest.approx(kl_pq, rel=1e-5)
    one, two = _map((1.0, 0.0)), _map((0.0, 1.0))
    assert jensen_shannon(one, two).item() == pytest.approx(math.log(2))
    assert jensen_shannon(p, p).item() == 0
    assert soft_cross_entropy(q, p.log()).item() == pytest.approx(math.log(2))


def test_sharpening() -> None:
    """Over the classes rows sum to one; by class they are p^2 / (p^2 + (1 - p)^2) at T = 1/2."""
    p = _map((0.5, 0.3, 0.2))
    squares = torch.tensor([0.25, 0.09, 0.04])
    torch.testing.assert_close(sharpen(p.log(), 0.5).flatten(), squares / squares.sum())
    binary = sharpen_binary(p, 0.5).flatten()
    torch.testing.assert_close(binary, squares / (squares + torch.tensor([0.25, 0.49, 0.64])))


def test_r_drop_runs_over_the_classes() -> None:
    """Predictions that differ by class but not along an image axis have a divergence."""
    a, b = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    b[:, 1] = 2.0
    assert jeffreys(a, b).min() > 0.1
    method = make(RDrop)
    terms = method.losses(batch(), END)
    assert terms["divergence"].item() == 0  # no dropout in this network
    l_sup = supervised_loss(method.predict(batch().image), batch().label)
    assert_same(method, terms["supervised"], l_sup)


def test_entropy_minimisation_is_the_mean_entropy_of_all_images() -> None:
    method, data = make(EntropyMin, values={"weight": 2.0}), batch()
    p = method.predict(data.images).softmax(1)
    expected = 2 * -(p * p.log()).sum(1).mean() / math.log(3)
    terms = method.losses(data, END)
    assert_same(method, terms["entropy"], RAMP * expected)
    l_sup = supervised_loss(method.predict(data.image), data.label)
    assert_same(method, terms["supervised"], l_sup)


def test_ict_mixes_images_and_predictions_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quarter:
        def __init__(self, a: Tensor, b: Tensor, *, validate_args: bool) -> None:
            assert torch.equal(a, b) and not validate_args
            self.like = a

        def sample(self) -> Tensor:
            return torch.full_like(self.like, 0.25)

    monkeypatch.setattr(torch.distributions, "Beta", Quarter)
    method, data = make(ICT, values={"weight": 1.0}), batch()
    method.teacher.slope.data.mul_(-1)
    x_a, x_b = data.unlabeled, data.unlabeled.roll(1, 0)
    p_a, p_b = (method.teacher(x).softmax(1) for x in (x_a, x_b))
    mixed = method.student(0.75 * x_a + 0.25 * x_b).softmax(1)
    expected = (mixed - (0.75 * p_a + 0.25 * p_b)).square().mean()
    terms = method.losses(data, Progress(500, 1000))
    assert_same(method, terms["consistency"], math.exp(-1.25) * expected)
    assert_same(
        method, terms["supervised"], supervised_loss(method.predict(data.image), data.label)
    )


def test_mean_teacher_learns_from_another_network() -> None:
    """At half of a ramp over the whole run: e^-1.25."""
    method, data = make(MeanTeacher, values={"weight": 2.0, "noise": 0.0}), batch()
    method.teacher.slope.data.mul_(-1)
    target = method.teacher(data.unlabeled).softmax(1).detach()
    distance = (method.student(data.unlabeled).softmax(1) - target).square().mean()
    terms = method.losses(data, Progress(500, 1000))
    assert_same(method, terms["consistency"], 2 * math.exp(-1.25) * distance)
    l_sup = supervised_loss(method.predict(data.image), data.label)
    assert_same(method, terms["supervised"], l_sup)


@pytest.mark.parametrize("cls", [MeanTeacher, ICT, UAMT, UniMatchV2])
def test_teachers_are_averages_of_students(cls: type[Method[Any]]) -> None:
    """Of the weights, by min(1 - 1 / (t + 1), decay)."""
    method = make(cls, values={"decay": 0.9})
    for step, share in ((0, 0.0), (3, 3 / 4), (999, 0.9)):
        method.teacher.slope.data.fill_(1.0)
        method.student.slope.data.fill_(0.0)
        method.after_step(Progress(step, 1000))
        slope = method.teacher.slope
        torch.testing.assert_close(slope, torch.full_like(slope, share))


def test_rotations() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert rotate(image, torch.tensor([1]))[0, 0, 0].tolist() == [3, 7, 11, 15]
    assert torch.equal(rotate(rotate(image, torch.tensor([3])), torch.tensor([1])), image)
    torch.manual_seed(0)
    assert set(draw_turns(image.expand(200, 1, 4, 4), identity=False).tolist()) == {1, 2, 3}
    assert set(draw_turns(torch.zeros(50, 1, 4, 6), identity=False).tolist()) == {2}
    assert set(draw_turns(torch.zeros(50, 1, 4, 6), identity=True).tolist()) == {0, 2}


def test_rotation_consistency_measures_what_does_not_turn() -> None:
    """0 for a network of single pixels; by hand for one that looks at the left half only."""
    data, method = batch(), make(RotConsistency, values={"weight": 1.0})
    assert method.losses(data, END)["consistency"].item() == pytest.approx(0, abs=1e-12)

    class Left(PixelNet):
        def decode(self, levels, decoder=0):  # type: ignore[no-untyped-def]
            view = super().decode(levels, decoder)
            seen = torch.zeros_like(view.logits)
            seen[..., :4] = view.logits[..., :4]
            return type(view)(seen, view.stages)

    method.student = Left(1, 3, 0)
    torch.manual_seed(3)
    turns = draw_turns(data.unlabeled, identity=False)
    p, p_r = (method.student(x).softmax(1) for x in (data.unlabeled, rotate(data.unlabeled, turns)))
    p = rotate(p, turns)
    halves = [(p - p_r.detach()).square().mean(), (p.detach() - p_r).square().mean()]
    torch.manual_seed(3)
    terms = method.losses(data, END)
    assert_same(method, terms["consistency"], RAMP * (halves[0] + halves[1]) / 2)
    assert halves[0].item() > 1e-3
    l_sup = supervised_loss(method.predict(data.image), data.label)
    assert_same(method, terms["supervised"], l_sup)


def test_virtual_adversarial_direction() -> None:
    weight = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    r = virtual_adversarial(
        torch.zeros(2, 1, 2, 2), lambda x: (x * weight).sum(), probe=0.1, magnitude=0.5
    )
    expected = 0.5 * weight / weight.square().mean().sqrt()
    torch.testing.assert_close(r, expected.expand_as(r))


def test_untracked_statistics_stay() -> None:
    norm = torch.nn.BatchNorm2d(2).train()
    before = norm.state_dict()["running_mean"].clone()
    with untracked_statistics(torch.nn.Sequential(norm)):
        norm(torch.randn(4, 2, 3, 3) + 5)
    assert torch.equal(norm.state_dict()["running_mean"], before)
    norm(torch.randn(4, 2, 3, 3) + 5)
    assert not torch.equal(norm.state_dict()["running_mean"], before)
