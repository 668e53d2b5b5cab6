"""UGPCL: certainty, anchors, memory and contrast against the published code; rotation is learnt."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.config import OptimizerConfig, UNetConfig
from benchmarks.engine.nets import Builder
from benchmarks.engine.optim import Optimizers
from methods.base import Batch, Progress
from methods.blocks.contrast import Samples
from methods.blocks.heads import ProjectedRows, ProjectionHead
from methods.blocks.jitter import color_jitter
from methods.blocks.rotation import draw_turns
from methods.ugpcl import UGPCL, UGPCLParams, class_means, draw_anchors
from tests.engine.small import moved
from tests.methods.pairs import pair_loss
from tests.pixel_net import END, batch, make


def _units(*shape: int, frequency: float) -> Tensor:
    points = torch.arange(math.prod(shape), dtype=torch.float64)
    return F.normalize(torch.sin(frequency * points).view(shape).float(), dim=-1)


def test_contrast_is_that_of_the_published_code() -> None:
    """Recorded from UGPCL `codes/losses/pixel_contras_loss.py` @ 5980405: `_contrastive`.

    Anchors of classes 2, 2, 3, 3 against a queue of three per class; the code has zero vectors as
    the keys of class 0.
    """
    anchors, keys = _units(4, 4, frequency=0.7), _units(4, 3, 4, frequency=1.3)
    keys[0] = 0
    queue = Samples(keys, torch.ones(4, 3, dtype=torch.bool))
    valid = torch.zeros(4, 2, dtype=torch.bool)
    valid[2:] = True
    drawn = Samples(torch.cat([torch.zeros(2, 2, 4), anchors.view(2, 2, 4)]), valid)
    loss = pair_loss(drawn, queue, queue, temperature=UGPCLParams().tau_c)
    assert loss.item() == pytest.approx(11.776033, rel=1e-4)


def test_published_values() -> None:
    """`configs/comparison_acdc_224_136/ugpcl_unet_r50.yaml` and `_trainers/ugpcl.yaml` @ 5980405.

    The ramp has 100 units of 100 steps in a run of 10,000; contrast starts after step 1,000.
    """
    p = UGPCLParams()
    assert (p.weight, p.weight_swin, p.weight_rotation, p.weight_contrast) == (0.01, 0.4, 0.1, 0.1)
    assert (p.tau_c, p.memory, p.dim, p.start) == (0.07, 500, 256, 0.1)
    assert p.weight_at(Progress(5000, 10000)) == pytest.approx(0.01 * math.exp(-5 / 4))
    assert UGPCL.quarter_turns is False


@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0])
def test_certain_below_three_quarters_to_all_of_ln_2(fraction: float) -> None:
    """Predictions with an entropy on both sides of (3/4 + e^{-5 (1 - f)^2} / 4) ln 2."""
    limit = 0.75 + 0.25 * math.exp(-5 * (1 - fraction) ** 2)
    for step, expected in ((-1e-3, 1.0), (1e-3, 0.0)):
        method = make(UGPCL, classes=3, values={"dim": 4})
        q = _solve((limit + step) * math.log(2))
        with torch.no_grad():
            method.student.slope.zero_()
            method.student.offset.copy_(torch.tensor([q, (1 - q) / 2, (1 - q) / 2]).log())
        method.losses(batch(size=16), Progress(round(fraction * 1000), 1000))
        assert method.take_observed()["certain_share"].item() == expected


def _solve(wanted: float) -> float:
    """q in (1/3, 1) so that (q, (1 - q) / 2, (1 - q) / 2) has this entropy, by bisection."""
    low, high = 1 / 3, 1 - 1e-9
    for _ in range(60):
        q = (low + high) / 2
        above = -q * math.log(q) - (1 - q) * math.log((1 - q) / 2) > wanted
        low, high = (q, high) if above else (low, q)
    return low


def _rows(points: Tensor) -> ProjectedRows:
    """Rows of a head in eval mode for a map of points (N, C, P)."""
    torch.manual_seed(0)
    return ProjectionHead(points.shape[1], 4, ndim=2).eval().rows(points[..., None])


def test_one_anchor_per_image_and_class_correct_where_there_is_one() -> None:
    """`_anchor_sampling` with one view: classes of two pixels or more, the easy pixel first."""
    rows = _rows(torch.randn(2, 3, 6))
    every = rows[torch.arange(12)]
    label = torch.tensor([[0, 0, 0, 1, 1, 2], [1, 1, 1, 1, 0, 0]])
    correct = torch.tensor([[1, 0, 0, 0, 0, 1], [0, 1, 1, 0, 1, 0]]).bool()
    of_class = label[:, None] == torch.arange(3)[:, None]
    of_class[1, 1, 2] = False  # an uncertain pixel
    seen = {key: set[int]() for key in ((0, 0), (0, 1), (1, 0), (1, 1))}
    for seed in range(40):
        torch.manual_seed(seed)
        drawn = draw_anchors(rows, of_class, correct)
        assert drawn.vectors.shape == (3, 2, 4)
        assert drawn.valid.tolist() == [[True, True], [True, True], [False, False]]
        for image, kind in seen:
            same = (every - drawn.vectors[kind, image]).abs().amax(1) < 1e-5
            seen[image, kind].add(int(same.nonzero()) % 6)
            assert int(same.nonzero()) // 6 == image
    assert seen == {(0, 0): {0}, (0, 1): {3, 4}, (1, 0): {4}, (1, 1): {1}}


def test_memory_keys_are_class_means_of_images() -> None:
    """`_dequeue_and_enqueue`: the unit vector along the mean embedding, one per image and class."""
    rows = _rows(torch.randn(3, 3, 6))
    every = rows[torch.arange(18)].view(3, 6, 4)
    label = torch.tensor([[0, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    of_class = label[:, None] == torch.arange(3)[:, None]
    keys = class_means(rows, of_class)
    assert keys.valid.tolist() == [[True, True, False], [True, True, False], [False] * 3]
    assert not keys.vectors.requires_grad
    expected = {
        (0, 0): every[0].mean(0),
        (0, 1): every[1, [2, 4, 5]].mean(0),
        (1, 0): every[1, [0, 1, 3]].mean(0),
        (1, 1): every[2].mean(0),
    }
    for place, mean in expected.items():
        torch.testing.assert_close(keys.vectors[place], mean / mean.norm())


def test_contrast_reads_the_memory_of_earlier_steps() -> None:
    """The code fills its queue after the loss, by all classes of 2 + 3 images."""
    data, method = batch(size=16), make(UGPCL, values={"dim": 8})
    assert "contrast" not in method.losses(data, Progress(99, 1000))
    first = method.losses(data, END)["contrast"]
    assert first.item() == 0 and first.requires_grad
    assert method.memory.written[0, 0].item() <= 5 and method.memory.written.sum() >= 6
    second = method.losses(data, END)["contrast"]
    assert second > 0
    stored = method.memory.read(0)
    norms = stored.vectors[stored.valid].norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_labeled_pixels_are_certain_whatever_is_predicted() -> None:
    """`certainty_pseudo[:labeled_bs] = label`: uniform predictions leave only those in memory."""
    method = make(UGPCL, values={"dim": 4})
    with torch.no_grad():
        method.student.slope.zero_()
        method.student.offset.zero_()
    method.losses(batch(size=16), END)
    assert method.memory.written.tolist() == [[2, 2, 2]]
    assert method.take_observed()["certain_share"].item() == 0


def _contrasted() -> UGPCL:
    """With five features a pixel, each with an embedding of its own."""
    method: UGPCL = make(UGPCL, values={"dim": 4})
    method.head = ProjectionHead(5, 4, ndim=2).eval()
    return method


def test_anchors_are_pixels_that_the_cnn_gets_right() -> None:
    """Of two classes one each; the Swin decoder is right about the others."""
    method = _contrasted()
    keys = Samples(_units(3, 1, 4, frequency=0.7), torch.ones(3, 1, dtype=torch.bool))
    method.memory.write(0, keys)
    features = torch.randn(1, 5, 1, 6, requires_grad=True)
    label, cnn, swin = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 2, 2, 1, 0], [1, 0, 0, 1, 0, 1]])
    p_cnn, p_swin = (torch.eye(3)[v].T[None, :, None] for v in (cnn, swin))
    loss = method.contrast(features, (p_cnn, p_swin), label[None, None], END)
    (grad,) = torch.autograd.grad(loss, features)
    assert grad.abs().sum(1).flatten().nonzero().flatten().tolist() == [0, 4]


def test_keys_of_an_unlabeled_image_are_of_the_class_that_both_decoders_see_there() -> None:
    """By the mean: (0, .7, .3) in the first one, whatever the CNN alone says, then (0, .3, .7)."""
    method = _contrasted()
    features = torch.randn(3, 5, 1, 1).expand(3, 5, 1, 4)
    p_cnn = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.45, 0.55], [0.0, 0.55, 0.45]])
    p_swin = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.95, 0.05], [0.0, 0.05, 0.95]])
    maps = p_cnn[..., None, None].expand(3, 3, 1, 4), p_swin[..., None, None].expand(3, 3, 1, 4)
    method.contrast(features, maps, torch.zeros(1, 1, 4, dtype=torch.int64), END)
    assert method.memory.written.tolist() == [[1, 1, 1]]
    expected = method.head(features)[:, :, 0, 0]
    torch.testing.assert_close(method.memory.read(0).vectors[:, 0], expected)


def test_turns_of_jittered_images_are_told_from_the_mean_of_the_deepest_map() -> None:
    """Here that map has means of cells: its mean is that of the image, however it is turned.

    Jitter: `configs/comparison_acdc_224_136/ugpcl_unet_r50.yaml:21` @ 5980405.
    """
    data, method = batch(size=16), make(UGPCL, values={"dim": 4, "weight_rotation": 0.5})
    torch.manual_seed(3)
    turns = draw_turns(data.images, identity=True)
    image = color_jitter(data.images, brightness=0.4, contrast=0.4, probability=0.8)
    told = method.rotation(image.mean((2, 3)))
    torch.manual_seed(3)
    term = method.losses(data, Progress(0, 10))["rotation"]
    torch.testing.assert_close(term, 0.5 * F.cross_entropy(told, turns))


def test_labels_turn_with_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is right about every pixel has no loss but the consistency's and rotation's.

    Bright below: a label that did not turn would be wrong for half of its pixels.
    """
    monkeypatch.setattr("methods.ugpcl.color_jitter", lambda image, **_: image)
    method = make(UGPCL, classes=2, values={"dim": 4})
    with torch.no_grad():
        method.student.slope.copy_(torch.tensor([[-30.0, 30.0]]).expand(2, 2))
        method.student.offset.zero_()
    label = (torch.arange(8)[:, None] > 3).long().expand(6, 8, 8)
    data = Batch(2.0 * label[:, None] - 1, label, torch.zeros(0, 1, 8, 8))
    assert method.losses(data, Progress(0, 10))["supervised"].item() < 1e-4


def test_jitter_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision: brightness b x, then contrast c x + (1 - c) mean, each clipped to [0, 1]."""
    image = torch.tensor([0.0, 0.2, 0.6, 1.0]).view(1, 1, 2, 2)
    drawn = iter([1.0, 0.0, 1.0, 0.0])  # b = 1.4, c = 0.6, brightness first, changed
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, next(drawn)))
    changed = color_jitter(image, brightness=0.4, contrast=0.4, probability=0.8)
    bright = torch.tensor([0.0, 0.28, 0.84, 1.0])  # 1.4 is clipped
    expected = 0.6 * bright + 0.4 * bright.mean()
    torch.testing.assert_close(changed.flatten(), expected)


def test_jitter_leaves_a_fifth_of_the_images_and_any_unit_alike() -> None:
    torch.manual_seed(0)
    image = torch.rand(500, 1, 6, 6)
    changed = color_jitter(image, brightness=0.4, contrast=0.4, probability=0.8)
    same = (changed == image).flatten(1).all(1)
    assert same.float().mean().item() == pytest.approx(0.2, abs=0.06)
    torch.manual_seed(0)
    other = color_jitter(20 * image - 7, brightness=0.4, contrast=0.4, probability=0.8)
    torch.manual_seed(0)
    again = color_jitter(image, brightness=0.4, contrast=0.4, probability=0.8)
    torch.testing.assert_close(other, 20 * again - 7, atol=1e-3, rtol=0)
    assert again.min() >= 0 and again.max() <= 1
    assert color_jitter(image[:0], brightness=0.4, contrast=0.4, probability=1.0).shape[0] == 0


def _signs(seed: int) -> tuple[Tensor, Tensor]:
    """Eight upright images (8, 1, 16, 16), dark above and bright below, and masks of the bright."""
    g = torch.Generator().manual_seed(seed)
    image = torch.linspace(-1, 1, 16)[:, None].expand(8, 1, 16, 16)
    image = image + 0.1 * torch.randn(8, 1, 16, 16, generator=g)
    return image, (image[:, 0] > 0).long()


def test_rotation_is_learnt_after_the_weak_augmentation() -> None:
    """With the engine's quarter turns nobody could: for half of the images the turn is hidden.

    Those are told in a quarter of the cases, so the best share is 1/2 + 1/2 x 1/4 = 0.63.
    """
    torch.manual_seed(0)
    builder = Builder(UNetConfig(channels=(8, 8, 8, 16)), ndim=2, in_channels=1, classes=2, seed=0)
    method = UGPCL(builder, UGPCLParams(dim=4, weight_rotation=1.0), classes=2, ndim=2).train()
    optimizers = Optimizers(method, OptimizerConfig(lr=0.05))
    correct = []
    for step in range(60):
        image, mask = _signs(step)
        g = torch.Generator().manual_seed(step)
        turns = UGPCL.quarter_turns
        image, label = moved(image, mask, policy="suite", generator=g, quarter_turns=turns)
        assert label is not None
        terms = method.losses(Batch(image[:4], label[:4], image[4:]), Progress(0, 60))
        correct.append(method.take_observed()["rotation_correct"].item())
        optimizers.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizers.step()
    assert sum(correct[-20:]) / 20 > 0.8


def test_every_term_moves_the_tested_network() -> None:
    builder = Builder(UNetConfig(channels=(4, 4, 8, 8)), ndim=2, in_channels=1, classes=2, seed=0)
    method = UGPCL(builder, UGPCLParams(dim=4), classes=2, ndim=2).train()
    image, mask = _signs(0)
    data = Batch(image[:4], mask[:4], image[4:])
    method.losses(data, END)
    for name, term in method.losses(data, END).items():
        found = torch.autograd.grad(
            term, list(method.student.parameters()), retain_graph=True, allow_unused=True
        )
        assert any(g is not None and g.any() for g in found), name
