"""Losses of the consistency methods on networks that are simple enough to follow."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods import cct
from methods.ad_mt import ADMT
from methods.blocks.adversarial import fgsm, untracked_statistics, virtual_adversarial
from methods.blocks.divergence import (
    jeffreys,
    jensen_shannon,
    kl_from_mean,
    sharpen,
    sharpen_binary,
    soft_cross_entropy,
)
from methods.blocks.rotation import draw_turns, rotate
from methods.blocks.scales import ScaleHeads
from methods.cct import CCT
from methods.dan import DAN
from methods.dct import DCT
from methods.entropy_min import EntropyMin
from methods.ict import ICT
from methods.mc_net import MCNet
from methods.r_drop import RDrop
from methods.rot_consistency import RotConsistency
from methods.urpc import rectified_consistency
from tests.pixel_net import END, PixelNet, batch, make


def _map(*rows: tuple[float, ...]) -> Tensor:
    """Probabilities of one image with one row of pixels, (1, K, 1, P), given per pixel."""
    return torch.tensor(rows).T[None, :, None]


def _grads(method: torch.nn.Module, value: Tensor) -> set[str]:
    """Names of the parameters that a term moves."""
    method.zero_grad()
    value.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    return {n for n, p in method.named_parameters() if p.grad is not None and p.grad.any()}


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


def test_entropy_minimisation_is_the_mean_entropy_of_all_images() -> None:
    method, data = make(EntropyMin, values={"weight": 2.0}), batch()
    p = method.predict(data.images).softmax(1)
    expected = 2 * -(p * p.log()).sum(1).mean() / math.log(3)
    torch.testing.assert_close(method.losses(data, END)["entropy"], expected, rtol=0.02, atol=0)


def test_ict_mixes_images_and_predictions_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quarter:
        def __init__(self, a: Tensor, b: Tensor) -> None:
            assert torch.equal(a, b)
            self.like = a

        def sample(self) -> Tensor:
            return torch.full_like(self.like, 0.25)

    monkeypatch.setattr(torch.distributions, "Beta", Quarter)
    method, data = make(ICT, values={"weight": 1.0}), batch()
    x_a, x_b = data.unlabeled, data.unlabeled.roll(1, 0)
    p_a, p_b = (method.teacher(x).softmax(1) for x in (x_a, x_b))
    mixed = method.student(0.75 * x_a + 0.25 * x_b).softmax(1)
    expected = (mixed - (0.75 * p_a + 0.25 * p_b)).square().mean()
    torch.testing.assert_close(method.losses(data, END)["consistency"], expected, rtol=0.02, atol=0)


def test_rotations() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert rotate(image, [1])[0, 0, 0].tolist() == [3, 7, 11, 15]
    assert torch.equal(rotate(rotate(image, [3]), [1]), image)
    torch.manual_seed(0)
    assert set(draw_turns(image.expand(200, 1, 4, 4), identity=False)) == {1, 2, 3}
    assert set(draw_turns(torch.zeros(50, 1, 4, 6), identity=False)) == {2}
    assert set(draw_turns(torch.zeros(50, 1, 4, 6), identity=True)) == {0, 2}


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
    expected = (rotate(p, turns) - p_r).square().mean()
    torch.manual_seed(3)
    loss = method.losses(data, END)["consistency"]
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)
    assert loss.item() > 1e-3


def test_cct_sends_no_gradient_to_the_main_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the preset of the public code is taken, which also supervises the auxiliaries."""
    monkeypatch.setattr(cct, "PERTURBATIONS", (lambda x: x,) * 3)
    data = batch()
    method = make(CCT, values={"weight": 1.0})
    terms = method.losses(data, END)
    p = [method.student.decode([data.unlabeled], i).logits.softmax(1) for i in range(4)]
    expected = torch.stack([(p[0] - p[a]).square().mean() for a in (1, 2, 3)]).mean()
    torch.testing.assert_close(terms["consistency"], expected, rtol=0.02, atol=0)
    _grads(method, terms["consistency"])
    slope = method.student.slope.grad
    assert not slope[0].any() and slope[1:].any(1).all()
    _grads(method, terms["supervised"])
    assert not method.student.slope.grad[1:].any()
    literal = make(CCT, values={"preset": "ssl4mis"})
    for term in literal.losses(data, END).values():
        _grads(literal, term)
        assert literal.student.slope.grad.any(1).all()


def test_urpc_by_hand() -> None:
    """Two scales, one pixel: p = (.5, .5) and (.9, .1), mean (.7, .3)."""
    p, q = _map((0.5, 0.5)), _map((0.9, 0.1))
    d_p = 0.7 * math.log(0.7 / 0.5) + 0.3 * math.log(0.3 / 0.5)
    d_q = 0.7 * math.log(0.7 / 0.9) + 0.3 * math.log(0.3 / 0.1)
    expected = 0.2**2 + (d_p + d_q) / 2  # weights of a single pixel cancel
    assert rectified_consistency([p.log(), q.log()]).item() == pytest.approx(expected, rel=1e-4)
    assert rectified_consistency([p.log()] * 4).item() == pytest.approx(0, abs=1e-6)


def test_scale_heads_repeat_coarse_logits() -> None:
    net = PixelNet(1, 2, 0)
    heads = ScaleHeads(net, 2, 2)
    view = net.decode(net.encode(torch.randn(1, 1, 16, 16)))
    logits = heads(view)
    assert [tuple(z.shape) for z in logits] == [(1, 2, 16, 16)] * 4
    assert torch.equal(logits[0], view.logits)
    blocks = logits[2].unfold(2, 4, 4).unfold(3, 4, 4)
    assert torch.equal(blocks.amax((-1, -2)), blocks.amin((-1, -2)))


@pytest.mark.parametrize("decoders", [2, 3])
def test_mc_net_learns_from_detached_sharp_predictions(decoders: int) -> None:
    """Mean over ordered pairs; in the public code's form a sum whose targets take gradient."""
    data = batch()
    method = make(MCNet, values={"weight": 1.0, "decoders": decoders, "temperature": 0.5})
    z = [view.logits for view in method.student.outputs(data.images)]
    pairs = [(a, b) for a in range(decoders) for b in range(decoders) if a != b]
    squared = [(z[a].softmax(1) - (2 * z[b].detach()).softmax(1)).square().mean() for a, b in pairs]
    term = method.losses(data, END)["consistency"]
    torch.testing.assert_close(term, torch.stack(squared).mean(), rtol=0.02, atol=0)
    own = torch.autograd.grad(term, method.student.slope)[0]
    detached = torch.autograd.grad(torch.stack(squared).mean(), method.student.slope)[0]
    torch.testing.assert_close(own, detached, rtol=0.02, atol=1e-6)
    literal = make(MCNet, values={"preset": "mc_net_code", "decoders": decoders})
    ratio = literal.losses(data, END)["supervised"] / decoders
    assert 0 < ratio.item() < 1  # a sum of Dice losses


def test_fgsm_and_virtual_adversarial_directions() -> None:
    image = torch.zeros(2, 1, 2, 2, requires_grad=True)
    weight = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    attacked = fgsm(image, (image * weight).sum(), epsilon=0.1)
    assert torch.allclose(attacked[0, 0], torch.tensor([[0.1, -0.1], [0.0, 0.1]]))
    assert not attacked.requires_grad
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


def test_dct_agreement_and_cross_examples() -> None:
    """Without a step, the view difference is the cross-entropy between the networks."""
    data = batch()
    method = make(DCT, values={"weight_cot": 1.0, "weight_dif": 1.0, "epsilon": 0.0})
    terms = method.losses(data, END)
    z_1, z_2 = method.net_1(data.images), method.net_2(data.images)
    p_1, p_2 = z_1.softmax(1), z_2.softmax(1)
    cross = -(p_1 * p_2.log()).sum(1).mean() - (p_2 * p_1.log()).sum(1).mean()
    torch.testing.assert_close(terms["difference"], cross, rtol=0.02, atol=0)
    js = jensen_shannon(p_1[2:], p_2[2:]).mean()
    torch.testing.assert_close(terms["agreement"], js, rtol=0.02, atol=0)
    attacked = make(DCT, values={"weight_dif": 1.0, "epsilon": 0.5}).losses(data, END)
    assert attacked["difference"] > terms["difference"]


def test_dan_trains_one_side_by_each_term() -> None:
    method, data = make(DAN, values={"weight": 1.0, "width": 4}), batch(size=16)
    terms = method.losses(data, END)
    assert _grads(method, terms["adversarial"]) == {"student.slope", "student.offset"}
    assert all(n.startswith("discriminator") for n in _grads(method, terms["discriminator"]))
    verdict = method.discriminator(method.predict(data.unlabeled).softmax(1), data.unlabeled)
    fooled = -verdict.log_softmax(1)[:, 1].mean()
    torch.testing.assert_close(terms["adversarial"], fooled, rtol=0.02, atol=0)


def test_ad_mt_teachers_follow_in_turns() -> None:
    method = make(ADMT, values={"period": 0.1})
    turns = [method.turn(type(END)(step, 100)) for step in (0, 9, 10, 19, 20)]
    assert turns == [0, 0, 1, 1, 0]
    with torch.no_grad():
        method.student.slope.add_(1)
    before = [t.slope.clone() for t in (method.teacher_1, method.teacher_2)]
    method.after_step(type(END)(15, 100))
    assert torch.equal(method.teacher_1.slope, before[0])
    assert not torch.equal(method.teacher_2.slope, before[1])


def test_ad_mt_counts_conflicting_pixels_by_their_weight() -> None:
    """Equal teachers never conflict; with weight 0, conflicting pixels teach nothing."""
    data = batch()
    method = make(ADMT, values={"threshold": 0.0, "conflict": 0.0, "period": 1.0})
    method.losses(data, END)
    assert method.take_observed()["conflict_share"].item() == 0
    with torch.no_grad():
        method.teacher_2.offset[0, 0] += 1
    torch.manual_seed(0)
    without = method.losses(data, END)["pseudo"]
    share = method.take_observed()["conflict_share"].item()
    assert 0 < share < 1
    other = make(ADMT, values={"threshold": 0.0, "conflict": 1.0, "period": 1.0})
    other.load_state_dict(method.state_dict())
    torch.manual_seed(0)
    assert other.losses(data, END)["pseudo"] > without
