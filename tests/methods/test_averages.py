"""Averaged predictions: of two decoders, of student and teacher, of passes, of scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest
import torch
from torch import Tensor

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.base import Progress
from methods.blocks import averages
from methods.blocks.averages import (
    AverageKind,
    DualDecoder,
    McPasses,
    MultiScale,
    TeacherAverage,
    averager,
)
from methods.blocks.contrast import Contrasted
from methods.blocks.contrast_facts import term_facts
from methods.blocks.divergence import soft_cross_entropy
from methods.networks import Architecture, Decoder, SegNet
from tests.pixel_net import PixelNet, batch


def made(kind: AverageKind) -> averages.Averager:
    """On pixel networks, the n-th with the values of seed n, or on U-Nets for several scales."""
    built: list[PixelNet] = []

    def build(
        *, decoders: int | Sequence[Decoder] = 1, architecture: Architecture = "configured"
    ) -> SegNet:
        del architecture
        built.append(PixelNet(2 if decoders == 2 else 1, 3, len(built)))
        return built[-1]

    unet = Builder(UNetConfig(channels=(4, 8, 8, 8)), ndim=2, in_channels=1, classes=3, seed=0)
    source = unet if kind == "multi_scale" else build
    return averager(kind, source, passes=2, classes=3, ndim=2).train()


def squares(p: Tensor, q: Tensor) -> Tensor:
    return (p - q).square().mean()


@pytest.mark.parametrize("kind", get_args(AverageKind))
def test_every_kind_has_its_network_and_a_mean_without_gradient(kind: AverageKind) -> None:
    wanted = {
        "dual_decoder": DualDecoder, "student_teacher": TeacherAverage, "mc_passes": McPasses,
        "multi_scale": MultiScale,
    }  # fmt: skip
    network, data = made(kind), batch(size=16)
    assert type(network) is wanted[kind]
    found = network(data)
    assert not found.mean.requires_grad and found.consistency.requires_grad
    torch.testing.assert_close(found.mean.sum(1), torch.ones(5, 16, 16))


def test_two_decoders_and_their_difference_on_unlabeled_images() -> None:
    network, data = made("dual_decoder"), batch()
    found = network(data)
    p, q = (network.student.decode([data.images], n).logits.softmax(1) for n in (0, 1))
    torch.testing.assert_close(found.mean, (p + q) / 2)
    torch.testing.assert_close(found.consistency, squares(p[2:], q[2:]))
    assert len(found.trained) == 2


def other_teacher(network: averages.Averager) -> tuple[PixelNet, PixelNet]:
    """Student and teacher, which is given values of its own."""
    student, teacher = network.student, network.teacher
    assert isinstance(student, PixelNet) and isinstance(teacher, PixelNet)
    with torch.no_grad():
        teacher.slope.neg_()
    return student, teacher


def test_student_and_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averages, "gaussian_noise", lambda x, **_: x + 1)
    network, data = made("student_teacher"), batch()
    student, teacher = other_teacher(network)
    found = network(data)
    p, q = student(data.images).softmax(1), teacher(data.images + 1).softmax(1)
    torch.testing.assert_close(found.mean, (p + q) / 2)
    torch.testing.assert_close(found.consistency, squares(p[2:], q[2:]))
    assert not teacher.training and network.companions() == {"teacher": teacher}


def test_passes_of_the_teacher_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images are five, seen twice, each time with noise of its own."""
    noise = torch.arange(10.0).view(-1, 1, 1, 1)
    monkeypatch.setattr(averages, "gaussian_noise", lambda x, **_: x + noise)
    network, data = made("mc_passes"), batch()
    student, teacher = other_teacher(network)
    teacher.eval()  # its dropout and batch norm have to be those of training all the same
    found = network(data)
    seen = [teacher(data.images + part).softmax(1) for part in noise.chunk(2)]
    torch.testing.assert_close(found.mean, (seen[0] + seen[1]) / 2)
    p = student(data.images).softmax(1)
    torch.testing.assert_close(found.consistency, squares(p[2:], found.mean[2:]))
    assert teacher.training


@pytest.mark.parametrize("kind", ["student_teacher", "mc_passes"])
def test_the_teacher_starts_as_a_copy_and_follows(kind: AverageKind) -> None:
    network = made(kind)
    student, teacher = network.student, network.teacher
    assert isinstance(student, PixelNet) and isinstance(teacher, PixelNet)
    assert torch.equal(student.slope, teacher.slope) and not teacher.slope.requires_grad
    with torch.no_grad():
        student.slope.fill_(1.0)
        teacher.slope.fill_(0.0)
    network.after_step(Progress(500, 1000))
    torch.testing.assert_close(teacher.slope, torch.full_like(teacher.slope, 0.01))


def test_a_term_is_inert_where_no_anchor_counts() -> None:
    for anchors, inert in ((0, 1.0), (7, 0.0)):
        term = Contrasted(*(torch.tensor(float(v)) for v in (1, anchors, 2, 0.25)))
        assert {k: v.item() for k, v in term_facts("low", term).items()} == {
            "anchors_low": anchors, "classes_low": 2, "skipped_low": 0.25, "inert_low": inert,
        }  # fmt: skip


def test_cross_entropy_with_a_probability_by_hand() -> None:
    """Of (1/4, 3/4) and (1/2, 1/2) in one pixel, and of (1, 0) and (1/2, 1/2) in another: ln 2."""
    target = torch.tensor([[[0.25, 1.0], [0.75, 0.0]]])
    value = soft_cross_entropy(target, torch.zeros(1, 2, 2))
    torch.testing.assert_close(value, torch.tensor(2.0).log())
