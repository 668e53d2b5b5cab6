"""AC-MT: the published loss on fixed logits, its ways to find ambiguous pixels one by one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from methods.ac_mt import ACMT, ACMTParams
from methods.base import Progress
from methods.blocks.ambiguity import label_issues, off_prototype
from tests.methods.fixed import mixed, wave
from tests.methods.given_net import GivenNet, blank
from tests.pixel_net import END, batch, make


def fixed_method(student: Tensor, teacher: Tensor, **values: object) -> ACMT:
    """On images for which student and teacher give fixed logits (N, K, *S); full weight 1."""
    given = {"weight": 1.0, "ramp": 1e-9, **values}
    method = ACMT(
        lambda **_: GivenNet(student),
        ACMTParams.model_validate(given),
        classes=student.shape[1],
        ndim=student.ndim - 2,
    )
    method.teacher = GivenNet(teacher).requires_grad_(False)
    return method


@pytest.mark.parametrize(
    ("step", "loss", "share"),
    [
        (0, 0.1984080766, 0.4453125),
        (4000, 0.1984952291, 0.375),
        (7999, 0.1835562457, 0.1796875),
    ],
)
def test_published_code(step: int, loss: float, share: float) -> None:
    """Outputs of github.com/lemoshu/AC-MT at 62c7702, `train_ACMT_Ent_3D.py:175-186`, K = 2."""
    student, teacher = (
        wave(2, 2, 4, 4, 4, phase=0.4, scale=1.2),
        wave(2, 2, 4, 4, 4, phase=2.0, scale=1.5),
    )
    method = fixed_method(student, teacher)
    data = blank(2, 2, torch.zeros(2, 4, 4, 4, dtype=torch.int64))
    t = Progress(step, 8000)
    term = method.losses(data, t)["consistency"] / method.params.weight_at(t)
    assert term.item() == pytest.approx(loss, abs=1e-6)
    assert method.take_observed()["ambiguous_share"].item() == share
    assert method.take_acted()["consistency"].item() == share * 128


def test_published_code_of_the_uncertainty() -> None:
    """`train_ACMT_MU_3D.py:168-184` at 62c7702: its mask has one channel, so classes are summed.

    Passes alike with H = ln 2 above .9 ln 2 in one pixel of two; (.5 - .9)^2 + (.5 - .1)^2 = .32.
    """
    p = torch.tensor([[0.5, 0.99], [0.5, 0.01]])[None, :, None]
    q = torch.tensor([[0.9, 0.1], [0.1, 0.9]])[None, :, None]
    method = fixed_method(p.log(), q.log(), preset="uncertainty", passes=2)
    data = blank(1, 1, torch.zeros(1, 1, 2, dtype=torch.int64))
    term = method.losses(data, END)["consistency"]
    assert term.item() == pytest.approx(0.32, rel=1e-5)


def test_a_tie_of_two_classes_is_ambiguous_for_any_number_of_classes() -> None:
    """H of (.5, .5, 0, 0) is ln 2, of (.8, .2, 0, 0) .50 = .72 ln 2; tau is .95 at the end.

    Consistency of the first pixel alone: ((.5 - .9)^2 + (.5 - .1)^2) / 4 = .08.
    """
    tiny = 1e-9
    p = torch.tensor([[0.5, 0.8], [0.5, 0.2], [tiny, tiny], [tiny, tiny]])[None, :, None]
    q = torch.tensor([[0.9, 0.1], [0.1, 0.9], [tiny, tiny], [tiny, tiny]])[None, :, None]
    data = blank(1, 1, torch.zeros(1, 1, 2, dtype=torch.int64))
    term = fixed_method(p.log(), q.log()).losses(data, END)["consistency"]
    assert term.item() == pytest.approx(0.08, rel=1e-4)
    none = fixed_method(p.log(), q.log(), first=1.0, last=1.0).losses(data, END)["consistency"]
    both = fixed_method(p.log(), q.log(), first=0.7, last=0.7).losses(data, END)["consistency"]
    assert none.item() in (0.0, pytest.approx(0.08, rel=1e-4))  # rounding decides a tie
    assert both.item() == pytest.approx((0.08 + 2 * 0.49 / 4) / 2, rel=1e-4)


def test_confident_learning_equals_cleanlab() -> None:
    """`find_label_issues(..., filter_by="both")` of cleanlab 2.7.1.

    24 of 28 labels that differ from the teacher; then 20 of 27, where both rules call more wrong.
    """
    g = mixed(120, 3, seed=4) * 2
    label = (mixed(120, 3, seed=9) + g).argmax(1)
    found = label_issues(label.view(2, 60), g.softmax(1).view(2, 60, 3).mT)
    expected = [2, 6, 9, 17, 19, 27, 29, 31, 35, 39, 40, 43, 45, 50, 51, 61, 69, 72, 73, 96, 103]
    expected += [107, 110, 118]
    assert found.flatten().nonzero().flatten().tolist() == expected
    g = mixed(60, 3, seed=1) * torch.tensor([2, 1, 1]) + torch.tensor([1, 0, 0])
    label = (mixed(60, 3, seed=16) + 0.3 * g).argmax(1)
    found = label_issues(label[None], g.softmax(1).mT[None])
    expected = [0, 4, 6, 13, 16, 19, 21, 22, 23, 25, 27, 29, 33, 37, 45, 47, 50, 53, 55, 57]
    assert found.flatten().nonzero().flatten().tolist() == expected


def test_confident_learning_where_no_label_of_a_class_is_confident() -> None:
    """Three labels of class 2, whose pixels the teacher calls 0; the same of cleanlab 2.7.1."""
    g = mixed(60, 3, seed=5) * torch.tensor([2, 1, 1]) + torch.tensor([1, 0, 0])
    label = (mixed(60, 3, seed=105) + g).argmax(1) % 2
    label[(g.argmax(1) == 0).nonzero()[:3]] = 2
    found = label_issues(label[None], g.softmax(1).mT[None])
    expected = [1, 4, 7, 9, 13, 19, 21, 22, 27, 29, 30, 41, 45, 47, 48, 57]
    assert found.flatten().nonzero().flatten().tolist() == expected


def test_confident_learning_takes_all_pixels_where_a_class_has_no_label() -> None:
    """As `train_ACMT_SErr_3D_cl2.py:200-202` does where cleanlab fails, as it then does."""
    p = wave(2, 3, 4, 4, scale=0.1).softmax(1)
    label = torch.zeros(2, 4, 4, dtype=torch.int64)
    assert label_issues(label, p).all()
    label[0, 0, 0] = 1
    assert label_issues(label, p).all()
    label[0, 0, 1] = 2
    assert not label_issues(label, p).all()


def test_published_prototypes() -> None:
    """`getPrototype`, `calDist` and the masks of `train_ACMT_PErr_3D.py:88-105,206-236`."""
    p = wave(2, 2, 4, 4, 4, phase=1.3, scale=1.4).softmax(1)
    label = wave(2, 2, 4, 4, 4, phase=0.1).argmax(1)
    certain = mixed(2, 2, 4, 4, 4, seed=3) < 0.6
    found = off_prototype(label, wave(2, 3, 4, 4, 4, phase=0.9), p, certain)
    assert found.sum().item() == 49
    first = [0, 2, 7, 9, 11, 13, 15, 20, 22, 24, 26, 28, 31, 33, 35, 37, 39]
    assert found.flatten()[:40].nonzero().flatten().tolist() == first


def test_a_class_without_certain_pixels_has_no_prototype() -> None:
    p = torch.tensor([0.2, 0.8])[None, :, None, None].expand(1, 2, 2, 2)
    label = torch.tensor([[[0, 1], [1, 1]]])
    found = off_prototype(label, torch.zeros(1, 1, 1, 1), p, torch.ones_like(p, dtype=torch.bool))
    assert found.tolist() == [[[True, False], [False, False]]]


@pytest.mark.parametrize("select", ["confident_learning", "prototype"])
def test_a_label_is_compared_with_the_teachers_classes_of_its_own_image(select: str) -> None:
    """Probabilities .9 and .1; student and teacher differ in one pixel of the second image.

    Consistency there ((.9 - .1)^2 + (.1 - .9)^2) / 2 = .64, and 0 in the others.
    """
    p = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    seen, true = (
        torch.tensor([[0, 0, 0, 1], [1, 1, 0, 0]]),
        torch.tensor([[0, 0, 0, 1], [1, 1, 1, 0]]),
    )
    student, teacher = (p[label].log().mT[:, :, None] for label in (seen, true))
    method = fixed_method(student, teacher, select=select, passes=2)
    data = blank(2, 2, torch.zeros(2, 1, 4, dtype=torch.int64))
    found = method.ambiguous(student.softmax(1), data.unlabeled, END)
    assert found.nonzero().tolist() == [[1, 0, 2]]
    assert method.losses(data, END)["consistency"].item() == pytest.approx(0.64, rel=1e-5)


@pytest.mark.parametrize(("second", "off"), [(1.0, []), (2.0, [[0, 0, 1]])])
def test_steady_pixels_alone_make_prototypes(second: float, off: list[list[int]]) -> None:
    """`train_ACMT_PErr_3D.py:200-206`: deviation of sigmoid(z / 2) below 0.1.

    Of two passes with 0 and 1 it is (.6225 - .5) / sqrt 2 = .087, with 0 and 2 .163. Then class 1
    has no prototype, and its pixel is nearest to that of class 0.
    """
    first = torch.tensor([[2.0, -3.0], [-2.0, 0.0]])
    passes = torch.stack([first, torch.tensor([[2.0, -3.0], [-2.0, second]])])[:, :, None]
    method = fixed_method(passes, passes, select="prototype", passes=2)
    found = method.off_prototype(torch.tensor([[[0, 1]]]), torch.zeros(1, 1, 1, 2))
    assert found.nonzero().tolist() == off


def test_uncertainty_is_that_of_the_mean_of_the_students_passes() -> None:
    """Passes (.9, .1) and (.1, .9) are each certain, their mean is a tie."""
    p = torch.tensor([[[[0.9]], [[0.1]]], [[[0.1]], [[0.9]]]])
    data = blank(1, 1, torch.zeros(1, 1, 1, dtype=torch.int64))
    for select, expected in (("entropy", 0), ("uncertainty", 1)):
        method = fixed_method(p.log(), p[:1].log(), select=select, passes=2)
        assert method.ambiguous(p[1:], data.unlabeled, END).sum().item() == expected


def test_passes_leave_the_students_statistics_alone() -> None:
    method = make(ACMT, values={"select": "uncertainty", "passes": 2})
    norm = nn.BatchNorm2d(1)
    method.student.encode = lambda image: [norm(image)]
    method.student.add_module("norm", norm)
    method.mean_pass(batch().unlabeled)
    assert norm.num_batches_tracked is not None and norm.num_batches_tracked.item() == 0


@pytest.mark.parametrize("select", ["entropy", "uncertainty", "confident_learning", "prototype"])
def test_the_term_is_the_mean_over_ambiguous_pixels(select: str) -> None:
    data = batch(size=16)
    values = {"weight": 1.0, "select": select, "passes": 2, "noise": 0.0, "first": 0.5, "last": 0.5}
    method = make(ACMT, values=values)
    with torch.no_grad():
        if select == "confident_learning":  # which needs labels of every class
            for net in (method.student, method.teacher):
                net.slope.copy_(torch.tensor([-1.0, 0.0, 1.0]).view_as(net.slope))
                net.offset.copy_(torch.tensor([0.0, 0.2, 0.0]).view_as(net.offset))
        method.teacher.offset.add_(torch.tensor([1.0, -1.0, 0.5]))
        # Labels are issues only where the teacher is surer of another class than elsewhere.
        method.teacher.slope.mul_(-1 if select == "confident_learning" else 1)
    p, q = (net(data.unlabeled).softmax(1) for net in (method.student, method.teacher))
    chosen = method.ambiguous(p.detach(), data.unlabeled, END)
    assert 0 < chosen.float().mean().item() < 1
    squared = (p - q).square()
    squared = squared.sum(1) if select == "uncertainty" else squared.mean(1)
    expected = squared[chosen].mean()
    torch.testing.assert_close(method.losses(data, END)["consistency"], expected, rtol=0.02, atol=0)
    assert method.take_acted()["consistency"].item() == chosen.sum().item()


def test_published_values() -> None:
    """`train_ACMT_Ent_3D.py:41,63-71,181`; `_MU_3D.py:181`: weights, 40 x 150 of 8,000 steps."""
    p = ACMTParams()
    assert (p.weight, p.ramp, p.first, p.last, p.noise, p.clip) == (0.1, 0.75, 0.75, 0.95, 0.1, 0.2)
    assert ACMTParams.model_validate({"preset": "uncertainty"}).last == 0.9
    assert ACMTParams.model_validate({"preset": "falling"}).last == 0.6
    assert p.weight_at(Progress(6000, 8000)) == pytest.approx(0.1)
    assert p.weight_at(Progress(3000, 8000)) == pytest.approx(0.1 * math.exp(-5 / 4))
