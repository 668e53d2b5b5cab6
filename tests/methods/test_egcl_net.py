"""EGCL-Net's three contrastive terms on a network of fixed outputs, worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.base import Batch, Progress
from methods.blocks.averages import MultiScale
from methods.blocks.heads import ProjectionHead
from methods.egcl_net import EGCLNet, EGCLParams
from methods.networks import Decoded, SegNet

GRID, SIZE = 8, 32
END = Progress(999, 1000)
RAMP = math.exp(-5 * 0.001**2)
SURE, UNSURE = 20.0, math.log(0.6 / 0.4)  # logit differences; the entropy of .6/.4 is .971 of ln 2

# Left half class 0, right half class 1: 32 grid points of each class per image.
HALVES = (torch.arange(SIZE) >= SIZE // 2).long().expand(SIZE, SIZE)


class Fixed(SegNet):
    """Gives stored logits and features to the images of the batch, whatever they show."""

    level_channels = stage_channels = (4, 4, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Parameter(torch.zeros(0))
        self.logits = nn.ParameterList()

    def fill(self, labels: Tensor, margins: list[float], predicted: Tensor) -> None:
        """Features one-hot in `labels`, logits in favour of `predicted`, both (N, SIZE, SIZE)."""
        coarse = labels[:, :: SIZE // GRID, :: SIZE // GRID]
        self.features = nn.Parameter(torch.eye(4)[coarse].movedim(-1, 1).clone())
        one_hot = torch.eye(2)[predicted].movedim(-1, 1)
        logits = one_hot * torch.tensor(margins)[:, None, None, None]
        self.logits = nn.ParameterList([logits.clone(), logits.clone()])

    def encode(self, image: Tensor) -> list[Tensor]:
        assert len(image) == len(self.features)
        return []

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:  # noqa: ARG002
        return Decoded(self.logits[decoder], (self.features,) * 3)


class IdentityHead(ProjectionHead):
    """Hands the features of the stub network through, so that every embedding is known."""

    def rows(self, features: Tensor) -> Tensor:  # type: ignore[override]
        """(P, C) of a map (N, C, *G)."""
        return features.movedim(1, -1).flatten(0, -2)


def method_of(ndim: int = 2, **params: object) -> tuple[EGCLNet, Fixed]:
    """The method without projection: embeddings are the features themselves."""
    net = Fixed()
    method = EGCLNet(
        lambda **_: net,
        EGCLParams.model_validate({"tau_c": 1.0, "dim": 4, "lam_con": 1.0, **params}),
        classes=2,
        ndim=ndim,
    )
    method.head = IdentityHead(1, 1, ndim=ndim)
    return method, net


def batch_of(labeled: int, unlabeled: int) -> Batch:
    return Batch(
        image=torch.zeros(labeled, 1, SIZE, SIZE),
        label=HALVES.repeat(labeled, 1, 1),
        unlabeled=torch.zeros(unlabeled, 1, SIZE, SIZE),
    )


def values(method: EGCLNet, batch: Batch, t: Progress = END) -> dict[str, float]:
    return {name: term.item() for name, term in method.losses(batch, t).items()}


def closed_form(negatives: int) -> float:
    """Positives at similarity 1, negatives at 0, temperature 1."""
    return math.log(1 + negatives / math.e)


def test_all_pixels_certain() -> None:
    method, net = method_of()
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, SURE], labels)
    terms = values(method, batch_of(1, 1))
    # 64 pixels of each class over the two images, all of them keys.
    assert terms["contrast_low"] == pytest.approx(RAMP * closed_form(64) / 3, rel=1e-5)
    assert terms["contrast_high"] == 0 and terms["contrast_cross"] == 0
    assert method.take_observed()["high_share"].item() == 0


def test_all_pixels_uncertain() -> None:
    method, net = method_of(keys=20, anchors=5)
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [UNSURE, UNSURE], labels)
    terms = values(method, batch_of(1, 1))
    assert terms["contrast_high"] == pytest.approx(RAMP * closed_form(20) / 3, rel=1e-5)
    assert terms["contrast_low"] == 0 and terms["contrast_cross"] == 0
    assert method.take_observed()["high_share"].item() == 1


def test_certain_labeled_and_uncertain_unlabeled_image() -> None:
    method, net = method_of(w_low=0.2, w_high=0.3, w_cross=0.5)
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, UNSURE], labels)
    losses = method.losses(batch_of(1, 1), END)
    for name, share in (("low", 0.2), ("high", 0.3), ("cross", 0.5)):
        value = losses[f"contrast_{name}"].item()
        assert value == pytest.approx(RAMP * share * closed_form(32), rel=1e-5), name
    assert method.take_observed()["high_share"].item() == 0.5


def test_cross_term_moves_the_uncertain_side_only() -> None:
    method, net = method_of()
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, UNSURE], labels)
    method.losses(batch_of(1, 1), END)["contrast_cross"].backward()  # type: ignore[no-untyped-call]
    assert net.features.grad is not None
    certain, uncertain = net.features.grad.flatten(1).abs().sum(1).tolist()
    assert certain == 0 and uncertain > 0
    assert all(p.grad is None for p in net.logits), "the split takes no gradient"


def test_labeled_pixels_use_their_label_not_the_prediction() -> None:
    method, net = method_of()
    labels = HALVES[None]
    net.fill(labels, [SURE], torch.zeros_like(labels))  # everything predicted as background
    terms = values(method, batch_of(1, 0))
    assert terms["contrast_low"] == pytest.approx(RAMP * closed_form(32) / 3, rel=1e-5)
    assert terms["consistency"] == 0


def test_unlabeled_pixels_use_the_prediction() -> None:
    method, net = method_of(least=33)
    labels = HALVES.repeat(2, 1, 1)
    predicted = torch.stack([HALVES, torch.zeros_like(HALVES)])
    net.fill(labels, [SURE, SURE], predicted)
    # 32 + 64 pixels of class 0 but 32 of class 1, fewer than `least`: one class only.
    assert values(method, batch_of(1, 1))["contrast_low"] == 0


def test_groups_below_their_least_size_are_silent() -> None:
    method, net = method_of(least_group=65)
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, UNSURE], labels)
    terms = values(method, batch_of(1, 1))
    assert [terms[f"contrast_{n}"] for n in ("low", "high", "cross")] == [0, 0, 0]


def test_contrast_starts_late_and_ramps() -> None:
    method, net = method_of(start=0.5)
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, SURE], labels)
    assert set(values(method, batch_of(1, 1), Progress(499, 1000))) == {"supervised", "consistency"}
    half = values(method, batch_of(1, 1), Progress(500, 1000))
    # Ramp at half the run: e^-1.25.
    assert half["contrast_low"] == pytest.approx(0.2865048 * closed_form(64) / 3, rel=1e-5)


def test_consistency_by_hand() -> None:
    # p_A = (.6, .4), p_B = (.4, .6) on the unlabelled image: mean of .04; the labelled agrees.
    method, net = method_of(weight=0.5)
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, UNSURE], labels)
    with torch.no_grad():
        net.logits[1][1] *= -1
    assert values(method, batch_of(1, 1))["consistency"] == pytest.approx(
        0.5 * 0.04 * RAMP, rel=1e-5
    )


def test_memory_lengthens_the_keys_and_takes_no_gradient() -> None:
    method, net = method_of(memory=256)
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, SURE], labels)
    first, second = (values(method, batch_of(1, 1))["contrast_low"] for _ in range(2))
    assert first == pytest.approx(RAMP * closed_form(64) / 3, rel=1e-5)
    assert second == pytest.approx(RAMP * closed_form(128) / 3, rel=1e-5)
    assert method.memory.written.tolist() == [[128, 128], [0, 0]]
    assert not method.memory.vectors.requires_grad


@pytest.mark.parametrize(("ndim", "memory", "expected"), [(2, None, 0), (3, None, 256), (3, 7, 7)])
def test_memory_is_on_in_3d_only(ndim: int, memory: int | None, expected: int) -> None:
    assert method_of(ndim, memory=memory)[0].memory.size == expected


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(ValidationError, match="must be 1"):
        EGCLParams(w_low=0.5, w_high=0.5, w_cross=0.5)
    assert EGCLParams(w_low=1.0, w_high=0.0, w_cross=0.0).w_low == 1


def test_only_the_cross_term_may_be_contrasted() -> None:
    method, net = method_of(w_low=0.0, w_high=0.0, w_cross=1.0)
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, UNSURE], labels)
    terms = values(method, batch_of(1, 1))
    assert set(terms) == {"supervised", "consistency", "contrast_cross"}
    assert terms["contrast_cross"] == pytest.approx(RAMP * closed_form(32), rel=1e-5)


def test_high_entropy_negatives_lengthen_the_list_of_low_anchors() -> None:
    method, net = method_of(w_low=1.0, w_high=0.0, w_cross=0.0, low_negatives="all")
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, UNSURE], labels)
    terms = values(method, batch_of(1, 1))
    assert terms["contrast_low"] == pytest.approx(RAMP * closed_form(64), rel=1e-5)


def test_labeled_pixels_alone_may_be_contrasted() -> None:
    method, net = method_of(w_low=1.0, w_high=0.0, w_cross=0.0, split="none", pixels="labeled")
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [UNSURE, SURE], labels)
    terms = values(method, batch_of(1, 1))
    assert terms["contrast_low"] == pytest.approx(RAMP * closed_form(32), rel=1e-5)
    assert method.take_observed()["empty_group"].item() == 0


def test_joint_reading_equals_the_semantic_one_when_one_group_is_filled() -> None:
    shares: dict[str, Any] = {"w_low": 0.5, "w_high": 0.5, "w_cross": 0.0}
    found = []
    for reading in ("semantic", "joint"):
        method, net = method_of(reading=reading, **shares)
        labels = HALVES.repeat(2, 1, 1)
        net.fill(labels, [SURE, SURE], labels)
        found.append(values(method, batch_of(1, 1)))
    assert found[1]["contrast_group"] == pytest.approx(2 * found[0]["contrast_low"], rel=1e-5)


def test_joint_reading_pushes_the_groups_of_one_class_apart() -> None:
    method, net = method_of(reading="joint", w_low=0.5, w_high=0.5, w_cross=0.0)
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, UNSURE], labels)
    # Negatives: 32 of the own class in the other group at similarity 1, 64 of the other class at 0.
    expected = math.log(1 + 32 + 64 / math.e)
    terms = values(method, batch_of(1, 1))
    assert terms["contrast_group"] == pytest.approx(RAMP * expected, rel=1e-5)


def test_entropy_group_reading_looks_at_the_group_alone() -> None:
    method, net = method_of(reading="entropy_group", w_low=0.5, w_high=0.5, w_cross=0.0)
    net.fill(
        torch.stack([torch.zeros_like(HALVES), HALVES * 0 + 1]),
        [SURE, UNSURE],
        HALVES.repeat(2, 1, 1),
    )
    # All low points are e1, all high points e2, whatever their class: 64 negatives at 0.
    terms = values(method, batch_of(1, 1))
    assert terms["contrast_group"] == pytest.approx(RAMP * closed_form(64), rel=1e-5)


def test_other_readings_exclude_the_cross_term() -> None:
    with pytest.raises(ValidationError, match="w_cross"):
        EGCLParams(reading="joint")


def test_constant_contrastive_weight() -> None:
    method, net = method_of(con_ramp="none", start=0.0)
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [SURE, SURE], labels)
    early = values(method, batch_of(1, 1), Progress(0, 1000))
    assert early["contrast_low"] == pytest.approx(closed_form(64) / 3, rel=1e-5)


def test_entropy_minimisation_in_place_of_contrast() -> None:
    method, net = method_of(lam_con=0.0, lam_entropy=0.5)
    labels = HALVES.repeat(2, 1, 1)
    net.fill(labels, [UNSURE, UNSURE], labels)
    terms = values(method, batch_of(1, 1))
    assert set(terms) == {"supervised", "consistency", "entropy"}
    h = -(0.6 * math.log2(0.6) + 0.4 * math.log2(0.4))
    assert terms["entropy"] == pytest.approx(0.5 * RAMP * h, rel=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("embed_from", ["decoder", "encoder"])
@pytest.mark.parametrize("avg", ["dual_decoder", "student_teacher", "mc_passes", "multi_scale"])
def test_every_average_trains_the_tested_network(avg: str, embed_from: str, ndim: int) -> None:
    params = {"avg": avg, "passes": 2, "embed_from": embed_from, "tau": 0.99, "dim": 8, "least": 1}
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
    for companion in method.companions().values():
        method.eval()
        with torch.no_grad():
            torch.testing.assert_close(companion(batch.image), method.predict(batch.image))


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
    nn.init.constant_(net.heads.heads[0].bias[:1], math.log(3))
    # p of class 0 is 3/4 on one of three scales, 1/2 on the others: mean 7/12.
    spread = ((3 / 4 - 7 / 12) ** 2 + 2 * (1 / 2 - 7 / 12) ** 2) / 3
    assert net(batch).consistency.item() == pytest.approx(spread, rel=1e-5)
    assert net(batch).mean[0, 0, 0, 0].item() == pytest.approx(7 / 12)
