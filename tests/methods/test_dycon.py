"""DyCON: outputs and gradients of its published losses, and whose labels its contrast reads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.base import OracleBatch, Progress
from methods.blocks.losses import supervised_loss
from methods.dycon import (
    DyCON,
    DyCONParams,
    cross_contrast,
    focal_contrast,
    least_at,
    uncertain_consistency,
)
from methods.dycon_oracle import DyCONOracle
from tests.methods.fixed import mixed, striped, wave
from tests.pixel_net import END, RAMP, batch, make


@pytest.mark.parametrize(
    ("beta", "loss", "size", "first"),
    [
        (5.0, 7.6744027, 2.5636930, [0.0010110767, -0.0121187642, 0.0063753147]),
        (0.5, 0.9309225, 0.1825830, [-0.0009507470, 0.0001555542, 0.0003877575]),
    ],
)
def test_published_uncl(beta: float, loss: float, size: float, first: list[float]) -> None:
    """`UnCLoss` of github.com/KU-CVML/DyCON at 69c1384, `dycon_losses.py:94-118`, and gradient."""
    student = wave(2, 3, 4, 4, 4, phase=0.4, scale=1.2).requires_grad_()
    target = wave(2, 3, 4, 4, 4, phase=2.0, scale=1.5).softmax(1)
    value = uncertain_consistency(student.softmax(1), target, beta)
    (grad,) = torch.autograd.grad(value, student)
    assert value.item() == pytest.approx(loss, abs=5e-5)
    assert grad.abs().sum().item() == pytest.approx(size, rel=1e-3)
    torch.testing.assert_close(grad.flatten()[:3], torch.tensor(first), rtol=1e-3, atol=1e-6)


def patches() -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of student and teacher, and labels of 12 patches of two images.

    Every patch has a twin, so that the maxima the code subtracts are equal and change nothing.
    """
    z = torch.cat([F.normalize(mixed(2, 6, 5, seed=2), dim=-1)] * 2, 1)
    z_t = F.normalize(mixed(2, 12, 5, seed=7) + 0.8 * z, dim=-1)
    return z.requires_grad_(), z_t, striped(2, 12, up=5, down=4, classes=2)


@pytest.mark.parametrize(
    ("least", "cross", "first"),
    [
        (0.3 + 0.2 * 0.006737947, 1.1554666, [0.1174653, 0.3115938, -0.2449927, 0.3050993]),
        (0.5, 1.4459314, [0.1705174, 0.4365389, -0.3571445, 0.4497334]),
    ],
)
def test_published_fecl(least: float, cross: float, first: list[float]) -> None:
    """`FeCLoss` there, `dycon_losses.py:150-235`, at its first and last threshold, and gradient."""
    z, z_t, label = patches()
    focal, used = focal_contrast(z, label, temperature=0.6, gamma=2.0)
    hard, pairs = cross_contrast(z, z_t, label, least=least)
    (grad,) = torch.autograd.grad(focal + hard, z)
    assert focal.item() == pytest.approx(1.8073139, abs=1e-5)
    assert hard.item() == pytest.approx(cross, abs=1e-5)
    torch.testing.assert_close(grad.flatten()[:4], torch.tensor(first), rtol=1e-4, atol=1e-6)
    s, other = z @ z_t.mT, label[:, :, None] != label[:, None]
    assert pairs.item() == (other & (s > least)).sum().item() > 0
    assert used.item() == 24
    plain, _ = focal_contrast(z, label, temperature=0.6, gamma=0.0)
    assert plain.item() == pytest.approx(2.2455099, abs=1e-5)


def test_patches_of_one_class_have_nothing_to_contrast() -> None:
    z, z_t, label = patches()
    label = torch.zeros_like(label)
    focal, used = focal_contrast(z, label, temperature=0.6, gamma=2.0)
    hard, pairs = cross_contrast(z, z_t, label, least=0.3)
    (grad,) = torch.autograd.grad(focal + hard, z)
    assert (focal.item(), used.item(), hard.item(), pairs.item()) == (0, 0, 0, 0)
    assert not grad.any()


def test_equal_embeddings_of_two_classes_give_a_finite_loss() -> None:
    z = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]).requires_grad_()
    hard, _ = cross_contrast(z, z.detach(), torch.tensor([[0, 1]]), least=0.5)
    (grad,) = torch.autograd.grad(hard, z)
    assert hard.isfinite() and grad.isfinite().all()


@pytest.mark.parametrize(("step", "beta"), [(0, 5.0), (500, 1.5811388)])
def test_beta_falls_from_5_to_a_half(step: int, beta: float) -> None:
    """`adaptive_beta`, `dycon_losses.py:8-12`; UnCL is over all images, at the weight 0.5."""
    data, method = batch(), make(DyCON, values={"noise": 0.0})
    with torch.no_grad():
        method.teacher.slope.mul_(0.5)
    p, q = (net(data.images).softmax(1) for net in (method.student, method.teacher))
    terms = method.losses(data, Progress(step, 1000))
    expected = 0.5 * uncertain_consistency(p, q, beta)
    torch.testing.assert_close(terms["uncertainty"], expected, rtol=1e-5, atol=0)


def test_the_contrast_reads_the_teachers_classes_of_unlabeled_images() -> None:
    """With a teacher that sees one class there are no negatives, whatever the labels are."""
    data, method = batch(size=16), make(DyCON)
    with torch.no_grad():
        method.teacher.slope.zero_()
        method.teacher.offset.copy_(torch.tensor([0.0, 9.0, 0.0]))
    terms = method.losses(data, Progress(0, 1000))
    assert terms["contrast"].item() == terms["cross"].item() == 0
    assert {k: v.item() for k, v in method.take_acted().items()} == {"contrast": 0, "cross": 0}
    with torch.no_grad():
        method.teacher.slope.copy_(torch.tensor([0.0, -9.0, 9.0]))
        method.teacher.offset.zero_()
    method.losses(data, Progress(0, 1000))
    assert method.take_acted()["contrast"].item() > 0


@pytest.mark.parametrize(
    ("step", "least"), [(0, 0.3013476), (225, 0.3573010), (450, 0.5), (900, 0.5)]
)
def test_least_similarity_rises_from_0_3_to_a_half(step: int, least: float) -> None:
    """`sigmoid_rampup`, `dycon_losses.py:28-48`: 0.3 + 0.2 e^{-5 (1 - f)^2}, f = t / (0.45 T)."""
    assert least_at(Progress(step, 1000)) == pytest.approx(least, abs=1e-7)


def test_targets_are_those_of_the_teacher_on_the_same_image() -> None:
    """All terms but UnCL; a patch has its class at the centre of a cell of four by four pixels."""
    data, method = batch(size=16), make(DyCON, values={"noise": 0.0, "dim": 4})
    with torch.no_grad():
        method.teacher.slope.mul_(-1)
    z, logits = method.seen(method.student, method.head, data.images)
    z_t, logits_t = method.seen(method.teacher, method.teacher_head, data.images)
    p, q = (v[2:].softmax(1) for v in (logits, logits_t))
    label = q.argmax(1)[:, 2::4, 2::4].flatten(1)
    rows, rows_t = (v[2:].flatten(2).mT for v in (z, z_t))
    expected = {
        "supervised": 2 * supervised_loss(logits[:2], data.label),
        "consistency": 0.1 * RAMP * (p - q).square().mean(),
        "contrast": 0.5 * focal_contrast(rows, label, temperature=0.6, gamma=2.0)[0],
        "cross": 0.5 * cross_contrast(rows, rows_t, label, least=0.5)[0],
    }
    terms = method.losses(data, END)
    for name, value in expected.items():
        assert value > 0, name
        torch.testing.assert_close(terms[name], value, msg=name)


def test_the_teacher_starts_as_a_copy_of_network_and_projection() -> None:
    build = Builder(UNetConfig(channels=(4, 6, 8, 10)), ndim=2, in_channels=1, classes=3, seed=0)
    method = DyCON(build, DyCONParams(dim=4), classes=3, ndim=2).eval()
    image = batch(size=16).images
    own, copy = (
        method.seen(net, head, image)
        for net, head in ((method.student, method.head), (method.teacher, method.teacher_head))
    )
    assert own[0].shape == (5, 4, 4, 4)
    assert torch.equal(own[0], copy[0]) and torch.equal(own[1], copy[1])


def test_teachers_projection_follows() -> None:
    method = make(DyCON, values={"decay": 0.75, "dim": 4})
    own, new = (h.get_parameter("layers.0.weight") for h in (method.teacher_head, method.head))
    new.data.fill_(1.0)
    own.data.fill_(0.0)
    method.after_step(Progress(9, 1000))
    torch.testing.assert_close(own, torch.full_like(own, 0.25))
    assert not own.requires_grad


def test_published_values() -> None:
    """`train_DyCON_BraTS19.py:44-56`, run by `run_brats19.sh` with these."""
    p = DyCONParams()
    assert (p.weight, p.weight_dycon, p.decay, p.noise, p.clip) == (0.1, 0.5, 0.99, 0.1, 0.2)
    assert (p.beta_max, p.beta_min, p.gamma, p.temperature, p.dim) == (5.0, 0.5, 2.0, 0.6, 256)


def test_the_oracle_takes_true_classes_in_place_of_the_teachers() -> None:
    """`train_DyCON_BraTS19.py:226-251`: contrasts go by the true label; the rest is equal."""
    data, values = batch(size=16), dict[str, object](noise=0.0, dim=4)
    usual, oracle = make(DyCON, values=values), make(DyCONOracle, values=values)
    with torch.no_grad():  # so that it is told from the student
        usual.teacher.slope.mul_(-1)
        oracle.teacher.slope.mul_(-1)
    teachers = usual.teacher(data.unlabeled).argmax(1)
    parts = data.image, data.label, data.unlabeled
    same = oracle.losses(OracleBatch(*parts, teachers), END)
    expected = usual.losses(data, END)
    assert {k: v.item() for k, v in same.items()} == {k: v.item() for k, v in expected.items()}
    z, _ = oracle.seen(oracle.student, oracle.head, data.images)
    truth = (torch.arange(16) // 4 % 3).expand(3, 16, 16)
    label = truth[:, 2::4, 2::4].flatten(1)
    contrast, _ = focal_contrast(z[2:].flatten(2).mT, label, temperature=0.6, gamma=2.0)
    found = oracle.losses(OracleBatch(*parts, truth), END)
    torch.testing.assert_close(found["contrast"], 0.5 * contrast)
    assert found["contrast"] != same["contrast"] and found["uncertainty"] == same["uncertainty"]
    with pytest.raises(TypeError, match="OracleBatch"):
        oracle.losses(data, END)
