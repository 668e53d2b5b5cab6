"""Losses of the pseudo-label, mixing and memory methods on networks that are simple to follow."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from methods import load_method, method_ids
from methods.bcp import BCP, region_loss
from methods.blocks import strong
from methods.blocks.components import largest_components
from methods.blocks.contrast import Samples, prototype_loss
from methods.blocks.losses import dice_loss, supervised_loss
from methods.blocks.mixing import paste_boxes
from methods.cps import CPS
from methods.ctct import CTCT
from methods.fixmatch import FixMatch
from methods.ss_net import SSNet
from methods.supervised import Supervised
from methods.u2pl import U2PL, quantile
from methods.ugpcl import UGPCL
from methods.unimatch import UniMatch
from methods.unimatch_v2 import complementary_dropout
from tests.pixel_net import END, batch, make


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
        torch.testing.assert_close(terms["pseudo"], expected, rtol=0.02, atol=0)
        both = sum(supervised_loss(n(data.image), data.label) for n in (method.net_1, method.net_2))
        torch.testing.assert_close(terms["supervised"], both)
        assert torch.equal(method.predict(data.image), method.net_1(data.image))


@pytest.mark.usefixtures("weak")
def test_fixmatch_equals_cross_entropy_of_the_confident_pixels() -> None:
    data = batch()
    method = make(FixMatch, values={"threshold": 0.6, "cutmix": 0.0})
    z = method.predict(data.unlabeled)
    confidence, label = z.softmax(1).max(1)
    keep = confidence >= 0.6
    assert 0 < keep.float().mean() < 1
    expected = F.cross_entropy(z, label, reduction="none")[keep].sum() / keep.numel()
    term = method.losses(data, END)["pseudo"]
    torch.testing.assert_close(term, expected)
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
    torch.testing.assert_close(terms["image"], 0.25 * dice)
    torch.testing.assert_close(terms["feature"], 0.25 * dice)
    l_sup = supervised_loss(method.predict(data.image), data.label)
    torch.testing.assert_close(terms["supervised"], 0.5 * l_sup)


def test_complementary_dropout_shares_the_channels() -> None:
    torch.manual_seed(0)
    first, second = complementary_dropout([torch.ones(40, 30, 2, 2)], whole=0.5)[0].chunk(2)
    assert torch.equal(first + second, torch.full_like(first, 2.0))
    whole = (first == 1).flatten(1).all(1)
    assert 4 <= int(whole.sum()) <= 16
    assert set(first[~whole].flatten().tolist()) == {0.0, 2.0}


def test_largest_components() -> None:
    label = torch.tensor([[[1, 1, 0, 1], [0, 0, 2, 0], [2, 0, 0, 2], [2, 0, 0, 0]]])
    kept = [[[1, 1, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0]]]
    assert largest_components(label, classes=3).tolist() == kept


def test_region_loss_is_taken_over_its_region() -> None:
    torch.manual_seed(0)
    z, y = torch.randn(1, 3, 2, 4), torch.randint(3, (1, 2, 4))
    left = torch.zeros(1, 2, 4, dtype=torch.bool)
    left[..., :2] = True
    torch.testing.assert_close(region_loss(z, y, left), supervised_loss(z[..., :2], y[..., :2]))


def test_bcp_without_mixing_is_supervision_and_pseudo_labels() -> None:
    data = batch(labeled=3, unlabeled=3)
    method = make(BCP, values={"preset": "no_mixing", "weight": 0.5, "ramp": 1e-9})
    terms = method.losses(data, END)
    label = largest_components(method.teacher(data.unlabeled).argmax(1), classes=3)
    true = supervised_loss(method.predict(data.image), data.label)
    pseudo = supervised_loss(method.predict(data.unlabeled), label)
    torch.testing.assert_close(terms["supervised"], true)
    torch.testing.assert_close(terms["pseudo"], 0.5 * pseudo)


def test_bcp_counts_both_directions_in_full() -> None:
    """Where labelled and unlabelled images and labels are equal, the parts are known."""
    data = batch(labeled=2, unlabeled=2)
    method = make(BCP)
    pair = (data.image, data.label)
    torch.manual_seed(0)
    true, other = method.mixed_losses(pair, pair)
    torch.manual_seed(0)
    inside = paste_boxes(data.image, side=2 / 3)[:, 0]
    logits = method.predict(data.image)
    parts = [region_loss(logits, data.label, region) for region in (inside, ~inside)]
    torch.testing.assert_close(true, parts[0] + parts[1])
    torch.testing.assert_close(other, parts[1] + parts[0])


def test_bcp_first_trains_on_labels_alone_with_two_thirds_boxes() -> None:
    data = batch()
    method = make(BCP)
    early = method.losses(data, type(END)(0, 1000))
    assert set(early) == {"supervised"}
    seen: list[Tensor] = []
    method.student.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    marked = type(data)(torch.ones_like(data.image), data.label, torch.zeros_like(data.unlabeled))
    method.losses(marked, END)
    boxes = seen[0].chunk(2)
    assert torch.equal(boxes[0] + boxes[1], torch.ones_like(boxes[0]))
    assert (boxes[0].flatten(1).sum(1) == round(8 * 2 / 3) ** 2).all()


def test_prototype_loss_by_hand() -> None:
    """One anchor at 0 degrees, centre at 0, negatives at 90 and 180 degrees, T = 1."""
    anchors = Samples(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([[True], [False]]))
    centre = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    negatives = Samples(
        torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]] * 2), torch.ones(2, 2, dtype=torch.bool)
    )
    expected = -math.log(math.e / (math.e + 1 + math.exp(-1)))
    loss = prototype_loss(anchors, centre, negatives, temperature=1.0)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    none = Samples(negatives.vectors, torch.zeros(2, 2, dtype=torch.bool))
    assert prototype_loss(anchors, centre, none, temperature=1.0).item() == 0


@pytest.mark.parametrize("classes", [2, 4])
def test_u2pl_finds_negatives_for_few_classes(classes: int) -> None:
    """The published mask is empty here: it wants a pixel to carry and not to be the class."""
    method = make(U2PL, classes=classes, values={"alpha": 0.4, "dim": 8})
    data = batch(classes, size=32)
    terms = method.losses(data, type(END)(100, 1000))
    facts = method.take_observed()
    assert facts["negatives"].item() > 0
    assert facts["anchor_classes"].item() >= 2
    assert terms["contrast"].item() > 0
    stored = method.memory.read(0)
    norms = stored.vectors.norm(dim=-1)[stored.valid]
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5)


def test_u2pl_negatives_never_carry_their_class() -> None:
    method = make(U2PL, classes=4, values={"alpha": 0.49, "dim": 4, "memory": 4096})
    size, k = 8, 4
    p = torch.randn(2, k, size, size).softmax(1)
    label = p.argmax(1)
    # A key's first entry tells its class, so that the memory can be read.
    keys = F.one_hot(label, k).movedim(-1, 1).float()
    method.contrast(keys, keys, p, label, 1, type(END)(0, 1000))
    stored = method.memory.read(0)
    for c in range(k):
        assert stored.valid[c].any()
        assert not stored.vectors[c][stored.valid[c]][:, c].any()


def test_quantile_of_many_values_takes_a_part() -> None:
    value = torch.linspace(0, 1, 3_000_001)
    assert quantile(value, 0.25).item() == pytest.approx(0.25, abs=1e-5)


def test_ss_net_pulls_towards_a_memory_of_correct_foreground() -> None:
    method = make(SSNet, values={"dim": 4, "memory": 2})
    torch.manual_seed(0)
    vectors = F.normalize(torch.randn(6, 4), dim=1)
    label = torch.tensor([0, 1, 1, 1, 2, 2])
    correct = torch.tensor([True, True, True, True, False, False])
    method.remember(vectors, label, correct)
    stored = method.memory.read(0)
    assert stored.valid.sum(1).tolist() == [0, 2, 0]  # no background, no wrong pixel
    score = method.select_memory(vectors).sigmoid()[1:4, 1]
    best = vectors[1:4][score.argsort(descending=True)[:2]]
    torch.testing.assert_close(stored.vectors[1], best)
    w_i = method.select_pixel(vectors).sigmoid()[1:4, 1]
    w_m = method.select_memory(best).sigmoid()[:, 1]
    q = F.normalize(method.prediction(vectors[1:4]), dim=1)
    distance = 1 - q @ best.T
    weight = (w_i / w_i.mean())[:, None] * (w_m / w_m.mean())
    expected = (weight * distance).mean()
    member = torch.ones(6, dtype=torch.bool)
    torch.testing.assert_close(method.pull(vectors, label, member), expected)


def test_ss_net_smoothness_is_zero_where_nothing_depends_on_the_image() -> None:
    data, method = batch(size=16), make(SSNet, values={"dim": 4})
    assert method.losses(data, END)["smoothness"] > 0
    with torch.no_grad():
        method.student.slope.zero_()
    p = method.predict(data.images).softmax(1)
    moved = method.smoothness(data.images, p)
    torch.testing.assert_close(moved, method.smoothness(data.images + 1, p))


def test_ugpcl_memory_holds_embeddings_alone() -> None:
    method = make(UGPCL, values={"dim": 8, "memory": 64})
    assert not method.memory.read(0).valid.any()
    terms = method.losses(batch(size=16), END)
    stored = method.memory.read(0)
    assert stored.valid.any()
    norms = stored.vectors[stored.valid].norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    assert terms["contrast"] > 0
    assert "contrast" not in method.losses(batch(size=16), type(END)(0, 1000))


def test_ugpcl_certainty_reaches_every_pixel_at_the_end_only_with_ln_k() -> None:
    data = batch(size=16)
    shares = {}
    for base in ("lnK", "ln2"):
        method = make(UGPCL, values={"dim": 8, "threshold_base": base})
        with torch.no_grad():
            method.student.slope.zero_()
            method.student.offset.zero_()
        method.losses(data, type(END)(1000, 1000))
        shares[base] = method.take_observed()["certain_share"].item()
    assert shares == {"lnK": 1.0, "ln2": 0.0}


def test_strong_supervision_changes_the_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = batch()
    monkeypatch.setattr("methods.blocks.labeled.strong_view", lambda image: image + 1)
    method = make(Supervised, values={"strong": True})
    expected = supervised_loss(method.predict(data.image + 1), data.label)
    torch.testing.assert_close(method.losses(data, END)["supervised"], expected)
