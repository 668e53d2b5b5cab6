"""SDCL: losses and gradient of the published formulas, what is mixed, stages, who is tested."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.base import Batch, Progress
from methods.blocks.components import largest_components
from methods.blocks.copy_paste import region_loss
from methods.sdcl import SDCL, SDCLParams
from tests.methods.fixed import mixed, striped
from tests.pixel_net import END, RAMP, batch, make

START = Progress(0, 1000)


class Fixed(nn.Module):
    """Gives its logits to any image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, _: Tensor) -> Tensor:
        return self.logits


def test_terms_of_a_view_are_the_published_ones() -> None:
    """`code/ACDC_train.py`: 179-296 at cfb260f, 4 classes; outside the box are pseudo-labels.

    Sums of both students: 1.3318529 + 1.5107542 on true labels, 2.0701661 + 2.2027284 in all,
    0.1847276 + 0.1920323 and 1.6836722 + 1.7552830 for the distance and the entropy.
    """
    method = make(SDCL, classes=4)
    method.student = Fixed(3 * mixed(2, 4, 6, 6, seed=1))
    method.student_2 = Fixed(3 * mixed(2, 4, 6, 6, seed=2))
    pseudo = striped(2, 6, 6, up=5, down=4, classes=4)
    true = torch.zeros(2, 6, 6, dtype=torch.bool)
    true[:, 1:5, 2:6] = True
    label = torch.where(true, striped(2, 6, 6, up=3, down=7, classes=4), pseudo)
    found = method.of_view(torch.zeros(2, 1, 6, 6), label, true, alpha=0.5)
    expected = {
        "supervised": 1.3318529 + 1.5107542,
        "pseudo": 2.0701661 + 2.2027284 - 1.3318529 - 1.5107542,
        "review": 0.5 * (0.1847276 + 0.1920323),
        "rectify": 0.05 * (1.6836722 + 1.7552830),
        "differ": 53,
    }
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, abs=2e-5), name
    terms = [found[name] for name in ("supervised", "pseudo", "review", "rectify")]
    (grad,) = torch.autograd.grad(torch.stack(terms).sum(), method.student.logits)
    head = [-0.0064850, 0.0003588, 0.0065440, 0.0011072]
    torch.testing.assert_close(grad.flatten()[:4], torch.tensor(head), rtol=0, atol=2e-6)
    assert grad.abs().sum().item() == pytest.approx(1.3886886, abs=1e-4)


def test_students_that_agree_have_nothing_to_correct() -> None:
    method, data = make(SDCL), batch(labeled=2, unlabeled=2)
    method.student_2.load_state_dict(method.student.state_dict())
    terms = method.losses(data, END)
    assert terms["review"].item() == terms["rectify"].item() == 0
    assert {name: n.item() for name, n in method.take_acted().items()} == {
        "review": 0,
        "rectify": 0,
    }
    terms["rectify"].backward()  # a graph all the same


def views_of(method: Any, *args: Any) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Images of every pass of student 2, and the terms."""
    seen: list[Tensor] = []
    handle = method.student_2.register_forward_pre_hook(lambda _, a: seen.append(a[0][:, 0]))
    terms = method.losses(*args)
    handle.remove()
    return seen, terms


def test_views_and_their_labels_are_those_of_copy_paste() -> None:
    """Labelled images are positive, unlabelled ones negative, apart from their noise."""
    data = batch(labeled=4, unlabeled=4, size=12)
    data.image.abs_().add_(1)
    data.unlabeled.abs_().add_(1).neg_()
    method = make(SDCL)
    (inward, outward), terms = views_of(method, data, END)
    for view, inside in ((inward, 1), (outward, -1)):
        assert ((view.sign() == inside).flatten(1).sum(1) == 64).all()  # boxes of 8 x 8
    pseudo = largest_components(method.teacher(data.unlabeled).argmax(1), classes=3)
    expected = torch.zeros(())
    for view, y, u in ((inward, data.label[:2], pseudo[:2]), (outward, data.label[2:], pseudo[2:])):
        true = view > 0
        for net in (method.student, method.student_2):
            expected = expected + region_loss(net(view[:, None]), torch.where(true, y, u), true)
    torch.testing.assert_close(terms["supervised"], expected)


def test_pseudo_labels_are_the_teachers_of_the_pasted_image() -> None:
    """Of images that are -1 or 1 all over: class 1 or 2 for the teacher, 2 or 1 for the students.

    Labelled images are 3, so that both are told apart where they are mixed.
    """
    sign = torch.tensor([-1.0, 1.0, 1.0, -1.0]).view(4, 1, 1, 1)
    data = Batch(
        torch.full((4, 1, 12, 12), 3.0), batch(labeled=4, size=12).label, sign.expand(4, 1, 12, 12)
    )
    method = make(SDCL)
    with torch.no_grad():
        for net, way in ((method.student, 1.0), (method.student_2, 0.5), (method.teacher, -1.0)):
            net.slope.copy_(way * torch.tensor([[0.0, 2.0, -2.0]]))
            net.offset.copy_(torch.tensor([-9.0, 0.0, 0.0]))
    views, terms = views_of(method, data, END)
    expected = torch.zeros(())
    for view in views:
        pseudo = view < 2
        label = torch.where(view == 1, 2, 1)
        for net in (method.student, method.student_2):
            expected = expected + 0.5 * RAMP * region_loss(net(view[:, None]), label, pseudo)
    torch.testing.assert_close(terms["pseudo"], expected)


def test_first_stage_trains_both_students_on_labels_alone() -> None:
    """`code/ACDC_train.py`: 350-362: one mix of labelled halves, both parts in full."""
    data, method = batch(labeled=4, unlabeled=2, size=12), make(SDCL)
    (image,), terms = views_of(method, data, START)
    assert set(terms) == {"supervised"} and len(image) == 2
    pasted = image == data.image[2:, 0]
    label = torch.where(pasted, data.label[2:], data.label[:2])
    parts = [
        region_loss(net(image[:, None]), label, region)
        for net in (method.student, method.student_2)
        for region in (pasted, ~pasted)
    ]
    torch.testing.assert_close(terms["supervised"], torch.stack(parts).sum())


def test_teacher_follows_student_1_alone_which_is_tested() -> None:
    method = make(SDCL)
    with torch.no_grad():
        method.student.slope.fill_(0.0)
        method.student_2.slope.fill_(5.0)
        for step, start, kept in ((0, 1.0, 0.0), (199, 1.0, 0.0), (200, 1.0, 0.99)):
            method.teacher.slope.fill_(start)
            method.after_step(Progress(step, 1000))
            assert method.teacher.slope.unique().item() == pytest.approx(kept)
    x = batch().image
    assert torch.equal(method.predict(x), method.student(x))
    assert set(method.companions()) == {"teacher", "student_2"}


def test_published_values() -> None:
    """`ACDC_train.py`: 50, 343, 476, 531-535; `LA_train.py`: 56, 225, 333, 387-391."""
    for ndim, share in ((2, 100 / 500), (3, 80 / 355)):
        p = SDCLParams.model_validate(SDCLParams.block({}, ndim))
        assert (p.weight, p.weight_review, p.weight_rectify) == (0.5, 0.5, 0.05)
        assert p.pretrain == share
