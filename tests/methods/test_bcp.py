"""BCP: what is pasted where and what counts how much, its stages, its pseudo-labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from methods.base import Batch, Progress
from methods.bcp import BCP, BCPParams
from methods.blocks.components import largest_components
from methods.blocks.copy_paste import halves, region_loss
from methods.blocks.losses import supervised_loss
from tests.pixel_net import END, assert_same, batch, make

START = Progress(0, 1000)


def test_components_touch_by_corners() -> None:
    """`skimage.measure.label` joins all neighbours by default (BCP, `ACDC_BCP_train.py:99` and
    `LA_BCP_train.py:70` at 7879f98): of class 1 the diagonal of three is kept, not the pair."""
    label = torch.tensor(
        [[[1, 0, 0, 1, 1], [0, 1, 0, 0, 0], [0, 0, 1, 0, 2], [2, 0, 0, 0, 0], [2, 0, 0, 0, 2]]]
    )
    kept = [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [2, 0, 0, 0, 0], [2, 0, 0, 0, 0]]
    assert largest_components(label, classes=3).tolist() == [kept]


def test_components_touch_by_corners_in_3d() -> None:
    label = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    for i in range(3):
        label[0, i, i, i] = 1
    diagonal = label.clone()
    label[0, 3, 0, :2] = 1
    assert torch.equal(largest_components(label, classes=2), diagonal)


def test_components_of_every_image_alone() -> None:
    label = torch.tensor([[[1, 1, 0, 1]], [[1, 0, 1, 1]], [[0, 0, 0, 0]]])
    kept = [[[1, 1, 0, 0]], [[0, 0, 1, 1]], [[0, 0, 0, 0]]]
    assert largest_components(label, classes=2).tolist() == kept


def test_region_loss_is_taken_over_its_region() -> None:
    torch.manual_seed(0)
    z, y = torch.randn(1, 3, 2, 4), torch.randint(3, (1, 2, 4))
    left = torch.zeros(1, 2, 4, dtype=torch.bool)
    left[..., :2] = True
    torch.testing.assert_close(region_loss(z, y, left), supervised_loss(z[..., :2], y[..., :2]))


@pytest.mark.parametrize(
    ("rows", "count", "expected"),
    [
        (6, 6, ([0, 1, 2], [3, 4, 5])),
        (3, 3, ([0, 1], [2, 0])),
        (2, 5, ([0, 1, 0], [1, 0, 1])),
        (1, 1, ([0], [0])),
    ],
)
def test_halves(rows: int, count: int, expected: tuple[list[int], list[int]]) -> None:
    found = halves(torch.arange(rows), count)
    assert tuple(v.tolist() for v in found) == expected


def marked(labeled: int, unlabeled: int, size: int = 12) -> Batch:
    """Labelled images are 1, 2, ... everywhere, unlabelled ones -1, -2, ...; labels are random."""
    data = batch(labeled=labeled, unlabeled=unlabeled, size=size)
    number = torch.arange(1.0, 1 + max(labeled, unlabeled)).view(-1, 1, 1, 1)
    one = torch.ones(1, 1, size, size)
    return Batch(number[:labeled] * one, data.label, -number[:unlabeled] * one)


def passes(method: Any, data: Batch, t: Progress) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Images (N, H, W) of every pass of the student, and the terms."""
    seen: list[Tensor] = []
    handle = method.student.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, 0]))
    terms = method.losses(data, t)
    handle.remove()
    return seen, terms


def test_second_stage_mixes_disjoint_halves_in_two_passes() -> None:
    """`ACDC_BCP_train.py:372-377`: 6 + 6 images a side, `out_unl` and `out_l` are own passes.

    u_a around a box of l_a, then l_b around a box of u_b.
    """
    method = make(BCP)
    seen, _ = passes(method, marked(4, 4), END)
    assert len(seen) == 2
    pairs = [[(-1, 1), (-2, 2)], [(3, -3), (4, -4)]]  # around and inside
    for images, expected in zip(seen, pairs, strict=True):
        assert len(images) == 2
        for image, (around, inside) in zip(images, expected, strict=True):
            box = (image == inside).nonzero()
            assert (box.amax(0) - box.amin(0) + 1).tolist() == [8, 8]  # 2/3 of 12
            assert len(box) == 64
            assert int((image == around).sum()) == 144 - 64


def test_second_stage_counts_pseudo_regions_by_half_and_sums_both_passes() -> None:
    data = marked(4, 4)
    method = make(BCP, values={"ramp": 1e-9})
    with torch.no_grad():
        method.teacher.slope.mul_(-1)
    (first, second), terms = passes(method, data, END)
    u_a, u_b = data.unlabeled.chunk(2)
    y_a, y_b = data.label.chunk(2)
    pseudo_a, pseudo_b = (
        largest_components(method.teacher(u).argmax(1), classes=3) for u in (u_a, u_b)
    )
    z_1, z_2 = (method.predict(images[:, None]) for images in (first, second))
    true = region_loss(z_1, y_a, first > 0) + region_loss(z_2, y_b, second > 0)
    other = region_loss(z_1, pseudo_a, first < 0) + region_loss(z_2, pseudo_b, second < 0)
    assert_same(method, terms["supervised"], true)
    assert_same(method, terms["pseudo"], 0.5 * other)


def test_first_stage_mixes_labelled_halves_in_one_pass_and_sums_both_regions() -> None:
    """`ACDC_BCP_train.py:247-249`: one direction, weight 1 on both parts."""
    data, method = marked(4, 3), make(BCP)
    (images,), terms = passes(method, data, START)
    assert len(images) == 2 and set(terms) == {"supervised"}
    assert [set(image.flatten().tolist()) for image in images] == [{1.0, 3.0}, {2.0, 4.0}]
    inside = images > 2
    inside[1] = images[1] == 4
    assert inside.flatten(1).sum(1).tolist() == [64, 64]
    z, (y_a, y_b) = method.predict(images[:, None]), data.label.chunk(2)
    expected = region_loss(z, y_a, ~inside) + region_loss(z, y_b, inside)
    assert_same(method, terms["supervised"], expected)


@pytest.mark.parametrize(("labeled", "unlabeled"), [(5, 2), (1, 1), (2, 3)])
def test_all_images_take_part_whatever_their_number(labeled: int, unlabeled: int) -> None:
    seen, _ = passes(make(BCP), marked(labeled, unlabeled), END)
    found = set(torch.cat(seen).flatten().tolist())
    assert found == {*range(1, labeled + 1), *range(-unlabeled, 0)}


def test_without_mixing_images_stay_whole() -> None:
    """The control: both halves as they are, with the weights of both passes."""
    data = batch(labeled=4, unlabeled=4)
    method = make(BCP, values={"preset": "no_mixing", "weight": 0.5, "ramp": 1e-9})
    seen, terms = passes(method, data, END)
    halves_l, halves_u = data.image.chunk(2), data.unlabeled.chunk(2)
    expected = [torch.cat([halves_u[0], halves_l[0]]), torch.cat([halves_l[1], halves_u[1]])]
    assert [torch.equal(a, b[:, 0]) for a, b in zip(seen, expected, strict=True)] == [True, True]
    true = [
        supervised_loss(method.predict(x), y)
        for x, y in zip(halves_l, data.label.chunk(2), strict=True)
    ]
    label = [largest_components(method.teacher(u).argmax(1), classes=3) for u in halves_u]
    pseudo = [supervised_loss(method.predict(u), y) for u, y in zip(halves_u, label, strict=True)]
    assert_same(method, terms["supervised"], true[0] + true[1])
    assert_same(method, terms["pseudo"], 0.5 * (pseudo[0] + pseudo[1]))


def test_teacher_copies_in_the_first_stage_and_follows_in_the_second() -> None:
    method = make(BCP, values={"pretrain": 0.5})
    for step, kept in ((0, 0.0), (499, 0.0), (500, 0.99), (900, 0.99)):
        with torch.no_grad():
            method.teacher.slope.fill_(1.0)
            method.student.slope.fill_(0.0)
        method.after_step(Progress(step, 1000))
        slope = method.teacher.slope
        torch.testing.assert_close(slope, torch.full_like(slope, kept))


def test_stage_lengths_are_the_published_ones() -> None:
    """10 000 and 30 000 steps for ACDC (`ACDC_BCP_train.py:37`), 2 000 and 15 000 for LA (:36)."""
    for ndim, share in ((2, 10_000 / 40_000), (3, 2_000 / 17_000)):
        assert BCPParams.model_validate(BCPParams.block({}, ndim)).pretrain == share
