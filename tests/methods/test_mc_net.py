"""MC-Net: the paper's sum by hand, losses and gradients of the published code, its values."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from methods.base import Batch
from methods.mc_net import MCNet, MCNetParams
from methods.networks import Decoder, SegNet
from tests.methods.fixed import striped, wave
from tests.pixel_net import END, PixelNet, batch, make


def pixel_method(
    ndim: int, slope: Tensor, offset: Tensor, **values: object
) -> tuple[MCNet, PixelNet, list[Sequence[Decoder]]]:
    """The method on one pixel network of given slopes and offsets; full weight from the start."""
    count, classes = slope.shape
    net, asked = PixelNet(count, classes, 0), list[Sequence[Decoder]]()
    net.encode = lambda image: [image]  # type: ignore[method-assign] # images too small to be pooled
    with torch.no_grad():
        net.slope.copy_(slope)
        net.offset.copy_(offset)

    def build(*, decoders: int | Sequence[Decoder] = 1, **_: object) -> SegNet:
        assert not isinstance(decoders, int)
        asked.append(decoders)
        return net

    given = {"decoders": count, "ramp": 1e-3, **values}
    params = MCNetParams.model_validate(MCNetParams.block(given, ndim))
    return MCNet(build, params, classes=classes, ndim=ndim), net, asked


def test_consistency_by_hand() -> None:
    """p_1 = (.8, .2), p_2 = (.6, .4), T = 1/2: S_1 = (.64, .04) / .68, S_2 = (.36, .16) / .52.

    (p_1 - S_2)^2 = .107692^2 and (p_2 - S_1)^2 = .341176^2 in both classes: .0115976 + .1164014.
    """
    p = torch.tensor([[0.8, 0.2], [0.6, 0.4]])
    method, _, _ = pixel_method(2, torch.zeros(2, 2), p.log(), weight=0.5, temperature=0.5)
    terms = method.losses(batch(2), END)
    assert terms["consistency"].item() == pytest.approx(0.5 * 0.127999, rel=1e-5)
    # Labels are half of each class: CE = mean of -ln p; both sums count in full.
    data = Batch(torch.zeros(1, 1, 1, 2), torch.tensor([[[0, 1]]]), torch.zeros(1, 1, 1, 2))
    # .5 (CE + Dice): CE = -(ln .8 + ln .2) / 2 = .916291, -(ln .6 + ln .4) / 2 = .713558;
    # Dice = 1 - mean(1.6 / (1.28 + 1), .4 / (.08 + 1)) = .463938,
    #        1 - mean(1.2 / (.72 + 1), .8 / (.32 + 1)) = .348132.
    expected = 0.5 * (0.916291 + 0.463938 + 0.713558 + 0.348132)
    assert method.losses(data, END)["supervised"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("decoders", [2, 3])
def test_targets_are_detached(decoders: int) -> None:
    data = batch()
    method = make(MCNet, values={"weight": 1.0, "decoders": decoders, "temperature": 0.5})
    z = [view.logits for view in method.student.outputs(data.images)]
    pairs = [(a, b) for a in range(decoders) for b in range(decoders) if a != b]
    squared = [(z[a].softmax(1) - (2 * z[b].detach()).softmax(1)).square().mean() for a, b in pairs]
    term = method.losses(data, END)["consistency"]
    torch.testing.assert_close(term, torch.stack(squared).sum(), rtol=1e-4, atol=0)
    own = torch.autograd.grad(term, method.student.slope)[0]
    detached = torch.autograd.grad(torch.stack(squared).sum(), method.student.slope)[0]
    torch.testing.assert_close(own, detached, rtol=1e-3, atol=1e-7)


def test_published_code_in_2d() -> None:
    """Outputs of github.com/ycwu1997/MC-Net at fee453c, train_mcnet_2d.py:117-144, losses.py:35-56.

    Two decoders, T = 0.5, consistency weight 0.7; the gradient is that of the loss for the slopes.
    """
    slope, offset = wave(2, 3, phase=1.0), wave(2, 3, phase=2.0)
    method, net, _ = pixel_method(
        2, slope, offset, preset="mc_net_code", weight=0.7, temperature=0.5
    )
    x, label = wave(3, 1, 4, 4, phase=0.3, scale=2), striped(2, 4, 4, up=7, down=3, classes=3)
    terms = method.losses(Batch(x[:2], label, x[2:]), END)
    assert terms["supervised"].item() == pytest.approx(1.6236012, abs=1e-5)
    assert terms["consistency"].item() == pytest.approx(0.4311550, abs=1e-5)
    (grad,) = torch.autograd.grad(terms["supervised"] + terms["consistency"], net.slope)
    expected = [0.1776120, -0.0473449, -0.1302671, -0.2368453, 0.1589050, 0.0779403]
    torch.testing.assert_close(grad.flatten(), torch.tensor(expected), rtol=0, atol=1e-5)


def test_published_code_in_3d() -> None:
    """train_mcnet_3d.py:136-163 and losses.py:4-8 there, three decoders, T = 0.5, weight 0.7."""
    slope, offset = wave(3, 2, phase=1.0), wave(3, 2, phase=2.0)
    method, net, _ = pixel_method(
        3, slope, offset, preset="mc_net_code", weight=0.7, temperature=0.5
    )
    x, label = wave(3, 1, 4, 4, 4, phase=0.3, scale=2), striped(2, 4, 4, 4, up=7, down=3, classes=2)
    terms = method.losses(Batch(x[:2], label, x[2:]), END)
    assert terms["supervised"].item() == pytest.approx(0.8770071, abs=1e-5)
    assert terms["consistency"].item() == pytest.approx(1.4743795, abs=1e-5)
    (grad,) = torch.autograd.grad(terms["supervised"] + terms["consistency"], net.slope)
    expected = [-0.2518613, 0.2518613, 0.0470997, -0.0470997, 0.1665043, -0.1665043]
    torch.testing.assert_close(grad.flatten(), torch.tensor(expected), rtol=0, atol=1e-5)


def test_published_values() -> None:
    """train_mcnet_2d.py:51-54: 200 x 150 of 30,000 steps; _3d.py:46-49: 40 x 150 of 15,000."""
    found = {}
    for ndim in (2, 3):
        p = MCNetParams.model_validate(MCNetParams.block({"preset": "mc_net_code"}, ndim))
        found[ndim] = (p.weight, p.ramp, p.weight_supervised, p.temperature)
    assert found == {2: (0.1, 1.0, 1.0, 0.1), 3: (1.0, 0.4, 0.5, 0.1)}


def test_the_code_tests_a_linear_decoder_in_2d() -> None:
    """unet.py:157-159 (up_type 1 first), VNet.py:236-237 (up_type 0 first)."""
    value = wave(3, 2)
    first = {}
    for ndim in (2, 3):
        for preset in ("plus", "mc_net_code"):
            asked = pixel_method(ndim, value, value, preset=preset)[2]
            assert sorted(asked[0]) == ["linear", "nearest", "transposed"]
            first[ndim, preset] = asked[0][0]
    assert first == {
        (2, "plus"): "transposed",
        (2, "mc_net_code"): "linear",
        (3, "plus"): "transposed",
        (3, "mc_net_code"): "transposed",
    }
