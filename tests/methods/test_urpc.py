"""URPC: the rectified loss by hand and as published, and what is perturbed at which scale."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.base import Batch, Progress
from methods.blocks.losses import supervised_loss
from methods.blocks.scales import ScaleHeads
from methods.urpc import _PERTURB, URPC, URPCParams, rectified_consistency
from tests.methods.fixed import striped, wave
from tests.pixel_net import END, PixelNet, assert_same, batch


def test_two_scales_by_hand() -> None:
    """Two scales, one pixel: p = (.5, .5) and (.9, .1), mean (.7, .3)."""
    p, q = (torch.tensor(row).view(1, 2, 1, 1) for row in ([0.5, 0.5], [0.9, 0.1]))
    d_p = 0.7 * math.log(0.7 / 0.5) + 0.3 * math.log(0.3 / 0.5)
    d_q = 0.7 * math.log(0.7 / 0.9) + 0.3 * math.log(0.3 / 0.1)
    expected = 0.2**2 + (d_p + d_q) / 2  # weights of a single pixel cancel
    assert rectified_consistency([p.log(), q.log()]).item() == pytest.approx(expected, rel=1e-4)
    assert rectified_consistency([p.log()] * 4).item() == pytest.approx(0, abs=1e-6)


def test_published_code() -> None:
    """github.com/HiLab-git/SSL4MIS at 06df604, train_..._pyramid_consistency_2D.py:133-203.

    Supervised loss, consistency, and its gradient for each scale's logits times a fixed direction.
    """
    z = [wave(3, 3, 8, 8, phase=0.5 + s, scale=1 + s / 2).requires_grad_() for s in range(4)]
    label = striped(2, 8, 8, up=7, down=3, classes=3)
    supervised = torch.stack([supervised_loss(v[:2], label) for v in z]).mean()
    loss = rectified_consistency([v[2:] for v in z])
    assert supervised.item() == pytest.approx(1.1744429, abs=1e-5)
    assert loss.item() == pytest.approx(0.5714753, abs=1e-5)
    direction = wave(3, 3, 8, 8, phase=0.7)
    along = [(g * direction).sum().item() for g in torch.autograd.grad(loss, z)]
    assert along == pytest.approx([0.1528336, 0.1428786, -0.0346731, -0.1842009], abs=1e-5)


def read_by_heads(ndim: int) -> list[tuple[Tensor, Tensor]]:
    """What the heads at 1/2, 1/4 and 1/8 are given in training, after the map it was made of."""
    method = URPC(lambda **_: PixelNet(1, 3, 0), URPCParams(), classes=3, ndim=ndim).train()
    image = 1 + torch.rand(64, 1, *(16,) * ndim)
    seen: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor]) -> None:
        seen.append(args[0])

    for head in method.heads.heads:
        head.register_forward_pre_hook(keep)
    label = torch.zeros(2, *image.shape[2:], dtype=torch.int64)
    method.losses(Batch(image[:2], label, image[2:]), END)
    pool = F.avg_pool3d if ndim == 3 else F.avg_pool2d
    return [(pool(image, 2**i), x) for i, x in enumerate(seen, start=1)]


def test_every_scale_has_its_perturbation_in_2d() -> None:
    """unet.py:247-262 of SSL4MIS: noise at 1/2, feature drop at 1/4, dropout of 0.5 at 1/8."""
    torch.manual_seed(0)
    half, quarter, eighth = ((x / clean).flatten(1) for clean, x in read_by_heads(2))
    torch.testing.assert_close(half, half[:1].expand_as(half))
    assert 0.7 <= half.min() < 0.8 and 1.2 < half.max() <= 1.3
    assert set(quarter.flatten().tolist()) == {0.0, 1.0}
    assert (quarter == 0).any(1).all()  # the most active position of every image
    assert set(eighth.flatten().tolist()) == {0.0, 2.0}
    assert ((eighth == 0).any(1) & (eighth == 2).any(1)).any()  # single values, not channels


def test_every_scale_has_its_dropout_in_3d() -> None:
    """unet_3D_dv_semi.py:61-63: Dropout3d of 0.2 at 1/2, 0.3 at 1/4, 0.5 at 1/8."""
    torch.manual_seed(0)
    for probability, (clean, x) in zip((0.2, 0.3, 0.5), read_by_heads(3), strict=True):
        ratio = (x / clean).flatten(1)
        torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))  # whole channels
        dropped = ratio[:, 0] == 0
        assert dropped.float().mean().item() == pytest.approx(probability, abs=0.15)
        kept = torch.full_like(ratio[~dropped], 1 / (1 - probability))
        torch.testing.assert_close(ratio[~dropped], kept)


def test_scale_heads_repeat_coarse_logits() -> None:
    net = PixelNet(1, 2, 0)
    heads = ScaleHeads(net, 2, 2)
    view = net.decode(net.encode(torch.randn(1, 1, 16, 16)))
    logits = heads(view)
    assert [tuple(z.shape) for z in logits] == [(1, 2, 16, 16)] * 4
    assert torch.equal(logits[0], view.logits)
    blocks = logits[2].unfold(2, 4, 4).unfold(3, 4, 4)
    assert torch.equal(blocks.amax((-1, -2)), blocks.amin((-1, -2)))


def test_terms_of_all_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the run: e^-1.25 of the weight; heads hand their gradient to the network."""
    monkeypatch.setitem(_PERTURB, 2, (nn.Identity(),) * 3)
    build = Builder(UNetConfig(channels=(4, 4, 8, 8)), ndim=2, in_channels=1, classes=3, seed=0)
    torch.manual_seed(0)
    method = URPC(build, URPCParams(weight=2.0), classes=3, ndim=2).train()
    for module in method.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    data = batch(size=16)
    view = method.student.decode(method.student.encode(data.images))
    logits = [view.logits] + [
        F.interpolate(head(stage), size=(16, 16))
        for head, stage in zip(method.heads.heads, view.stages[1:], strict=True)
    ]
    terms = method.losses(data, Progress(500, 1000))
    supervised = torch.stack([supervised_loss(z[:2], data.label) for z in logits]).mean()
    assert_same(method, terms["supervised"], supervised)
    consistency = rectified_consistency([z[2:] for z in logits])
    assert_same(method, terms["consistency"], 2 * math.exp(-1.25) * consistency)
