"""CCT: the paper's form and SSL4MIS's, and that auxiliary decoders learn something."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmarks.config import OptimizerConfig, UNetConfig
from benchmarks.engine.nets import Builder
from benchmarks.engine.optim import Optimizers
from methods.base import Batch, Progress
from methods.blocks.losses import supervised_loss
from methods.cct import CCT, CCTParams
from tests.pixel_net import END, RAMP, assert_same, batch, make


def _moved(method: CCT, value: Tensor) -> Tensor:
    """Which decoders a term moves, (4,)."""
    method.zero_grad()
    value.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    slope = dict(method.student.named_parameters())["slope"].grad
    return torch.zeros(4, dtype=torch.bool) if slope is None else slope.any(1)


@pytest.fixture
def unperturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CCT, "perturbed", lambda _self, levels: [list(levels)] * 3)


@pytest.mark.usefixtures("unperturbed")
def test_auxiliary_decoders_learn_from_the_fixed_main_one_alone() -> None:
    """`yassouali/CCT` `models/model.py` @ 65d4e5b: targets detached, unlabelled images alone."""
    data, method = batch(), make(CCT, values={"weight": 2.0})
    terms = method.losses(data, END)
    p = [method.student.decode([data.unlabeled], i).logits.softmax(1) for i in range(4)]
    assert_same(
        method, terms["supervised"], supervised_loss(method.predict(data.image), data.label)
    )
    p[0] = p[0].detach()
    distance = torch.stack([(p[0] - p[a]).square().mean() for a in (1, 2, 3)]).mean()
    assert_same(method, terms["consistency"], 2 * RAMP * distance)
    assert _moved(method, terms["consistency"]).tolist() == [False, True, True, True]
    assert _moved(method, terms["supervised"]).tolist() == [True, False, False, False]


@pytest.mark.usefixtures("unperturbed")
def test_preset_of_ssl4mis_supervises_all_decoders_at_weight_a_tenth() -> None:
    """`train_cross_consistency_training_2D.py` @ 06df604: four CE and four Dice over 8."""
    data, method = batch(), make(CCT, values={"preset": "ssl4mis"})
    terms = method.losses(data, END)
    z = [method.student.decode([data.images], i).logits for i in range(4)]
    supervised = torch.stack([supervised_loss(v[:2], data.label) for v in z]).mean()
    assert_same(method, terms["supervised"], supervised)
    p = [v[2:].softmax(1) for v in z]
    distance = torch.stack([(p[0] - p[a]).square().mean() for a in (1, 2, 3)]).mean()
    assert_same(method, terms["consistency"], 0.1 * RAMP * distance)
    assert all(_moved(method, term).all() for term in terms.values())


def test_weight_is_30_and_full_after_a_tenth_of_the_run() -> None:
    """`configs/config.json` @ 65d4e5b: `unsupervised_w` 30, `ramp_up` 0.1 of 80 epochs."""
    p = CCTParams()
    for step, share in ((0, math.exp(-5)), (4, math.exp(-5 / 4)), (8, 1.0), (79, 1.0)):
        assert p.weight_at(Progress(step, 80)) == pytest.approx(30 * share)
    literal = CCTParams.model_validate({"preset": "ssl4mis"})
    assert literal.weight_at(Progress(100, 200)) == pytest.approx(0.1 * math.exp(-5 / 4))


@pytest.mark.parametrize("preset", [None, "ssl4mis"])
def test_what_each_auxiliary_decoder_sees(preset: str | None) -> None:
    """Noise within 30 %, half of the channels (SSL4MIS: 30 % of the values), no active places."""
    torch.manual_seed(0)
    method = make(CCT, values={} if preset is None else {"preset": preset})
    ones = torch.ones(4, 64, 16, 16)
    noisy, dropped, silenced = (levels[0] for levels in method.perturbed([ones, ones]))
    assert 0.69 < noisy.min() < 0.72 and 1.28 < noisy.max() < 1.31
    assert torch.equal(noisy[0], noisy[1])
    zero = (dropped == 0).flatten(2)
    whole = zero.all(2) | (~zero).all(2)
    assert whole.all() if preset is None else not whole.any()
    share = 0.5 if preset is None else 0.3
    assert zero.float().mean().item() == pytest.approx(share, abs=0.08)
    torch.testing.assert_close(dropped[~zero.view_as(dropped)].unique()[0].item(), 1 / (1 - share))
    assert not silenced.any()  # a flat map is above 0.7 to 0.9 of its maximum everywhere


def _blobs(seed: int) -> tuple[Tensor, Tensor]:
    """Six noisy images (6, 1, 32, 32) of a disk, and its masks."""
    g = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij"))
    centre = (0.3 + 0.4 * torch.rand(6, 2, 1, 1, generator=g)) * 32
    mask = (grid - centre).square().sum(1) < 64
    return mask[:, None] + 0.3 * torch.randn(6, 1, 32, 32, generator=g), mask.long()


def test_auxiliary_decoders_beat_a_constant() -> None:
    """They see no label; a constant that knows the main decoder's mean errs by its variance."""
    torch.manual_seed(0)
    builder = Builder(UNetConfig(channels=(8, 8, 16, 16)), ndim=2, in_channels=1, classes=2, seed=0)
    method = CCT(builder, CCTParams(), classes=2, ndim=2).train()
    optimizers = Optimizers(method, OptimizerConfig(lr=0.05))
    for step in range(100):
        image, mask = _blobs(step)
        terms = method.losses(Batch(image[:3], mask[:3], image[3:]), Progress(step, 100))
        optimizers.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizers.step()
    with torch.no_grad():
        method.eval()
        image, mask = _blobs(1000)
        main, *others = (view.logits.softmax(1) for view in method.student.outputs(image))
    assert (main.argmax(1) == mask).float().mean() > 0.95
    constant = (main - main.mean((0, 2, 3), keepdim=True)).square().mean()
    for p in others:
        assert (p - main).square().mean() < 0.5 * constant
