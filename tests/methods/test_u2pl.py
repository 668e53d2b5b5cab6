"""U2PL: anchors, centres and negatives of eight pixels by hand, and its reliable pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Progress
from methods.blocks.contrast import Samples, prototype_loss
from methods.blocks.losses import supervised_loss
from methods.u2pl import U2PL, quantile
from tests.pixel_net import batch, make

START = Progress(0, 1000)

# Four labelled pixels with their labels, then four unlabelled ones: the teacher's probability.
# Entropies of the unlabelled: .112, .196, 1.080, 1.088 nats, so the first two are low and the last
# two high between the quantiles .4 and .6.
LABEL = [0, 1, 2, 1, 0, 1, 0, 2]
PROBABILITY = [
    (0.60, 0.30, 0.10),  # 0
    (0.70, 0.20, 0.10),  # 1: taken for class 0
    (0.10, 0.20, 0.70),  # 2
    (0.06, 0.04, 0.90),  # 3: taken for class 2, with little entropy
    (0.98, 0.011, 0.009),  # 4
    (0.021, 0.96, 0.019),  # 5
    (0.40, 0.35, 0.25),  # 6
    (0.31, 0.29, 0.40),  # 7
]
PIXELS = len(LABEL)

# By `low_rank`, for every class. A labelled pixel is a negative of those other classes that are
# among its `low_rank` likeliest, an unlabelled one of those that are not (arXiv:2203.03884, section
# 3.3; `loss_helper.py:125-138`).
NEGATIVES = {
    1: [{1, 7}, {6, 7}, {3, 6}],
    2: [{1, 3}, {0, 2, 7}, {3, 6}],
}


def _rows(value: Tensor) -> Tensor:
    """(P, ...) to two images of one row, (2, ..., 1, P / 2)."""
    return torch.stack(value.chunk(2)).movedim(1, -1)[..., None, :]


def _contrast(low_rank: int, at: Progress = START) -> tuple[Tensor, list[set[int]]]:
    """The term at a moment of the run, and the pixels in the memory of every class.

    The embedding of pixel i is the i-th unit vector, but pixel 1 is pixel 7 for the student.
    """
    values: dict[str, object] = {
        "alpha": 0.4,
        "dim": PIXELS,
        "low_rank": low_rank,
        "temperature": 0.5,
    }
    method = make(U2PL, values=values)
    z = torch.eye(PIXELS)
    student = _rows(z[[0, 7, 2, 3, 4, 5, 6, 7]])
    z = _rows(z)
    p, label = _rows(torch.tensor(PROBABILITY)), _rows(torch.tensor(LABEL))
    loss = method.contrast(student, z, p, label, 1, at)
    stored = method.memory.read(0)
    kept = [v[ok].argmax(1).tolist() for v, ok in zip(stored.vectors, stored.valid, strict=True)]
    return loss, [set(row) for row in kept]


@pytest.mark.parametrize("low_rank", [1, 2])
def test_negatives_by_hand(low_rank: int) -> None:
    assert _contrast(low_rank)[1] == NEGATIVES[low_rank]


def test_half_of_the_run_leaves_half_as_many_unreliable_pixels() -> None:
    """Above the quantile .8 of the entropies is pixel 7 alone, so that 6 is no negative."""
    assert _contrast(1, Progress(500, 1000))[1] == [{1, 7}, {7}, {3}]


def test_contrast_has_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    method = make(U2PL, values={"weight_contrast": 0.3, "dim": 4})
    monkeypatch.setattr(method, "contrast", lambda *_: torch.tensor(2.0))
    terms = method.losses(batch(size=16), Progress(500, 1000))
    assert terms["contrast"].item() == pytest.approx(0.6)


def test_the_teachers_head_starts_as_a_copy() -> None:
    method = make(U2PL, values={"dim": 4})
    assert torch.equal(*(h.layers[0].weight for h in (method.head, method.teacher_head)))


def test_contrast_by_hand() -> None:
    """Anchors have p > 0.3, centres are of all low pixels; T = 1/2, negatives have similarity 0.

    Expected is what the published function gives with these negatives in its memory
    (github.com/Haochen-Wang409/U2PL at ab3d2be, `u2pl/utils/loss_helper.py:51`), and by hand:

    Class 0: anchors 0 and 4, centre (e0 + e4) / sqrt 2: ln(1 + 2 e^{-1.414214}) = .396246.
    Class 1: anchor 5; pixels 1 and 3 (p = .2 and .04) still count for the centre, of which the
             anchor has the share 1 / sqrt 3: ln(1 + 2 e^{-1.154701}) = .488765.
    Class 2: anchor 2 is its own centre: ln(1 + 2 e^{-2}) = .239545.   Mean: .374852.
    """
    assert _contrast(1)[0].item() == pytest.approx(0.37485206, abs=2e-7)


def test_prototype_loss_by_hand() -> None:
    """One anchor at 0 degrees, centre at 0, negatives at 90 and 180 degrees, T = 1."""
    anchors = Samples(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([[True], [False]]))
    centre = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    negatives = Samples(
        torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]] * 2), torch.ones(2, 2, dtype=torch.bool)
    )
    expected = -math.log(math.e / (math.e + 1 + math.exp(-1)))
    loss = prototype_loss(anchors, centre, negatives, temperature=1.0)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    none = Samples(negatives.vectors, torch.zeros(2, 2, dtype=torch.bool))
    assert prototype_loss(anchors, centre, none, temperature=1.0).item() == 0


@pytest.mark.parametrize("classes", [2, 4])
def test_negatives_are_found_for_few_classes(classes: int) -> None:
    """The published mask is empty here: it wants a pixel to carry and not to be the class."""
    method = make(U2PL, classes=classes, values={"alpha": 0.4, "dim": 8})
    data = batch(classes, size=32)
    terms = method.losses(data, Progress(100, 1000))
    facts = method.take_observed()
    assert facts["negatives"].item() > 0
    assert facts["anchor_classes"].item() >= 2
    assert terms["contrast"].item() > 0
    stored = method.memory.read(0)
    norms = stored.vectors.norm(dim=-1)[stored.valid]
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5)


def test_negatives_never_carry_their_class() -> None:
    method = make(U2PL, classes=4, values={"alpha": 0.49, "dim": 4, "memory": 4096})
    size, k = 8, 4
    torch.manual_seed(0)
    p = torch.randn(2, k, size, size).softmax(1)
    label = torch.stack([torch.randint(k, (size, size)), p[1].argmax(0)])
    # A key's first entry tells its class, so that the memory can be read.
    keys = F.one_hot(label, k).movedim(-1, 1).float()
    method.contrast(keys, keys, p, label, 1, START)
    stored = method.memory.read(0)
    for c in range(k):
        assert stored.valid[c].any()
        assert not stored.vectors[c][stored.valid[c]][:, c].any()


def test_pseudo_term_is_that_of_the_reliable_pixels() -> None:
    """Half of the run: pixels above the 90th percentile of the entropy drop out; `|Omega| / n`."""
    data = batch(size=16)
    method = make(U2PL, values={"cutmix": 0.0, "alpha": 0.2, "dim": 4, "ramp": 1e-9})
    with torch.no_grad():
        method.teacher.slope.mul_(0.5)
    term = method.losses(data, Progress(500, 1000))["pseudo"]
    p = method.teacher(data.unlabeled).softmax(1).detach().numpy()
    h = -(p * np.log(p)).sum(1)
    kept = h <= np.percentile(h, 90)
    z = method.student(data.unlabeled).log_softmax(1).detach().numpy()
    ce = -np.take_along_axis(z, p.argmax(1)[:, None], 1)[:, 0]
    assert term.item() == pytest.approx(ce[kept].mean() * kept.size / kept.sum(), rel=1e-4)


def test_teacher_copies_until_the_first_epoch_is_over() -> None:
    """The code's decay is min(1 - 1 / (s + 1), 0.99), s steps after the supervised ones."""
    data, method = batch(size=16), make(U2PL, values={"start": 0.1, "dim": 4})
    early = method.losses(data, Progress(99, 1000))
    torch.testing.assert_close(early, {"supervised": supervised_loss(
        method.student(data.image), data.label)})  # fmt: skip
    weight = "layers.0.weight"
    pairs = [(method.teacher, method.student, "slope"), (method.teacher_head, method.head, weight)]
    for step, kept in ((99, 0.0), (100, 0.0), (101, 0.5), (103, 0.75), (900, 0.99)):
        for teacher, student, name in pairs:
            teacher.get_parameter(name).data.fill_(1.0)
            student.get_parameter(name).data.fill_(0.0)
        method.after_step(Progress(step, 1000))
        for teacher, _, name in pairs:
            value = teacher.get_parameter(name)
            torch.testing.assert_close(value, torch.full_like(value, kept))


def test_quantile_of_many_values_takes_a_part() -> None:
    value = torch.linspace(0, 1, 3_000_001)
    assert quantile(value, 0.25).item() == pytest.approx(0.25, abs=1e-5)
