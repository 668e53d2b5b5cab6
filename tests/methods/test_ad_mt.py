"""AD-MT: its ensemble, its pseudo-labels and its loss by hand; its turns, copies and boxes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.ad_mt import ADMT, ADMTParams, ensemble
from methods.base import Batch, Progress
from methods.blocks.mixing import beta_boxes
from tests.pixel_net import END, batch, make

# One step takes part with weight 1.
WHOLE = {"ramp": 1e-9, "weight": 1.0}


def _map(*rows: tuple[float, ...]) -> Tensor:
    """Probabilities of one image with one row of pixels, (1, K, 1, P), given per pixel."""
    return torch.tensor(rows).T[None, :, None]


def test_ensemble_by_hand() -> None:
    """Equations 8 and 9 of the paper with entropies in bits, as the code's `log2`.

    Pixel 0: H = 0 and 1 bit, weights 1 / (1 + e^-1) = .731059 and .268941:
             .731059 (1, 0) + .268941 (1/2, 1/2) = (.865529, .134471).
    Pixel 1: equal entropies, the plain mean.
    Pixel 2: H = 1 and .468996 bits (of .9, .1), weights e^-1 / (e^-1 + e^-.468996) = .370284 and
             .629716: .5 * .370284 + .9 * .629716 = .751886.
    """
    p_1 = _map((1.0, 0.0), (0.9, 0.1), (0.5, 0.5))
    p_2 = _map((0.5, 0.5), (0.1, 0.9), (0.9, 0.1))
    mean = ensemble(p_1, p_2)[0, :, 0].T
    expected = torch.tensor([[0.865529, 0.134471], [0.5, 0.5], [0.751886, 0.248114]])
    torch.testing.assert_close(mean, expected, atol=2e-6, rtol=0)


def test_four_classes_reach_two_bits() -> None:
    """Uniform over 4 classes beside one-hot: weight e^-2 / (1 + e^-2) = .119203."""
    mean = ensemble(_map((0.25,) * 4), _map((0.0, 1.0, 0.0, 0.0)))
    rest = 0.25 * 0.119203
    expected = torch.tensor([rest, 1 - 3 * rest, rest, rest])
    torch.testing.assert_close(mean.flatten(), expected, atol=1e-6, rtol=0)


# Student's probability of class 1, then the ensemble's class, its confidence, and conflict.
PIXELS = [
    (0.99, 0, 0.96, False),  # no conflict: class 0 of the teachers
    (0.99, 0, 0.60, True),  # conflict, the student is surer: class 1
    (0.03, 0, 0.98, True),  # conflict, but the student agrees: class 0 with .98
    (0.97, 0, 0.98, True),  # conflict, the student is less sure: class 0
    (0.90, 0, 0.80, True),  # surer, but below .95: takes no part
    (0.98, 1, 0.94, True),  # below .95, and the student that agrees does not count
    (0.02, 1, 0.94, False),  # below .95
]
LABELS = [(0.99, 0), (0.99, 1), (0.03, 0), (0.97, 0)]  # student's p_1 and label of those kept


def _fixed(monkeypatch: pytest.MonkeyPatch, **values: object) -> dict[str, Tensor]:
    """Terms of one step on `PIXELS`, many times over, whose strong view is the weak one."""
    monkeypatch.setattr("methods.ad_mt.strong_view", lambda image, **_: image)
    method = make(ADMT, classes=2, values={**WHOLE, **values})
    p, label, sure, conflict = (torch.tensor(column) for column in zip(*PIXELS, strict=True))
    targets = tuple(v.repeat(1, 8, 8) for v in (label, sure, conflict))
    monkeypatch.setattr(method, "pseudo_labels", lambda _: targets)
    with torch.no_grad():
        method.student.slope.copy_(torch.tensor([[0.0, 1.0]]))
        method.student.offset.zero_()
    x = torch.logit(p).repeat(1, 1, 8, 8)
    data = Batch(torch.zeros_like(x), torch.zeros_like(targets[0]), x)
    return dict(method.losses(data, END))


def test_one_dice_over_all_confident_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """`(1/K) sum_k [1 - 2 sum p_k y_k / (sum p_k^2 + sum y_k^2)]` over the pixels of `LABELS`."""
    dice = []
    for k in (0, 1):
        pairs = [(p if k else 1 - p, float(y == k)) for p, y in LABELS]
        both, sizes = sum(p * y for p, y in pairs), sum(p * p + y * y for p, y in pairs)
        dice.append(1 - 2 * both / sizes)
    term = _fixed(monkeypatch)["pseudo"]
    assert term.item() == pytest.approx(sum(dice) / 2, abs=2e-6)


def test_cross_entropy_is_the_mean_of_the_confident_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    term = _fixed(monkeypatch, loss="ce", weight=0.5)["pseudo"]
    expected = -(math.log(0.01) + math.log(0.99) + math.log(0.97) + math.log(0.03)) / 4
    assert term.item() == pytest.approx(0.5 * expected, rel=1e-5)


def test_nothing_confident_teaches_nothing() -> None:
    for loss in ("dice", "ce"):
        method = make(ADMT, values={**WHOLE, "threshold": 0.99999, "loss": loss})
        term = method.losses(batch(), END)["pseudo"]
        assert term.item() == 0 and term.requires_grad


def test_published_values_differ_by_dimension() -> None:
    """`cfgs/config_2d_aut.yml` and `config_3d_la_aut.yml` at 03ef84c.

    Ramps of 50 and 40 times 150 steps in runs of 30 000 and 15 000, turns of at most 50 and 19;
    the teachers copy while step // 2 is below 50 and 40 (`train_post_2d_aut.py:53-58`).
    """
    names = ("weight", "decay", "ramp", "turn", "copy_steps", "threshold", "loss")
    found = {}
    for ndim in (2, 3):
        params = ADMTParams.model_validate(ADMTParams.block({}, ndim))
        found[ndim] = tuple(getattr(params, name) for name in names)
    assert found[2] == (2.0, 0.99, 50 * 150 / 30_000, 50, 100, 0.95, "dice")
    assert found[3] == (2.0, 0.99, 40 * 150 / 15_000, 19, 80, 0.8, "ce")


def turns(method: Any, steps: range, total: int = 100_000) -> list[int]:
    """The teacher whose turn it is, per step, as the engine seeds it."""
    seen = []
    for step in steps:
        torch.manual_seed(step)
        seen.append(method.active)
        method.after_step(Progress(step, total))
    return seen


def lengths(active: list[int]) -> list[int]:
    """Lengths of the runs of equal entries, without the last."""
    ends = [i for i in range(1, len(active)) if active[i] != active[i - 1]]
    return [b - a for a, b in zip([0, *ends], ends, strict=False)]


def test_turns_are_of_uniform_length_and_alternate() -> None:
    method = make(ADMT, values={"turn": 5})
    active = turns(method, range(3000))
    found = lengths(active)
    assert active[0] == 0 and set(found) == {1, 2, 3, 4, 5}
    for length in range(1, 6):  # 1000 turns on average; five standard deviations of 12.6
        assert found.count(length) / len(found) == pytest.approx(0.2, abs=0.064)


def test_turns_go_on_where_a_run_was_left() -> None:
    whole = make(ADMT, values={"turn": 7})
    expected = turns(whole, range(200))
    for stop in (1, 50, 123):
        first, second = (make(ADMT, values={"turn": 7}) for _ in range(2))
        second.active, second.left = 1, 99
        seen = turns(first, range(stop))
        second.load_state_dict(first.state_dict())
        assert seen + turns(second, range(stop, 200)) == expected


def test_first_turn_depends_on_the_seed() -> None:
    first = set()
    for seed in range(40):
        method = make(ADMT)
        torch.manual_seed(seed)
        first.add(method._length())
    assert len(first) > 20 and first <= set(range(1, 51))


def test_teachers_copy_first_and_then_follow_at_half_the_pace() -> None:
    """`step // 2 - 50` counts for the decay: at 100 still 0, at 102 it is 1 - 1/2, then 0.99.

    1 - 1 / (s + 1) passes 0.99 at s = 99, so at step 298.
    """
    method = make(ADMT)
    one = torch.ones_like(method.student.slope)
    for step, kept in ((0, 0.0), (99, 0.0), (100, 0.0), (102, 0.5), (103, 0.5), (104, 2 / 3),
                       (294, 1 - 1 / 98), (298, 0.99), (30_000, 0.99)):  # fmt: skip
        method.active, method.left = 0, 9
        with torch.no_grad():
            method.student.slope.copy_(0 * one)
            method.teacher_1.slope.copy_(one)
            method.teacher_2.slope.copy_(one)
        method.after_step(Progress(step, 60_000))
        torch.testing.assert_close(method.teacher_1.slope, kept * one, atol=1e-6, rtol=0)
        assert torch.equal(method.teacher_2.slope, one)


@pytest.mark.parametrize("active", [0, 1])
def test_only_the_teacher_whose_turn_it_is_follows(active: int) -> None:
    method = make(ADMT)
    method.active, method.left = active, 9
    with torch.no_grad():
        method.student.slope.add_(1)
    method.after_step(Progress(0, 1000))
    same = [torch.equal(net.slope, method.student.slope) for net in method.companions().values()]
    assert same == [active == 0, active == 1]


def test_teachers_are_compared_on_the_same_image() -> None:
    """Images of -1 and of 1: (.9, .1) and (.1, .9) for teacher 1, (.25, .75) for teacher 2.

    H = .468996 and .811278 bits, weights .584745 and .415255: .584745 x .9 + .415255 x .25 =
    .630084 for class 0 of the first image, .837712 for class 1 of the second.
    """
    method = make(ADMT, classes=2)
    with torch.no_grad():
        method.teacher_1.slope.copy_(torch.tensor([[0.0, math.log(9)]]))
        method.teacher_1.offset.zero_()
        method.teacher_2.slope.zero_()
        method.teacher_2.offset.copy_(torch.tensor([[0.0, math.log(3)]]))
    image = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    label, sure, conflict = (v[:, 0, 0] for v in method.pseudo_labels(image))
    assert label.tolist() == [0, 1] and conflict.tolist() == [True, False]
    assert sure.tolist() == pytest.approx([0.630084, 0.837712], abs=2e-6)


def test_only_the_teacher_whose_turn_it_is_trains() -> None:
    method = make(ADMT)
    for active in (0, 1):
        method.active = active
        method.train().losses(batch(), END)
        modes = [method.teacher_1.training, method.teacher_2.training, method.student.training]
        assert modes == [active == 0, active == 1, True]


@pytest.mark.parametrize("active", [0, 1])
def test_pseudo_labels_move_with_the_pixels(active: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal networks on pixels: the label of every pixel is its own, wherever it was pasted."""
    monkeypatch.setattr("methods.ad_mt.strong_view", lambda image, **_: image + 1)
    data = batch(unlabeled=4, size=16)
    method = make(ADMT, values={**WHOLE, "threshold": 0.0, "loss": "ce"})
    method.active = active
    seen: list[Tensor] = []
    method.student.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    term = method.losses(data, END)["pseudo"]
    weak, strong = seen[0][2:6], seen[0][6:]
    assert torch.equal(weak, data.unlabeled)
    if active == 0:
        assert torch.equal(strong, weak + 1)
        label = method.student(weak).argmax(1)
    else:
        moved = strong != weak
        assert 0.02 < moved.float().mean() < 0.9
        assert set(strong.flatten().tolist()) <= set(weak.flatten().tolist())
        label = method.student(strong).argmax(1)
    expected = torch.nn.functional.cross_entropy(method.student(strong), label)
    torch.testing.assert_close(term, expected)


def test_students_labels_move_with_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where conflicting teachers are sure of nothing, every pixel has the student's own label."""
    data = batch(unlabeled=4, size=16)
    method = make(ADMT, values={**WHOLE, "threshold": 0.0, "loss": "ce"})
    zero = torch.zeros(4, 16, 16)
    targets = zero.long(), zero, zero == 0
    monkeypatch.setattr(method, "pseudo_labels", lambda _: targets)
    method.active = 1
    seen: list[Tensor] = []
    method.student.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    term = method.losses(data, END)["pseudo"]
    z = method.student(seen[0][6:])
    torch.testing.assert_close(term, torch.nn.functional.cross_entropy(z, z.argmax(1)))


def test_beta_boxes_have_one_size_and_may_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """lam = 3/4 gives sides of 1/2; of 32 points, 16 around a centre in [4, 32)."""
    distribution = torch.distributions.Beta
    monkeypatch.setattr(distribution, "sample", lambda self: self.concentration1 * 0 + 0.75)
    torch.manual_seed(0)
    boxes = beta_boxes(torch.zeros(4000, 1, 32, 32))[:, 0]
    for axis in (1, 2):
        line = boxes.any(axis)
        width, first = line.sum(1), line.int().argmax(1)
        assert int(width.max()) == 16 and int(width.min()) == 9  # centres 31: 23 to 31
        assert int(first.max()) == 23
        cut = ((width < 16) & (first == 0)).float().mean()  # centres 4 to 7 of 28
        assert cut.item() == pytest.approx(4 / 28, abs=0.03)


def test_beta_boxes_cover_half_in_the_mean() -> None:
    """Sides sqrt(1 - lam): the largest of many boxes covers 1 - lam, of mean 1/2 and spread 1/6."""
    torch.manual_seed(0)
    image = torch.zeros(64, 1, 64, 64)
    share = torch.stack([beta_boxes(image).float().flatten(1).mean(1).max() for _ in range(200)])
    assert share.mean().item() == pytest.approx(0.5, abs=0.06)
    assert share.std().item() == pytest.approx(1 / 6, abs=0.04)


def test_beta_boxes_in_3d() -> None:
    boxes = beta_boxes(torch.zeros(8, 1, 16, 20, 24))
    assert boxes.shape == (8, 1, 16, 20, 24) and boxes.flatten(1).any(1).all()
