"""CrossMatch: the published sum on fixed logits, its weights, and what is dropped."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.base import Progress
from methods.blocks import strong
from methods.blocks.losses import dice_loss, supervised_loss
from methods.crossmatch import CrossMatch, CrossMatchParams
from tests.methods.fixed import wave
from tests.methods.given_net import blank
from tests.pixel_net import END, batch, make


@pytest.fixture
def weak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strong views equal weak ones."""
    monkeypatch.setattr(strong, "strong_view", lambda image: image)


def _box(image: Tensor, *, probability: float) -> Tensor:
    assert probability == 0.5
    inside = torch.zeros(len(image), 1, 8, 8, dtype=torch.bool)
    inside[:, :, 2:6, 1:5] = True
    return inside


@pytest.mark.parametrize(
    ("theta", "image", "taught", "own", "share"),
    [
        (0.95, 0.9396161 + 0.9860456, 0.7384917, 0.9847912, 0.140625),
        (0.60, 0.8185430 + 0.9583971, 0.6696529, 0.9593107, 0.90625),
    ],
)
def test_published_code(
    monkeypatch: pytest.MonkeyPatch,
    theta: float,
    image: float,
    taught: float,
    own: float,
    share: float,
) -> None:
    """Outputs of github.com/AiEson/CrossMatch at 59772e0, `ACDC/train_cross_match.py:253-315`.

    On fixed logits of two images, one CutMix box and partner for both views; its Dice is smoothed
    by 1e-4 in place of 1e-5.
    """
    monkeypatch.setattr(strong, "cutmix_boxes", _box)
    w, wk, st, s1, s2, wk2, st2 = (
        wave(2, 3, 8, 8, phase=phase, scale=2.5) for phase in (0.1, 0.7, 1.3, 1.9, 2.5, 3.1, 3.7)
    )
    x = wave(2, 3, 8, 8)
    passes = [(torch.cat([x, w]), wk, st), (torch.cat([s1, s2]), wk2, st2)]
    method = make(CrossMatch, values={"threshold": theta, "threshold_last": theta})
    monkeypatch.setattr(CrossMatch, "decoded", lambda *_: passes.pop(0))
    label = torch.zeros(2, 8, 8, dtype=torch.int64)
    terms = method.losses(blank(2, 2, label), END)
    assert terms["supervised"].item() == pytest.approx(0.5 * supervised_loss(x, label).item())
    assert terms["image"].item() == pytest.approx(0.25 * image / 2, abs=2e-5)
    assert terms["distillation"].item() == pytest.approx(0.25 * 0.7 * taught, abs=2e-5)
    assert terms["self_distillation"].item() == pytest.approx(0.25 * 0.3 * own, abs=2e-5)
    assert method.take_observed()["confident_share"].item() == share


@pytest.mark.usefixtures("weak")
def test_weights() -> None:
    """With nothing perturbed all views have one Dice loss D of two images' own labels."""
    data = batch()
    values = {"threshold": 0.0, "threshold_last": 0.0, "cutmix": 0.0, "weak": 0.0, "strong": 0.0}
    method = make(CrossMatch, values={**values, "weight": 2.0, "eta": 0.2})
    z = method.predict(data.unlabeled)
    dice = dice_loss(z.softmax(1), z.argmax(1))
    terms = method.losses(data, END)
    torch.testing.assert_close(terms["image"], 0.25 * dice)
    torch.testing.assert_close(terms["distillation"], 0.5 * 2.0 * 0.8 * dice)
    torch.testing.assert_close(terms["self_distillation"], 0.5 * 2.0 * 0.2 * dice)
    pixels = data.unlabeled.numel()
    acted = {name: count.item() for name, count in method.take_acted().items()}
    assert acted == {
        "image": 2 * pixels,
        "distillation": 4 * pixels,
        "self_distillation": 2 * pixels,
    }


def test_channels_are_dropped_with_a_quarter_and_three_quarters() -> None:
    """`ACDC/model/unet.py:149-150`; the clean images come first and stay whole."""
    torch.manual_seed(0)
    method = make(CrossMatch)
    seen: list[Tensor] = []
    method.student.encode = lambda image: [image.expand(-1, 200, -1, -1)]

    def decode(levels: list[Tensor]) -> object:
        seen.append(levels[0])
        return type("View", (), {"logits": levels[0]})()

    method.student.decode = decode
    parts = method.decoded(torch.ones(5, 1, 2, 2), 3)
    assert [len(v) for v in parts] == [5, 3, 3]
    clean, weak, strong_ = torch.split(seen[0], [5, 3, 3])
    assert (clean == 1).all()
    for dropped, share in ((weak, 0.25), (strong_, 0.75)):
        assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.05)
        assert dropped.max().item() == pytest.approx(1 / (1 - share))


@pytest.mark.parametrize("step", [0, 500, 999])
def test_theta_rises_from_three_quarters_to_all_of_ln_2(step: int) -> None:
    """`LA/code/train_cross_match.py:365-367`: (3/4 + e^{-5 (1 - f)^2} / 4) ln 2.

    Confidences on both sides of it, the same for all pixels.
    """
    theta = (0.75 + 0.25 * math.exp(-5 * (1 - step / 1000) ** 2)) * math.log(2)
    method = make(CrossMatch, classes=2, values=CrossMatchParams.block({}, 3))
    for q, share in ((theta - 1e-3, 0.0), (theta + 1e-3, 1.0)):
        with torch.no_grad():
            method.student.slope.zero_()
            method.student.offset.copy_(torch.tensor([q, 1 - q]).log())
        data = batch(classes=2)
        method.losses(data, Progress(step, 1000))
        assert method.take_observed()["confident_share"].item() == share
        assert method.take_acted()["image"].item() == share * 2 * data.unlabeled.numel()


def test_published_values() -> None:
    """2D: `configs/acdc.yaml`, `train_cross_match.py:44,315`; 3D: `LA/code/...:56-62,363-367`."""
    found = {}
    for ndim in (2, 3):
        p = CrossMatchParams.model_validate(CrossMatchParams.block({}, ndim))
        found[ndim] = (p.weight, p.threshold, p.threshold_last, p.eta, p.weak, p.strong, p.cutmix)
    rest = (0.3, 0.25, 0.75, 0.5)
    ln2 = math.log(2)
    assert found == {2: (0.5, 0.95, 0.95, *rest), 3: (1.0, 0.75 * ln2, ln2, *rest)}


@pytest.mark.usefixtures("weak")
def test_no_confident_pixel_gives_0_with_a_graph() -> None:
    method = make(CrossMatch, values={"threshold": 0.9999, "threshold_last": 0.9999})
    terms = method.losses(batch(), END)
    for name in ("image", "distillation", "self_distillation"):
        assert terms[name].item() == 0 and terms[name].requires_grad
    assert all(count.item() == 0 for count in method.take_acted().values())
