"""SS-Net: attraction and smoothness as the published code has them, its memory, its values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.blocks.adversarial import virtual_adversarial
from methods.blocks.attraction import ClassAttraction
from methods.ss_net import SSNet, SSNetParams
from tests.methods.fixed import mixed, striped, wave
from tests.pixel_net import END, RAMP, PixelNet, assert_same, batch, make


def attraction(*, literal: bool = False) -> ClassAttraction:
    """Three classes, 16 channels, four vectors a class, every weight fixed."""
    block = ClassAttraction(16, classes=3, dim=32, size=4, literal=literal)
    heads = [block.projection, block.prediction, *block.select_pixel, *block.select_memory]
    with torch.no_grad():
        for i, head in enumerate(heads):
            for j, parameter in enumerate(head.parameters()):
                scale_of_norm = 1.0 if j == 2 else 0.0
                parameter.copy_(mixed(*parameter.shape, seed=6 * i + j) / 2 + scale_of_norm)
        block.projection.get_buffer("1.running_mean").copy_(mixed(32, seed=40))
        block.projection.get_buffer("1.running_var").copy_(1 + mixed(32, seed=41) / 2)
    return block


FEATURES = mixed(40, 16, seed=50)
LABEL = striped(40, up=5, down=3, classes=3)
# Five correct pixels of each foreground class.
CORRECT = LABEL.where(striped(40, up=7, down=4, classes=3) == LABEL, 0)


def test_published_code() -> None:
    """github.com/ycwu1997/SS-Net at c0a8bf6: train_ss_2d.py:125-157, with the UNet's heads,
    FeatureMemory and contrastive_class_to_class_learned_memory of that commit, on the CPU.

    Memory, losses, and gradients for features and a selector's weights times fixed directions.
    """
    block = attraction(literal=True)
    known = FEATURES.clone().requires_grad_()
    other = mixed(30, 16, seed=51).requires_grad_()
    block.remember(known, CORRECT)
    first = [
        [-0.0300799, 0.2565472, 0.2292508, 0.1116624],
        [0.1696407, 0.1724336, 0.0824423, 0.0831275],
    ]
    torch.testing.assert_close(block.keys[..., 0], torch.tensor(first), rtol=0, atol=1e-6)
    loss_l = block.pull(known, LABEL)
    loss_u = block.pull(other, striped(30, up=4, down=3, classes=3))
    assert loss_l.item() == pytest.approx(0.5782070, abs=1e-6)
    assert loss_u.item() == pytest.approx(0.5637667, abs=1e-6)
    wanted = [known, other, block.select_pixel[0].get_parameter("3.weight")]
    grads = torch.autograd.grad(loss_l + loss_u, wanted)
    along = [(g * mixed(*g.shape, seed=60)).sum().item() for g in grads]
    assert along == pytest.approx([-0.0261914, -0.0239864, 0.0271325], abs=1e-6)


def test_pull_is_the_mean_over_pairs_with_weights_of_mean_one() -> None:
    block = attraction()
    block.remember(FEATURES, CORRECT)
    q, expected = block.prediction(block.projection(FEATURES)), []
    for k in (0, 1):
        own, keys = q[k + 1 == LABEL], block.keys[k]
        a, b = (
            select[k](rows).sigmoid()
            for select, rows in ((block.select_pixel, own), (block.select_memory, keys))
        )
        distance = 1 - F.normalize(own, dim=1) @ keys.T
        expected.append(((a / a.mean()) * (b / b.mean()).T * distance).mean())
    total = torch.stack(expected).sum() / 3  # the background counts in the divisor
    torch.testing.assert_close(block.pull(FEATURES, LABEL), total)
    (moved,) = torch.autograd.grad(total, block.select_memory[1].get_parameter("3.weight"))
    assert moved.any()


def test_memory_holds_the_highest_scores_of_the_last_step_that_had_any() -> None:
    block = attraction()
    block.remember(FEATURES, CORRECT)
    pixels = FEATURES[CORRECT == 2]
    projected = block.projection.eval()(pixels)
    score = block.select_pixel[1](projected)[:, 0]
    best = F.normalize(projected[score.argsort(descending=True)[:4]], dim=1)
    torch.testing.assert_close(block.keys[1], best)
    assert block.stored.tolist() == [4, 4]
    before = block.keys.clone()
    few = CORRECT.where((CORRECT != 1) & (torch.arange(40) < 30), 0)
    block.remember(FEATURES + 1, few)
    left = int((few == 2).sum())
    assert 0 < left < 4 and block.stored.tolist() == [4, left]
    assert torch.equal(block.keys[0], before[0])
    assert not torch.equal(block.keys[1, :left], before[1, :left])


def test_nothing_to_attract_is_zero_with_a_graph() -> None:
    block = attraction()
    features = FEATURES.clone().requires_grad_()
    block.remember(features, torch.zeros(40, dtype=torch.int64))
    loss = block.pull(features, LABEL)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0 and features.grad is not None and not features.grad.any()


@pytest.mark.parametrize(
    ("ndim", "classes", "side", "expected", "slopes"),
    [
        (2, 4, 16, 0.0099882, [0.0023291, -0.0010882, -0.0032503, 0.0020093]),
        (3, 2, 8, 0.1024318, [-0.0171254, 0.0171254]),
    ],
)
def test_published_smoothness(
    monkeypatch: pytest.MonkeyPatch,
    ndim: int,
    classes: int,
    side: int,
    expected: float,
    slopes: list[float],
) -> None:
    """losses.py:92-153 of the same commit: VAT2d and VAT3d on `softmax(slope x + offset)`.

    Their norms 10 (probe), 6 and 10 are scaled from 256 x 256 and 112 x 112 x 80 to these images.
    """
    params = SSNetParams.model_validate(SSNetParams.block({"preset": "ss_net_code"}, ndim))
    net = PixelNet(1, classes, 0)
    with torch.no_grad():
        net.slope.copy_(wave(1, classes, phase=1.0, scale=8.0))
        net.offset.copy_(wave(1, classes, phase=2.0, scale=0.3))
    method = SSNet(lambda **_: net, params, classes=classes, ndim=ndim)
    x = wave(2, 1, *(side,) * ndim, phase=0.3, scale=2.0)
    monkeypatch.setattr(torch, "rand_like", lambda v: wave(*v.shape, phase=0.6, scale=0.5) + 0.5)
    probes: list[float] = []

    def search(image: Tensor, distance: Callable[[Tensor], Tensor], **sizes: float) -> Tensor:
        probes.append(sizes["probe"])
        return virtual_adversarial(image, distance, **sizes)

    monkeypatch.setattr("methods.ss_net.virtual_adversarial", search)
    loss = method.smoothness(x, net(x).softmax(1).detach())
    voxels = 256 * 256 if ndim == 2 else 112 * 112 * 80
    assert probes == [pytest.approx(10 / math.sqrt(voxels))]
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    (grad,) = torch.autograd.grad(loss, net.slope)
    torch.testing.assert_close(grad[0], torch.tensor(slopes), rtol=0, atol=1e-5)


def test_published_values() -> None:
    """train_ss_2d.py:41-43,166 and train_ss_3d.py:35-37,177; 150 steps make a part of the ramp."""
    found = {}
    for ndim in (2, 3):
        p = SSNetParams.model_validate(SSNetParams.block({}, ndim))
        found[ndim] = (p.weight, p.ramp, p.weight_contrast, p.dim, p.memory)
        voxels = 256 * 256 if ndim == 2 else 112 * 112 * 80
        assert p.magnitude * math.sqrt(voxels) == pytest.approx({2: 6, 3: 10}[ndim])
    assert found == {2: (0.1, 1.0, 0.1, 32, 32), 3: (1.0, 0.4, 0.1, 32, 32)}


def test_wrong_pixels_and_background_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    data, method = batch(size=32), make(SSNet, values={"dim": 4})
    seen: list[Tensor] = []
    monkeypatch.setattr(method.attraction, "remember", lambda _, label: seen.append(label))
    method.losses(data, END)
    centres = slice(2, None, 4)  # of the cells of a grid at a quarter
    label = data.label[:, centres, centres]
    predicted = method.predict(data.image).argmax(1)[:, centres, centres]
    assert torch.equal(seen[0], torch.where(label == predicted, label, 0).flatten())


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_features_are_pulled_to_the_class_of_their_own_pixel(
    monkeypatch: pytest.MonkeyPatch, stage: int
) -> None:
    """True classes of labelled images, predicted ones of unlabelled images; both pulls add up."""
    data, stride = batch(size=32), 2**stage
    method = make(SSNet, values={"dim": 4, "weight": 0.5, "weight_contrast": 0.2, "stage": stage})
    seen: list[tuple[Tensor, Tensor]] = []

    def pull(rows: Tensor, label: Tensor) -> Tensor:
        seen.append((rows, label))
        return torch.tensor(1.0 + len(seen))

    monkeypatch.setattr(method.attraction, "pull", pull)
    term = method.losses(data, END)["contrast"]
    assert term.item() == pytest.approx(0.5 * RAMP * 0.2 * (2 + 3))
    centres = slice(stride // 2, None, stride)
    predicted = method.predict(data.unlabeled).argmax(1)
    for (rows, found), image, label in zip(
        seen, (data.image, data.unlabeled), (data.label, predicted), strict=True
    ):
        torch.testing.assert_close(rows.flatten(), F.avg_pool2d(image, stride).flatten())
        assert torch.equal(found, label[:, centres, centres].flatten())


def test_smoothness_of_all_images_has_a_fixed_target_and_the_ramped_weight() -> None:
    data, method = batch(size=16), make(SSNet, values={"dim": 4, "weight": 0.5})
    target = method.predict(data.images).softmax(1).detach()
    torch.manual_seed(3)
    expected = method.smoothness(data.images, target)
    torch.manual_seed(3)
    assert_same(method, method.losses(data, END)["smoothness"], 0.5 * RAMP * expected)


def test_supervision_of_the_code_is_dice_alone() -> None:
    """One pixel of each class, p = (.75, .25) at both: squares in 2D (losses.py:19-27 there)

    1 - (2 x .75) / (2 x .5625 + 1) = .294118 and 1 - .5 / (2 x .0625 + 1) = .555556; foreground
    without them in 3D (losses.py:44-48): 1 - .5 / (.5 + 1) = .666667.
    """
    logits = torch.tensor([0.75, 0.25]).log().view(1, 2, 1, 1).expand(1, 2, 1, 2)
    label = torch.tensor([[[0, 1]]])
    for ndim, expected in ((2, (0.294118 + 0.555556) / 2), (3, 0.666667)):
        params = SSNetParams(literal=True)
        method = SSNet(lambda **_: PixelNet(1, 2, 0), params, classes=2, ndim=ndim)
        loss = method.supervision(*(v if ndim == 2 else v[..., None] for v in (logits, label)))
        assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_smoothness_is_zero_where_nothing_depends_on_the_image() -> None:
    data, method = batch(size=16), make(SSNet, values={"dim": 4})
    assert method.losses(data, END)["smoothness"] > 0
    with torch.no_grad():
        method.student.slope.zero_()
    # Dice without change: 1 - (2 s + e) / (2 s + e) = 0 for squares.
    target = method.predict(data.images).softmax(1)
    assert method.smoothness(data.images, target).item() == pytest.approx(0, abs=1e-6)


def test_both_terms_move_the_tested_network() -> None:
    build = Builder(UNetConfig(channels=(4, 4, 8, 8)), ndim=2, in_channels=1, classes=3, seed=0)
    method = SSNet(build, SSNetParams(), classes=3, ndim=2).train()
    with torch.no_grad():  # every pixel is of class 1, and predicted so
        method.student.decoders[0].get_parameter("out.bias").copy_(torch.tensor([0.0, 3.0, 0.0]))
    data = batch(size=32)
    terms = method.losses(replace(data, label=torch.ones_like(data.label)), END)
    first = method.student.get_parameter("encoder.0.0.weight")
    for name in ("smoothness", "contrast"):
        (grad,) = torch.autograd.grad(terms[name], first, retain_graph=True)
        assert grad.any(), name
