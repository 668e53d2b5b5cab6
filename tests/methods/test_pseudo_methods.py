"""Losses of the pseudo-label, mixing and memory methods on networks that are simple to follow."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from methods import load_method, method_ids
from methods.blocks import strong
from methods.blocks.features import complementary_dropout
from methods.blocks.losses import dice_loss, supervised_loss
from methods.cps import CPS
from methods.ctct import CTCT
from methods.fixmatch import FixMatch
from methods.unimatch import UniMatch
from methods.unimatch_v2 import UniMatchV2
from tests.pixel_net import END, RAMP, assert_same, batch, make


@pytest.fixture
def weak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strong views equal weak ones."""
    monkeypatch.setattr(strong, "strong_view", lambda image: image)


def test_every_preset_is_valid_and_can_be_overridden() -> None:
    found = 0
    for name in method_ids():
        model = load_method(name).Params
        for preset, values in model.presets.items():
            params = model.model_validate({"preset": preset})
            assert {key: getattr(params, key) for key in values} == dict(values), name
            key, field = next(iter(model.model_fields.items()))
            assert getattr(model.model_validate({"preset": preset, key: field.default}), key) == (
                field.default
            )
            found += 1
        with pytest.raises(ValueError, match="unknown preset 'none such'"):
            model.model_validate({"preset": "none such"})
    assert found > 5


def test_cps_and_ctct_learn_from_the_other_networks_labels() -> None:
    data = batch()
    for cls, loss in ((CPS, F.cross_entropy), (CTCT, lambda z, y: dice_loss(z.softmax(1), y))):
        method = make(cls, values={"weight": 1.0})
        z_1, z_2 = method.net_1(data.unlabeled), method.net_2(data.unlabeled)
        expected = loss(z_1, z_2.argmax(1)) + loss(z_2, z_1.argmax(1))
        terms = method.losses(data, END)
        assert_same(method, terms["pseudo"], RAMP * expected)
        parts = [supervised_loss(n(data.image), data.label) for n in (method.net_1, method.net_2)]
        assert_same(method, terms["supervised"], parts[0] + parts[1])
        assert torch.equal(method.predict(data.image), method.net_1(data.image))
        assert method.companions() == {"net_2": method.net_2}


@pytest.mark.usefixtures("weak")
def test_fixmatch_equals_cross_entropy_of_the_confident_pixels() -> None:
    data = batch()
    method = make(FixMatch, values={"threshold": 0.6, "cutmix": 0.0})
    z = method.predict(data.unlabeled)
    confidence, label = z.softmax(1).max(1)
    keep = confidence >= 0.6
    assert 0 < keep.float().mean() < 1
    expected = F.cross_entropy(z, label, reduction="none")[keep].sum() / keep.numel()
    terms = method.losses(data, END)
    assert_same(method, terms["pseudo"], expected)
    l_sup = supervised_loss(method.predict(data.image), data.label)
    assert_same(method, terms["supervised"], l_sup)
    strict = make(FixMatch, values={"threshold": 0.9999}).losses(data, END)["pseudo"]
    assert strict.item() == 0


@pytest.mark.usefixtures("weak")
def test_fixmatch_pseudo_labels_move_with_cutmix() -> None:
    """The pasted box brings its own label: a pixel network then has the loss of its own labels."""
    data = batch()
    losses = []
    for probability in (0.0, 1.0):
        method = make(FixMatch, values={"threshold": 0.0, "cutmix": probability})
        torch.manual_seed(1)
        losses.append(method.losses(data, END)["pseudo"])
        z = method.predict(data.unlabeled)
        per_pixel = F.cross_entropy(z, z.argmax(1), reduction="none")
        assert per_pixel.min() <= losses[-1] <= per_pixel.max()
    assert losses[0] != losses[1]


@pytest.mark.usefixtures("weak")
def test_unimatch_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing perturbed all three views have one Dice loss D: L = (L_sup + D/2 + D/2) / 2."""
    monkeypatch.setattr("methods.unimatch.channel_dropout", list)
    data = batch()
    method = make(UniMatch, values={"threshold": 0.0, "cutmix": 0.0})
    z = method.predict(data.unlabeled)
    dice = dice_loss(z.softmax(1), z.argmax(1))
    terms = method.losses(data, END)
    assert_same(method, terms["image"], 0.25 * dice)
    assert_same(method, terms["feature"], 0.25 * dice)
    l_sup = supervised_loss(method.predict(data.image), data.label)
    assert_same(method, terms["supervised"], 0.5 * l_sup)


@pytest.mark.usefixtures("weak")
def test_unimatch_v2_learns_from_the_teacher_on_the_same_image() -> None:
    """With nothing perturbed both views are equal: L = (L_sup + w CE over confident pixels) / 2.

    `unimatch_v2.py:169-204` of github.com/LiheYoung/UniMatch-V2, w = 1 there and 3 here.
    """
    data, plain = batch(), {"cutmix": 0.0, "whole": 1.0}
    method = make(UniMatchV2, values={"weight": 3.0, "threshold": 0.6, **plain})
    method.teacher.slope.data.mul_(-1)
    confidence, label = method.teacher(data.unlabeled).softmax(1).max(1)
    keep = confidence >= 0.6
    assert 0 < keep.float().mean() < 1
    z = method.student(data.unlabeled)
    expected = F.cross_entropy(z, label, reduction="none")[keep].sum() / keep.numel()
    terms = method.losses(data, END)
    assert_same(method, terms["pseudo"], 0.5 * 3 * RAMP * expected)
    l_sup = supervised_loss(method.predict(data.image), data.label)
    assert_same(method, terms["supervised"], 0.5 * l_sup)


def test_complementary_dropout_shares_the_channels() -> None:
    torch.manual_seed(0)
    first, second = complementary_dropout([torch.ones(40, 30, 2, 2)], whole=0.5)[0].chunk(2)
    assert torch.equal(first + second, torch.full_like(first, 2.0))
    whole = (first == 1).flatten(1).all(1)
    assert 4 <= int(whole.sum()) <= 16
    assert set(first[~whole].flatten().tolist()) == {0.0, 2.0}
    ones = torch.ones(4, 3, 2, 2)
    assert torch.equal(complementary_dropout([ones], whole=1.0)[0], ones)
