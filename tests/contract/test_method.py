"""What every method must do, in 2D and 3D, with two and with four classes."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from methods.base import Method, Progress
from methods.blocks.losses import one_hot
from tests.contract.case import (
    END,
    SIZE,
    TOTAL,
    Case,
    Scaled,
    assert_same_bits,
    assert_same_terms,
    assert_well_formed,
    cases,
    gradients,
    optimizer_of,
    state_of,
    total_loss,
    train,
    trained,
)


@pytest.fixture(params=cases())
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


@pytest.mark.parametrize("step", [0, TOTAL // 2, TOTAL - 1])
@pytest.mark.parametrize("sizes", [(2, 3), (3, 1)])
def test_terms_are_finite_float32_scalars(case: Case, sizes: tuple[int, int], step: int) -> None:
    method = case.make()
    terms = method.losses(case.batch(0, *sizes), Progress(step, TOTAL))
    assert_well_formed(terms)
    assert all(v.shape == () and not v.requires_grad for v in method.take_observed().values())
    assert method.take_observed() == {}
    acted = method.take_acted()
    assert acted.keys() <= terms.keys() and all(v.shape == () for v in acted.values())


@pytest.mark.parametrize("case", list(cases(binary=False)), indirect=True)
def test_terms_that_wait_are_declared(case: Case) -> None:
    """Else a run that ends before they begin would not be refused."""
    for preset in ({}, *({"preset": name} for name in case.cls.Params.presets)):
        method = case.make(given=preset)
        last = _terms(method, case, TOTAL - 1)
        assert case.cls.stages.keys() <= last
        for term in last - _terms(method, case, 0):
            begin = _begin(method, case.cls.stages[term])
            assert term not in _terms(method, case, begin - 1), preset
            assert term in _terms(method, case, begin), preset


def _begin(method: Method[Any], name: str) -> int:
    """First step after a stage whose length is a share of the run or a number of steps."""
    length = getattr(method.params, name)
    return length if isinstance(length, int) else math.ceil(length * TOTAL)


def _terms(method: Method[Any], case: Case, step: int) -> set[str]:
    return set(method.losses(case.batch(0), Progress(step, TOTAL)))


@pytest.mark.parametrize("case", list(cases(solid=False, binary=False)), indirect=True)
def test_unlabeled_images_count_only_where_declared(case: Case) -> None:
    method = trained(case, steps=16)  # until a teacher is sure of some pixels
    batch = case.batch(77)
    other = replace(batch, unlabeled=case.batch(78, 0, 3).unlabeled)
    results = []
    for b in (batch, other):
        torch.manual_seed(0)
        results.append(gradients(method, total_loss(method, b)))
    differ = any(not torch.equal(results[0][n], results[1][n]) for n in results[0])
    assert differ == case.cls.uses_unlabeled


@pytest.mark.parametrize("case", list(cases(solid=False, binary=False)), indirect=True)
def test_frozen_weights_move_only_after_the_step(case: Case) -> None:
    method = trained(case)
    frozen = {n: p for n, p in method.named_parameters() if not p.requires_grad}
    before = {n: p.clone() for n, p in frozen.items()}
    optimizer = optimizer_of(method)
    total_loss(method, case.batch(77)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert all(p.grad is None for p in frozen.values())
    assert_same_bits(before, dict(frozen))
    trainable = {n: p.detach().clone() for n, p in method.named_parameters() if p.requires_grad}
    method.after_step(END)
    moved = [p for n, p in frozen.items() if not torch.equal(before[n], p)]
    assert moved or not frozen
    copies = [p for p in moved if any(torch.equal(p, q) for q in trainable.values())]
    assert not copies, "a late average is no copy"
    assert_same_bits(trainable, {n: p for n, p in method.named_parameters() if p.requires_grad})


@pytest.mark.parametrize("case", list(cases(solid=False, binary=False)), indirect=True)
def test_same_seed_same_bits(case: Case) -> None:
    results = []
    for noise in (1, 2):
        method = case.make()
        torch.manual_seed(noise)
        terms = list(train(case, method, optimizer_of(method), range(3)))
        results.append((state_of(method), terms))
    assert_same_bits(results[0][0], results[1][0])
    for first, second in zip(results[0][1], results[1][1], strict=True):
        assert_same_terms(first, second)


@pytest.mark.parametrize("case", list(cases(solid=False, binary=False)), indirect=True)
def test_loading_and_stepping_equals_stepping_on(case: Case) -> None:
    method = case.make()
    optimizer = optimizer_of(method)
    list(train(case, method, optimizer, range(3)))
    buffer = io.BytesIO()
    torch.save([method.state_dict(), optimizer.state_dict()], buffer)
    on = list(train(case, method, optimizer, range(3, 5)))
    buffer.seek(0)
    resumed = case.make(seed=9)
    state, optimizer_state = torch.load(buffer, weights_only=True)
    resumed.load_state_dict(state)
    resumed_optimizer = optimizer_of(resumed)
    resumed_optimizer.load_state_dict(optimizer_state)
    again = list(train(case, resumed, resumed_optimizer, range(3, 5)))
    for first, second in zip(on, again, strict=True):
        assert_same_terms(first, second)
    assert_same_bits(state_of(method), state_of(resumed))


@pytest.mark.parametrize("case", list(cases(binary=False)), indirect=True)
def test_the_tested_network_starts_as_supervision_alone_does(case: Case) -> None:
    image = case.batch(77, 2, 0).image
    alone = Case("supervised", case.ndim, case.classes, case.device).make().eval()
    with torch.no_grad():
        assert torch.equal(case.make().eval().predict(image), alone.predict(image))


@pytest.mark.parametrize("case", list(cases(binary=False)), indirect=True)
def test_prediction(case: Case) -> None:
    method = trained(case).eval()
    image = case.batch(77, 3, 0).image
    before = state_of(method)
    networks = {"tested": method.predict, **method.companions()}
    for name, predict in networks.items():
        with torch.no_grad():
            logits = predict(image)
            assert logits.shape == (3, case.classes, *image.shape[2:]), name
            assert logits.isfinite().all()
            assert torch.equal(logits, predict(image)), f"{name} is not deterministic"
            torch.testing.assert_close(predict(image[:1]), logits[:1], atol=1e-5, rtol=1e-4)
    assert_same_bits(before, state_of(method))


@pytest.mark.parametrize("case", list(cases(solid=False, binary=False)), indirect=True)
@pytest.mark.parametrize("scale", [0.0, 1e4], ids=["uniform", "saturated"])
def test_extreme_confidence_gives_no_nan(case: Case, scale: float) -> None:
    method = case.make(wrap=lambda net: Scaled(net, scale))
    for seed in range(2):
        terms = method.losses(case.batch(seed), END)
        assert_well_formed(terms)
        found = gradients(method, torch.stack(list(terms.values())).sum())
        assert found and all(g.isfinite().all() for g in found.values())


@pytest.mark.parametrize("case", list(cases(solid=False, binary=False)), indirect=True)
def test_background_only_labels_give_no_nan(case: Case) -> None:
    method = trained(case)
    batch = case.batch(77)
    empty = replace(batch, label=torch.zeros_like(batch.label))
    terms = method.losses(empty, END)
    assert_well_formed(terms)
    found = gradients(method, torch.stack(list(terms.values())).sum())
    assert all(g.isfinite().all() for g in found.values())


@pytest.mark.parametrize("case", list(cases(solid=False, binary=False)), indirect=True)
def test_bfloat16_autocast_is_close_to_float32(case: Case) -> None:
    method = trained(case)
    for module in method.modules():
        if isinstance(module, nn.Dropout):
            module.eval()  # masks of the two precisions would differ
    state, batch = state_of(method), case.batch(77)
    results = []
    for enabled in (False, True):
        method.load_state_dict(state)
        torch.manual_seed(0)
        with torch.autocast(case.device.type, dtype=torch.bfloat16, enabled=enabled):
            results.append(method.losses(batch, END))
    full, low = results
    assert_well_formed(low)
    assert full.keys() == low.keys()
    for name in full:
        torch.testing.assert_close(low[name], full[name], rtol=0.1, atol=2e-3, msg=name)
    found = gradients(method, torch.stack(list(low.values())).sum())
    assert all(g.isfinite().all() for g in found.values())


@pytest.mark.parametrize("case", list(cases(solid=False, binary=False)), indirect=True)
def test_the_first_thirty_steps_lower_the_supervised_loss(case: Case) -> None:
    """Of the run: at full weight some published terms outweigh what has not been learnt yet."""
    method = case.make()
    # UnCL outweighs supervision at first, and true labels let nothing else give way to it.
    count = 90 if case.cls.oracle else 30
    steps = range(100 - TOTAL, 100 + count - TOTAL)
    curve = [s["supervised"].item() for s in train(case, method, optimizer_of(method), steps)]
    assert sum(curve[-3:]) / 3 < 0.9 * curve[0]
    batch, clear = case.batch(77, 4, 0), slice(SIZE[case.ndim] // 2, None)  # the rest is fog
    truth = one_hot(batch.label, case.classes)[:, :, clear]
    constant = (truth - truth.flatten(2).mean((0, 2)).view(1, -1, *[1] * case.ndim)).square().mean()
    with torch.no_grad():
        error = (method.predict(batch.image).softmax(1)[:, :, clear] - truth).square().mean()
    assert error < 0.6 * constant, "the labels are not learnt"
