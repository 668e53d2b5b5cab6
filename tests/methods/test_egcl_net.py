"""EGCL-Net's three contrastive terms on a network of fixed outputs, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.base import Batch, Progress
from methods.blocks.averages import MultiScale, TeacherAverage
from methods.blocks.losses import supervised_loss
from methods.egcl_net import EGCLNet, EGCLParams
from tests.methods.stored_net import (
    END,
    HALVES,
    RAMP,
    SURE,
    UNSURE,
    batch_of,
    closed_form,
    halves_of,
    method_of,
    values,
)


def test_all_pixels_certain() -> None:
    method, _ = halves_of(SURE, SURE)
    terms = values(method, batch_of(1, 1))
    # 64 pixels of each class over the two images, all of them keys.
    assert terms["contrast_low"] == pytest.approx(RAMP * closed_form(64) / 3, rel=1e-5)
    assert terms["contrast_high"] == 0 and terms["contrast_cross"] == 0
    assert method.take_observed()["high_share"].item() == 0


def test_all_pixels_uncertain() -> None:
    method, _ = halves_of(UNSURE, UNSURE, keys=20, anchors=5)
    terms = values(method, batch_of(1, 1))
    assert terms["contrast_high"] == pytest.approx(RAMP * closed_form(20) / 3, rel=1e-5)
    assert terms["contrast_low"] == 0 and terms["contrast_cross"] == 0
    assert method.take_observed()["high_share"].item() == 1


def test_certain_labeled_and_uncertain_unlabeled_image() -> None:
    method, _ = halves_of(SURE, UNSURE, w_low=0.2, w_high=0.3, w_cross=0.5)
    losses = method.losses(batch_of(1, 1), END)
    for name, share in (("low", 0.2), ("high", 0.3), ("cross", 0.5)):
        value = losses[f"contrast_{name}"].item()
        assert value == pytest.approx(RAMP * share * closed_form(32), rel=1e-5), name
    assert method.take_observed()["high_share"].item() == 0.5


def test_terms_tell_what_they_rest_on() -> None:
    method, _ = halves_of(SURE, UNSURE, anchors=7)
    method.losses(batch_of(1, 1), END)
    facts = method.take_observed()
    for name in ("low", "high", "cross"):
        assert facts[f"anchors_{name}"].item() == 14, name  # 7 of each of two classes
        assert facts[f"classes_{name}"].item() == 2, name
        assert facts[f"skipped_{name}"].item() == facts[f"inert_{name}"].item() == 0, name


def test_a_low_group_of_one_class_makes_low_and_cross_terms_inert() -> None:
    """Enough low pixels, but all of them background, as on small images: nothing to push from."""
    method, net = method_of()
    labels = torch.stack([torch.zeros_like(HALVES), HALVES])
    net.fill(labels, [SURE, UNSURE], labels)
    batch = Batch(torch.zeros(1, 1, *HALVES.shape), labels[:1], torch.zeros(1, 1, *HALVES.shape))
    terms = values(method, batch)
    assert terms["contrast_low"] == terms["contrast_cross"] == 0
    assert terms["contrast_high"] == pytest.approx(RAMP * closed_form(32) / 3, rel=1e-5)
    facts = {name: value.item() for name, value in method.take_observed().items()}
    for name, anchors in (("low", 0), ("high", 64), ("cross", 0)):
        assert facts[f"anchors_{name}"] == anchors
        assert facts[f"inert_{name}"] == facts[f"skipped_{name}"] == (anchors == 0), name
    assert facts["one_sided"] == 0.5  # class 1 has no low pixel


def test_only_terms_with_a_share_are_computed() -> None:
    method, _ = halves_of(SURE, UNSURE, w_low=0.0, w_high=0.0, w_cross=1.0)
    terms = values(method, batch_of(1, 1))
    assert set(terms) == {"supervised", "consistency", "contrast_cross"}
    assert terms["contrast_cross"] == pytest.approx(RAMP * closed_form(32), rel=1e-5)
    assert {name for name in method.take_observed() if name.startswith("inert")} == {"inert_cross"}


def test_cross_term_moves_the_uncertain_side_only() -> None:
    method, net = halves_of(SURE, UNSURE)
    method.losses(batch_of(1, 1), END)["contrast_cross"].backward()  # type: ignore[no-untyped-call]
    assert net.features.grad is not None
    certain, uncertain = net.features.grad.flatten(1).abs().sum(1).tolist()
    assert certain == 0 and uncertain > 0
    assert all(p.grad is None for p in net.logits), "the split takes no gradient"


@pytest.mark.parametrize("name", ["low", "high", "cross"])
def test_terms_fall_along_their_gradient(name: str) -> None:
    method, net = halves_of(SURE, UNSURE)
    term = method.losses(batch_of(1, 1), END)[f"contrast_{name}"]
    (gradient,) = torch.autograd.grad(term, net.features)
    net.features.data.sub_(gradient)
    assert method.losses(batch_of(1, 1), END)[f"contrast_{name}"] < term


def test_supervision_of_both_decoders_on_the_labels_of_each_image() -> None:
    method, net = method_of()
    labels = torch.stack([HALVES, 1 - HALVES])
    net.fill(labels, [SURE, SURE], labels)
    image = torch.zeros(2, 1, *HALVES.shape)
    assert values(method, Batch(image, labels, image[:0]))["supervised"] < 1e-4


def test_supervision_is_the_mean_over_both_decoders() -> None:
    method, net = method_of()
    labels = torch.stack([HALVES, 1 - HALVES])
    net.fill(labels, [SURE, SURE], torch.zeros_like(labels))  # all predicted as background
    image = torch.zeros(2, 1, *HALVES.shape)
    alone = supervised_loss(method.predict(image), labels).item()
    assert alone > 1
    assert values(method, Batch(image, labels, image[:0]))["supervised"] == pytest.approx(alone)


def test_labeled_pixels_use_their_label_not_the_prediction() -> None:
    method, net = method_of()
    net.fill(HALVES[None], [SURE], torch.zeros_like(HALVES[None]))  # all predicted as background
    terms = values(method, batch_of(1, 0))
    assert terms["contrast_low"] == pytest.approx(RAMP * closed_form(32) / 3, rel=1e-5)
    assert terms["consistency"] == 0


def test_unlabeled_pixels_use_the_prediction() -> None:
    method, net = method_of(least=33)
    predicted = torch.stack([HALVES, torch.zeros_like(HALVES)])
    net.fill(HALVES.repeat(2, 1, 1), [SURE, SURE], predicted)
    # 32 + 64 pixels of class 0 but 32 of class 1, fewer than `least`: one class only.
    assert values(method, batch_of(1, 1))["contrast_low"] == 0


def test_contrast_starts_late_and_ramps() -> None:
    method, _ = halves_of(SURE, SURE, start=0.5)
    assert set(values(method, batch_of(1, 1), Progress(499, 1000))) == {"supervised", "consistency"}
    half = values(method, batch_of(1, 1), Progress(500, 1000))
    # Ramp at half the run: e^-1.25.
    assert half["contrast_low"] == pytest.approx(0.2865048 * closed_form(64) / 3, rel=1e-5)


def test_consistency_by_hand() -> None:
    # p_A = (.6, .4), p_B = (.4, .6) on the unlabelled image: mean of .04; the labelled agrees.
    method, net = halves_of(SURE, UNSURE, weight=0.5)
    with torch.no_grad():
        net.logits[1][1] *= -1
    for t, ramp in ((END, RAMP), (Progress(500, 1000), 0.2865048)):
        value = values(method, batch_of(1, 1), t)["consistency"]
        assert value == pytest.approx(0.5 * 0.04 * ramp, rel=1e-5)


def test_memory_lengthens_the_keys_and_takes_no_gradient() -> None:
    method, _ = halves_of(SURE, SURE, memory=256)
    first, second = (values(method, batch_of(1, 1))["contrast_low"] for _ in range(2))
    assert first == pytest.approx(RAMP * closed_form(64) / 3, rel=1e-5)
    assert second == pytest.approx(RAMP * closed_form(128) / 3, rel=1e-5)
    memory = method.embedding.memory
    assert memory.written.tolist() == [[128, 128], [0, 0]]
    assert not memory.vectors.requires_grad


@pytest.mark.parametrize(
    ("ndim", "given", "size"), [(2, {}, 0), (3, {}, 256), (3, {"memory": 7}, 7)]
)
def test_memory_is_on_in_3d_only(ndim: int, given: dict[str, object], size: int) -> None:
    method, _ = method_of(ndim, **EGCLParams.block(given, ndim))
    assert method.embedding.memory.size == size


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(ValidationError, match="must be 1"):
        EGCLParams(w_low=0.5, w_high=0.5, w_cross=0.5)
    with pytest.raises(ValidationError, match="must be 1"):
        EGCLParams(w_low=0.7, w_high=0.2, w_cross=0.1001)
    assert EGCLParams(w_low=1.0, w_high=0.0, w_cross=0.0).w_low == 1
    assert 0.7 + 0.2 + 0.1 != 1  # in floating point, but meant so
    assert EGCLParams(w_low=0.7, w_high=0.2, w_cross=0.1).w_low == 0.7


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("avg", ["dual_decoder", "student_teacher", "mc_passes", "multi_scale"])
def test_every_average_trains_the_tested_network(avg: str, ndim: int) -> None:
    params = {"avg": avg, "passes": 2, "tau": 0.99, "dim": 8, "least": 1, "embed_stride": 4}
    build = Builder(UNetConfig(channels=(4, 6, 8, 10)), ndim=ndim, in_channels=1, classes=2, seed=0)
    torch.manual_seed(0)
    method = EGCLNet(build, EGCLParams.model_validate(params), classes=2, ndim=ndim).train()
    size = (32,) * ndim if ndim == 2 else (16, 16, 16)
    label = torch.zeros(2, *size, dtype=torch.int64)
    label[..., size[-1] // 2 :] = 1
    batch = Batch(torch.randn(2, 1, *size), label, torch.randn(2, 1, *size))
    terms = method.losses(batch, END)
    assert {"contrast_low", "contrast_high", "contrast_cross"} <= set(terms)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    trained = [p for p in method.net.student.parameters() if p.grad is not None and p.grad.any()]
    assert len(trained) > 10
    assert all(p.grad is None for p in method.parameters() if not p.requires_grad)
    method.after_step(Progress(0, 1000))
    method.eval()
    with torch.no_grad():
        found = {name: network(batch.image) for name, network in method.companions().items()}
        tested, *others = expected_outputs(method, batch.image)
        assert torch.equal(method.predict(batch.image), tested)
    names = {"dual_decoder": ["decoder_2"], "multi_scale": ["scale_2", "scale_4"]}
    assert list(found) == names.get(avg, ["teacher"])
    for logits, expected in zip(found.values(), others, strict=True):
        torch.testing.assert_close(logits, expected)


def expected_outputs(method: EGCLNet, image: Tensor) -> list[Tensor]:
    """Logits of the tested output and of those beside it; the teacher is still a copy."""
    student = method.net.student
    views = student.outputs(image)
    if isinstance(method.net, MultiScale):
        scales: list[Tensor] = method.net.heads(views[0])
        return scales
    logits = [view.logits for view in views]
    return logits * 2 if isinstance(method.net, TeacherAverage) else logits


def test_multi_scale_consistency_by_hand() -> None:
    """Scales that agree give 0; the mean is taken over scales, pixels and classes."""
    build = Builder(UNetConfig(channels=(4, 4, 4, 4)), ndim=2, in_channels=1, classes=2, seed=0)
    net: Any = MultiScale(build, classes=2, ndim=2)
    for head in (*net.heads.heads, *[d.out for d in net.student.decoders]):
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    batch = Batch(
        torch.randn(1, 1, 16, 16), torch.zeros(1, 16, 16).long(), torch.randn(1, 1, 16, 16)
    )
    assert net(batch).consistency.item() == 0
    nn.init.constant_(net.heads.heads[0].bias[:1], 1.0986123)  # ln 3
    # p of class 0 is 3/4 on one of three scales, 1/2 on the others: mean 7/12.
    spread = ((3 / 4 - 7 / 12) ** 2 + 2 * (1 / 2 - 7 / 12) ** 2) / 3
    assert net(batch).consistency.item() == pytest.approx(spread, rel=1e-5)
    assert net(batch).mean[0, 0, 0, 0].item() == pytest.approx(7 / 12)
