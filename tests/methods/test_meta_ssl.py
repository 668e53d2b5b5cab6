"""MetaSSL: losses and thresholds of the published step, one region by hand, the three bases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.heterogeneous import heterogeneous_loss, regions
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.pseudo import pseudo_label
from methods.meta_ssl import MetaSSL, MetaSSLParams
from tests.methods.fixed import mixed, striped
from tests.pixel_net import END, PixelNet, batch, make


def test_published_step_in_3d() -> None:
    """Outputs of `code_3D/train_MetaSSL_CPS_3D.py`: 262-475 at 4c58a66, two steps, two classes.

    Its consistency weight was set to 0.1. One image of each kind, 4 x 4 x 4 voxels:
    the code repeats the masks for every image of a batch, which changes the `+ 1` below the line.
    """
    params = MetaSSLParams.model_validate(MetaSSLParams.block({}, 3))
    method = MetaSSL(lambda **_: PixelNet(1, 2, 0), params, classes=2, ndim=3)
    image, label = torch.zeros(1, 1, 4, 4, 4), striped(1, 4, 4, 4, up=7, down=3, classes=2)
    data = Batch(image, label, image)
    expected = [(1.6066759, 358.909729, 103.826523), (1.6573189, 365.874603, 105.973907)]
    for step, values in enumerate(expected):
        z = [(3 * mixed(2, 2, 4, 4, 4, seed=n + 2 * step)).requires_grad_() for n in (1, 2)]
        p_1, p_2 = (pseudo_label(softmax32(v)) for v in z)
        pairs = ((0, z[0], p_2), (1, z[1], p_1))
        found = [method.of_pair(number, v, p, data) for number, v, p in pairs]
        terms = [torch.stack(parts).sum() for parts in zip(*found, strict=True)]
        for term, value in zip(terms, values, strict=True):
            assert term.item() == pytest.approx(value, rel=1e-5)
    total = terms[0] + 0.1 * (terms[1] + terms[2])
    (grad,) = torch.autograd.grad(total, z[0])
    assert grad.abs().sum().item() == pytest.approx(21.914600, rel=1e-5)
    head = [-0.0057594, -0.0784272, -0.0561988, 0.0815326, 0.0390531, 0.1065891]
    torch.testing.assert_close(grad.flatten()[:6], torch.tensor(head), rtol=0, atol=1e-6)
    # Of each trained network: its own on labelled images, its reference on unlabelled ones.
    thresholds = [
        [[0.8427557, 0.8016758], [0.8019865, 0.7998261]],
        [[0.8431856, 0.8006208], [0.7880426, 0.8066520]],
    ]
    torch.testing.assert_close(method.threshold, torch.tensor(thresholds), rtol=0, atol=1e-6)


def test_regions_and_their_loss_by_hand() -> None:
    """Six pixels of cross-entropy ln 2: UC foreground, background, US, DC, DS, and one more UC.

    Weights 8, 4, 2, 1, of n pixels n / (n + 1) each; two of the UC pixels are background.
    """
    own = torch.tensor([[1, 0, 1, 0, 0, 0]])
    reference = torch.tensor([[1, 0, 1, 1, 1, 0]])
    sure = torch.tensor([[True, True, False, True, False, True]])
    masks = regions(own, reference, sure)
    assert [m.nonzero()[:, 1].tolist() for m in masks] == [[0], [1, 5], [2], [3], [4]]
    loss = heterogeneous_loss(torch.zeros(1, 2, 6), reference, masks, (8, 4, 2, 1))
    by_hand = math.log(2) * (8 / 2 + 8 * 2 / 3 + 4 / 2 + 2 / 2 + 1 / 2)
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)


def test_thresholds_follow_by_half_and_are_capped() -> None:
    """(0.9 + 1.4 / 3) / 2 for class 0, (0.9 + 0.99 / 2) / 2 for class 1, 0.9 / 2 for class 2."""
    label, sure = torch.tensor([[0, 0, 1]]), torch.tensor([[0.6, 0.8, 0.99]])
    for cap, kept in ((1.0, [False, True, True]), (0.5, [True, True, True])):
        method = make(MetaSSL, values={"cap": cap})
        assert method.confident(1, 0, label, sure).tolist() == [kept]
        expected = torch.tensor([0.45 + 1.4 / 6, 0.45 + 0.99 / 4, 0.45])
        torch.testing.assert_close(method.threshold[1, 0], expected)
        assert (method.threshold[0] == 0.9).all() and (method.threshold[1, 1] == 0.9).all()


def _terms(method: MetaSSL, pairs: list[tuple[Tensor, Tensor]], data: Batch) -> dict[str, Tensor]:
    """Terms of trained logits and the logits of their references, at full weight 0.01."""
    fresh = make(MetaSSL, values={"ramp": 1e-9})
    found = [
        fresh.of_pair(number, z, pseudo_label(softmax32(q)), data)
        for number, (z, q) in enumerate(pairs)
    ]
    supervised, labeled, pseudo = (torch.stack(v).sum() for v in zip(*found, strict=True))
    assert (fresh.threshold == method.threshold).all()
    return {"supervised": supervised, "labeled": 0.01 * labeled, "pseudo": 0.01 * pseudo}


@pytest.mark.parametrize("base", ["cps", "mean_teacher"])
def test_references_of_two_networks(base: str) -> None:
    method = make(MetaSSL, values={"base": base, "ramp": 1e-9})
    data = batch(labeled=2, unlabeled=2)
    z_1, z_2 = method.student(data.images), PixelNet(1, 3, 1)(data.images)
    if base == "mean_teacher":  # starts as a copy of the student; here it is another network
        method.other.load_state_dict(PixelNet(1, 3, 1).state_dict())
    pairs = [(z_1, z_2), (z_2, z_1)] if base == "cps" else [(z_1, z_2)]
    terms = method.losses(data, END)
    for name, expected in _terms(method, pairs, data).items():
        torch.testing.assert_close(terms[name], expected, msg=name)
    trained = {n.split(".")[0] for n, p in method.named_parameters() if p.requires_grad}
    assert trained == ({"student", "other"} if base == "cps" else {"student"})
    method.after_step(Progress(0, 100))  # at step 0 a teacher copies the student
    same = torch.equal(method.other.slope, method.student.slope)
    assert same == (base == "mean_teacher")


def test_a_teacher_averages_the_student() -> None:
    """With min(1 - 1 / (t + 1), 0.99): a copy at step 0, half of it at step 1."""
    method = make(MetaSSL, values={"base": "mean_teacher"})
    for step, kept in ((0, 0.0), (1, 0.5), (999, 0.99)):
        method.other.slope.data.fill_(1.0)
        method.student.slope.data.fill_(0.0)
        method.after_step(Progress(step, 1000))
        assert method.other.slope.unique().item() == pytest.approx(kept)


def test_reference_of_weak_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """The strong view, here another image, learns from the weak view of the same network."""
    moved = lambda x, *maps, **_: (x - 1, *(m.roll(1, 0) for m in maps))  # noqa: E731
    monkeypatch.setattr("methods.meta_ssl.strong_cutmix", moved)
    method, data = make(MetaSSL, values={"preset": "fixmatch", "ramp": 1e-9}), batch(unlabeled=2)
    weak = method.student(data.images)
    z = method.student(torch.cat([data.image, data.unlabeled - 1]))
    reference = torch.cat([weak[:2], weak[2:].roll(1, 0)]).detach()
    terms = method.losses(data, END)
    for name, expected in _terms(method, [(z, reference)], data).items():
        torch.testing.assert_close(terms[name], expected, msg=name)
    torch.testing.assert_close(terms["supervised"], supervised_loss(weak[:2], data.label))
    assert method.companions() == {}


def test_published_weights() -> None:
    """`train_MetaSSL_CPS_2D.py`: 67-76, 343-352; `_CPS_3D.py`: 67-76, 364-367; `_MT_2D.py`: 357."""
    found = {}
    for given, ndim in (
        ({"preset": "cps_code"}, 2),
        ({"preset": "cps_code"}, 3),
        ({"preset": "mean_teacher_code"}, 2),
    ):
        p = MetaSSLParams.model_validate(MetaSSLParams.block(given, ndim))
        found[ndim, p.base] = p
    p = found[2, "cps"]
    assert p.unlabeled == pytest.approx((50, 40.2872, 8.8818, 0.1465), abs=1e-3)
    assert p.labeled == pytest.approx((85, 82.7356, 68.4876, 41.0039), abs=1e-3)
    assert (p.weight, p.ramp, p.cap) == (0.1, 200 * 150 / 100_000, 1.0)
    p = found[3, "cps"]
    assert p.unlabeled == pytest.approx((50, 40, 0.2048, 6.4), abs=1e-4)
    assert p.labeled == pytest.approx((50, 33.3333, 14.8148, 22.2222), abs=1e-4)
    assert (p.weight, p.ramp, p.cap) == (0.1, 200 * 150 / 50_000, 0.9)
    p = found[2, "mean_teacher"]
    assert p.unlabeled == pytest.approx((50, 40, 0.2048, 6.4), abs=1e-4)
    assert p.labeled == pytest.approx((50, 35.7143, 18.2216, 25.5102), abs=1e-4)
    assert (p.weight, p.ramp) == (0.1, 200 * 150 / 50_000)
