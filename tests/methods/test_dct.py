"""DCT: agreement and view difference by hand, adversarial examples, batch-norm statistics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.base import Batch, Progress
from methods.blocks.adversarial import fgsm
from methods.blocks.losses import supervised_loss
from methods.dct import DCT, DCTParams
from tests.pixel_net import END, assert_same, batch, make


def test_fgsm_by_hand() -> None:
    image, weight = torch.zeros(2, 1, 2, 2), torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    weight.requires_grad_()
    attacked = fgsm(image, lambda x: (x * weight).sum(), epsilon=0.1)
    assert torch.allclose(attacked[1, 0], torch.tensor([[0.1, -0.1], [0.0, 0.1]]))
    assert not attacked.requires_grad and not image.requires_grad and weight.grad is None


def test_weights_are_full_after_80_of_600_epochs() -> None:
    """`lambda_max exp(-5 (1 - T / 80)^2)` of 600 epochs with 10 and 0.5 (arXiv:1803.05984, 4.1)."""
    p = DCTParams()
    assert (p.weight_cot, p.weight_dif) == (10.0, 0.5)
    method, data = make(DCT, values={"ramp": p.ramp}), batch()
    full = method.losses(data, END)
    for epoch, share in ((0, math.exp(-5)), (40, math.exp(-5 * 0.25)), (80, 1.0), (300, 1.0)):
        terms = method.losses(data, Progress(epoch, 600))
        for name in ("agreement", "difference"):
            assert (terms[name] / full[name]).item() == pytest.approx(share, rel=0.08), epoch


def test_agreement_and_difference_by_hand() -> None:
    """JS of (1, 0) and (1/2, 1/2): H(3/4, 1/4) - H(1/2, 1/2) / 2 = .2158; CE without a step."""
    method = make(DCT, classes=2, values={"weight_cot": 2.0, "weight_dif": 3.0, "epsilon": 0.0})
    with torch.no_grad():
        for net, offset in ((method.net_1, (40.0, -40.0)), (method.net_2, (0.0, 0.0))):
            net.slope.zero_()
            net.offset.copy_(torch.tensor([offset]))
    terms = method.losses(batch(classes=2), END)
    h = 0.75 * math.log(4 / 3) + 0.25 * math.log(4) - math.log(2) / 2
    assert terms["agreement"].item() == pytest.approx(2 * h, rel=1e-4)
    # CE((1, 0), (1/2, 1/2)) = ln 2; CE((1/2, 1/2), (1, 0)) = 80 / 2.
    assert terms["difference"].item() == pytest.approx(3 * (math.log(2) + 40), rel=1e-4)


def test_each_network_resists_the_other_ones_attack() -> None:
    """Labels on labelled, own predictions on unlabelled images; the targets take no gradient."""
    data, method = batch(), make(DCT, values={"weight_dif": 1.0, "epsilon": 0.5})
    total = torch.zeros(())
    for own, other in ((method.net_1, method.net_2), (method.net_2, method.net_1)):
        x = data.images.requires_grad_()
        z = own(x)
        label = torch.cat([data.label, z[2:].argmax(1)])
        (gradient,) = torch.autograd.grad(F.cross_entropy(z, label), x)
        attacked = x.detach() + 0.5 * gradient.sign()
        target = own(data.images).softmax(1).detach()
        total = total - (target * other(attacked).log_softmax(1)).sum(1).mean()
    terms = method.losses(data, END)
    assert_same(method, terms["difference"], total)
    parts = [supervised_loss(net(data.image), data.label) for net in (method.net_1, method.net_2)]
    assert_same(method, terms["supervised"], parts[0] + parts[1])


def test_attacks_leave_the_running_statistics_to_images_and_see_the_net_in_eval_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The published code makes attacks in eval mode; here their batch norm is not tracked either.

    (AEGenerator.py of jizongFox/Deep-Co-Training-for-Semi-Supervised-Image-Segmentation @ 19cb8cd)
    """
    builder = Builder(UNetConfig(channels=(4, 4, 8, 8)), ndim=2, in_channels=1, classes=2, seed=0)
    method = DCT(builder, DCTParams(), classes=2, ndim=2).train()
    plain = DCT(builder, DCTParams(), classes=2, ndim=2).train()
    plain.load_state_dict(method.state_dict())
    image = torch.randn(5, 1, 16, 16)
    data = Batch(image[:2], (image[:2, 0] > 0).long(), image[2:])
    modes: list[bool] = []

    def watched(x: Tensor, loss: object, *, epsilon: float) -> Tensor:
        modes.extend(m.training for m in (method.net_1, method.net_2))
        return fgsm(x, loss, epsilon=epsilon)  # type: ignore[arg-type]

    monkeypatch.setattr("methods.blocks.adversarial.fgsm", watched)
    torch.manual_seed(1)
    method.losses(data, END)
    assert modes == [False, True, True, False]  # each time the attacked network alone
    torch.manual_seed(1)  # the networks have dropout
    for net in (plain.net_1, plain.net_2):
        net(data.images)
    assert all(module.training for module in method.modules())
    expected = dict(plain.named_buffers())
    for name, value in method.named_buffers():
        torch.testing.assert_close(value, expected[name], msg=name)
