"""DAN: who trains whom, in which mode, against the published discriminator, and that D learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.config import OptimizerConfig
from benchmarks.engine.optim import Optimizers
from methods.base import Batch, Player
from methods.blocks.adversarial import evaluating
from methods.blocks.discriminator import Discriminator
from methods.dan import DAN
from tests.pixel_net import END, batch, make


def _moved(method: nn.Module, value: Tensor) -> set[str]:
    """Names of the parameters that a term moves."""
    method.zero_grad()
    value.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    return {n for n, p in method.named_parameters() if p.grad is not None and p.grad.any()}


def _waves(*shape: int, frequency: float) -> Tensor:
    points = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(frequency * points).view(shape).float()


@pytest.mark.parametrize(
    ("ndim", "size", "classes", "expected"),
    [
        (2, 224, 4, [[-0.1093495, -0.1542173], [-0.1093117, -0.1541692]]),
        (3, 96, 2, [[-0.1157574, -0.1649290], [-0.1154654, -0.1644308]]),
    ],
)
def test_discriminator_gives_the_logits_of_the_published_one(
    ndim: int, size: int, classes: int, expected: list[list[float]]
) -> None:
    """Recorded from SSL4MIS `code/networks/discriminator.py` @ 06df604 in eval mode, width 2.

    Parameter i, in order of use, is 0.2 sin(1.7 n + i). In 2D the published classifier reads four
    quadrants; it was given the same weights for each, divided by 4.
    """
    net = Discriminator(classes, ndim=ndim, width=2).eval()
    used = [net.of_map, net.of_image, *net.layers, net.classifier]
    with torch.no_grad():
        for i, p in enumerate(p for module in used for p in module.parameters()):
            n = torch.arange(p.numel(), dtype=torch.float64)
            p.copy_((0.2 * torch.sin(1.7 * n + i)).view(p.shape))
        probability = _waves(2, classes, *[size] * ndim, frequency=0.37).softmax(1)
        logits = net(probability, _waves(2, 1, *[size] * ndim, frequency=0.011))
    torch.testing.assert_close(logits, torch.tensor(expected), atol=2e-5, rtol=0)


def test_discriminator_sees_the_mean_of_the_channels() -> None:
    net = Discriminator(3, ndim=2, width=2).eval()
    p, image = torch.rand(1, 3, 16, 16), torch.rand(1, 2, 16, 16)
    torch.testing.assert_close(net(p, image), net(p, image.mean(1, keepdim=True)))


@pytest.mark.parametrize(("ndim", "layers"), [(2, 2), (3, 3)])
def test_discriminator_drops_channels_in_training(ndim: int, layers: int) -> None:
    """SSL4MIS: with p = 0.5, after the second and third layer, in 3D after the first one too."""
    dropped: list[Tensor] = []
    net = Discriminator(2, ndim=ndim, width=16)
    net.dropout.register_forward_hook(lambda _module, _args, out: dropped.append(out))
    net(torch.rand(8, 2, *[16] * ndim), torch.rand(8, 1, *[16] * ndim))
    assert len(dropped) == layers
    assert [x.shape[1] for x in dropped] == [16, 32, 64][3 - layers :]
    for x in dropped:
        silent = (x == 0).flatten(2).all(2)
        assert silent.float().mean().item() == pytest.approx(0.5, abs=0.15)
        assert (x != 0).flatten(2).all(2)[~silent].all()


def test_each_term_trains_one_side() -> None:
    """Both by hand: `-ln D(p_u)_1` with D in eval mode, and D's cross-entropy on all images."""
    method, data = make(DAN, values={"weight": 1.0, "width": 4}), batch(size=16)
    method.discriminator.dropout.p = 0.0
    terms = method.losses(data, END)
    assert _moved(method, terms["adversarial"]) == {"student.slope", "student.offset"}
    own = {n for n, _ in method.named_parameters() if n.startswith("discriminator")}
    assert _moved(method, terms["discriminator"]) == own
    log_d = method.discriminator(method.predict(data.images).softmax(1), data.images).log_softmax(1)
    # w(t) = exp(-5 (1 - 0.999)^2) is 1 at the end.
    torch.testing.assert_close(terms["adversarial"], -log_d[2:, 1].mean(), rtol=1e-4, atol=0)
    judged = -(log_d[:2, 1].sum() + log_d[2:, 0].sum()) / 5
    torch.testing.assert_close(terms["discriminator"], judged, rtol=1e-5, atol=0)


def test_modes_are_those_of_the_published_steps() -> None:
    """S trains and D evaluates, then S evaluates and D trains; afterwards both train again."""
    method, data = make(DAN, values={"width": 4}), batch(size=16)
    seen: list[tuple[str, bool, bool]] = []
    for name in ("student", "discriminator"):
        module = getattr(method, name)
        hook = lambda m, args, _out, n=name: seen.append((n, m.training, args[0].requires_grad))  # noqa: E731
        module.register_forward_hook(hook)
    method.losses(data, END)
    assert seen == [
        ("student", True, False),
        ("discriminator", False, True),
        ("student", False, False),
        ("discriminator", True, False),
    ]
    assert all(module.training for module in method.modules())


def test_evaluating_gives_every_module_its_own_mode_back() -> None:
    net = nn.Sequential(nn.Dropout(), nn.Dropout())
    net[1].eval()
    with evaluating(net):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == [True, True, False]


def test_discriminator_tells_separable_predictions_within_200_steps() -> None:
    """With the optimiser that it declares, whatever the suite's does (SSL4MIS: Adam, 1e-4)."""
    torch.manual_seed(0)
    method = make(DAN, classes=2, values={"width": 16})
    with torch.no_grad():  # a sure network: white is class 1
        method.student.slope.copy_(torch.tensor([[-9.0, 9.0]]))
        method.student.offset.zero_()
    image = torch.full((8, 1, 32, 32), -1.0)
    image[:4, :, 8:24, 8:24] = 1.0  # labelled images hold an object, the others none
    label = (image[:4, 0] > 0).long()
    assert method.players() == (Player("discriminator", lr=1e-4, optimizer="adam"),)
    optimizers = Optimizers(method, OptimizerConfig(lr=1e-9))
    curve = []
    for step in range(200):
        optimizers.set_rate(step / 200)
        optimizers.zero_grad()
        terms = method.losses(Batch(image[:4], label, image[4:]), END)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizers.step()
        curve.append(terms["discriminator"].item())
    assert sum(curve[:5]) / 5 == pytest.approx(math.log(2), abs=0.02)
    assert sum(curve[-5:]) / 5 < 0.5 * math.log(2)
    with evaluating(method), torch.no_grad():
        told = method.discriminator(F.softmax(method.predict(image), 1), image).argmax(1)
    assert told.tolist() == [1] * 4 + [0] * 4
