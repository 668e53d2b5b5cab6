"""Every mechanism of a method is at work: its terms, its auxiliary players, its counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.config import OptimizerConfig
from benchmarks.engine.optim import Optimizers
from methods import load_method, method_ids
from methods.base import Batch, Method, Progress
from methods.networks import Decoded, SegNet
from tests.contract.case import (
    END,
    SIZE,
    TOTAL,
    Case,
    cases,
    gradients,
    optimizer_of,
    state_of,
    train,
)

# Lengths of a step down a gradient, relative to the weights; a term may be rough at one of them.
_STEPS = (1e-2, 1e-3, 1e-4)
# Steps that lower a term less those that raise it, by which the right sign is told from the wrong
# one: a term that draws pixels anew falls now and then in either case.
_CLEAR = 4
# Methods with terms that may fall by chance, so that one fall tells nothing; the others are left to
# `make contract`, to save time.
ROUGH = ("ac_mt", "egcl_net", "meta_ssl", "sdcl")
# Views of an image on which one term may act.
_VIEWS = 2


@pytest.fixture(params=cases())
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


def reached(method: Method[Any], image: Tensor) -> set[str]:
    """Names of the trained parameters that a prediction depends on."""
    return set(gradients(method, method.predict(image).square().sum()))


def moved_by(method: Method[Any], term: Tensor) -> set[str]:
    """Names of the parameters that a term moves."""
    return {name for name, gradient in gradients(method, term).items() if gradient.any()}


def assert_possible(method: Method[Any], batch: Batch, terms: dict[str, Tensor]) -> None:
    """Counts are whole, of terms that there are, and 0 only where the term is 0."""
    pixels = batch.images[:, 0].numel()
    for name, count in method.take_acted().items():
        assert name in terms
        assert count.shape == () and not count.requires_grad
        assert 0 <= count.item() <= _VIEWS * pixels, name
        assert count.item() == pytest.approx(round(count.item()), abs=0.01), name
        assert count.item() > 0.5 or terms[name].item() == 0, f"{name} acted on nothing"


def change(method: Method[Any], name: str, batch: Batch, length: float) -> float:
    """Change of a term by a step down its own gradient, with the same random numbers."""
    before = state_of(method)
    torch.manual_seed(0)
    term = method.losses(batch, END)[name]
    found = gradients(method, term)
    norm = torch.stack([g.norm() for g in found.values()]).norm()
    size = torch.stack([before[n].norm() for n in found]).norm()
    method.load_state_dict(before)
    with torch.no_grad():
        for n, p in method.named_parameters():
            if n in found:
                p.sub_(found[n], alpha=float(length * size / norm))
    torch.manual_seed(0)
    after = method.losses(batch, END)[name]
    method.load_state_dict(before)
    return after.item() - term.item()


def test_every_term_trains_the_tested_network(case: Case) -> None:
    """At the end of the run's schedule, looked at along a short training; auxiliary ones do not.

    A step down its gradient lowers a term: one of the wrong sign would have an innocent value.
    """
    method, batch, auxiliary = case.make(), case.batch(77), case.cls.auxiliary
    core = reached(method, batch.image)
    silent, seen = set[str](), set[str]()
    for step, _ in enumerate(train(case, method, optimizer_of(method), range(80))):
        if step % 4 != 3:
            continue
        torch.manual_seed(0)
        terms = method.losses(batch, END)
        assert_possible(method, batch, terms)
        moved = {name: moved_by(method, term) for name, term in terms.items()}
        for name in terms.keys() - seen:
            if name in auxiliary:
                assert not moved[name] & core, f"auxiliary {name} moves the tested network"
            wanted = moved[name] if name in auxiliary else moved[name] & core
            falls = wanted and any(change(method, name, batch, s) < 0 for s in _STEPS)
            (seen if falls else silent).add(name)
        if silent <= seen:
            break
    assert silent - seen == set()
    assert auxiliary <= seen
    assert len(seen) > 1 or not case.cls.uses_unlabeled, "no term besides `supervised`"


@pytest.mark.parametrize(
    "name", [pytest.param(m, marks=[] if m in ROUGH else [pytest.mark.wide]) for m in method_ids()]
)
def test_every_term_falls_along_its_own_gradient(name: str) -> None:
    """In most steps of several lengths, at several states: a reversed gradient leaves the value."""
    case = Case(name, 2, 4)
    method, batch, falls = case.make(), case.batch(77), Counter[str]()
    for step, _ in enumerate(train(case, method, optimizer_of(method), range(80))):
        if step % 8 != 7:
            continue
        torch.manual_seed(0)
        terms = method.losses(batch, END)
        moving = [term for term in terms if moved_by(method, terms[term])]
        for term in terms.keys() - {t for t, surplus in falls.items() if surplus >= _CLEAR}:
            changes = [change(method, term, batch, s) for s in _STEPS if term in moving]
            falls[term] += sum(-1 if value >= 0 else 1 for value in changes)
        if min(falls.values()) >= _CLEAR:
            return
    pytest.fail(f"falls less rises: {dict(falls)}")


@pytest.mark.parametrize("name", [m for m in method_ids() if load_method(m).auxiliary])
def test_auxiliary_players_tell_separable_inputs_within_200_steps(name: str) -> None:
    """Unlabelled images are brighter; with the player's own optimiser, the rest stands still."""
    case = Case(name, 2, 2)
    method = case.make()
    optimizers = Optimizers(method, OptimizerConfig(lr=1e-9))
    curve: list[float] = []
    for step in range(200):
        batch = case.batch(step, 3, 3)
        terms = method.losses(replace(batch, unlabeled=batch.unlabeled + 3), END)
        optimizers.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizers.step()
        curve.append(sum(terms[term].item() for term in case.cls.auxiliary))
        if step >= 20 and sum(curve[-10:]) < 0.8 * sum(curve[:10]):
            return
    pytest.fail(f"from {sum(curve[:10]) / 10:.3f} to {sum(curve[-10:]) / 10:.3f}")


def ramped(name: str) -> bool:
    return hasattr(load_method(name).Params, "weight_at")


def trained_decoders(method: Method[Any]) -> Iterator[tuple[SegNet, int]]:
    """Every decoder that a gradient trains."""
    for net in method.modules():
        if isinstance(net, SegNet) and all(p.requires_grad for p in net.parameters()):
            yield from ((net, index) for index in range(len(net.decoders)))


def several(name: str) -> bool:
    return len(list(trained_decoders(Case(name, 2, 2).make()))) > 1


def shared(name: str) -> bool:
    nets = Case(name, 2, 2).make().modules()
    return any(isinstance(net, SegNet) and len(net.decoders) > 1 for net in nets)


@pytest.mark.parametrize("name", [m for m in method_ids() if shared(m)])
def test_auxiliary_decoders_train_the_encoder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They read its maps with their graph: cut from it, they would train nobody but themselves."""
    method = Case(name, 2, 2).make()
    attached = dict[int, bool]()

    def watched(levels: Sequence[Tensor], decoder: int = 0) -> Decoded:
        if decoder:
            attached[decoder] = attached.get(decoder, False) or levels[-1].requires_grad
        return decode(levels, decoder)

    for net in method.modules():
        if isinstance(net, SegNet) and len(net.decoders) > 1:
            decode = net.decode
            monkeypatch.setattr(net, "decode", watched)
            wanted = dict.fromkeys(range(1, len(net.decoders)), True)
    method.losses(Case(name, 2, 2).batch(0), END)
    assert attached == wanted


@pytest.mark.parametrize("name", [m for m in method_ids() if ramped(m)])
def test_the_weight_is_ramped(name: str) -> None:
    """By exp(-5 (1 - t)^2), t being the share of the ramp that is done (Laine and Aila 2017)."""
    params: Any = load_method(name).Params.model_validate({"weight": 2.0, "ramp": 0.5})
    for step, share in ((0, math.exp(-5)), (250, math.exp(-1.25)), (500, 1), (900, 1)):
        assert params.weight_at(Progress(step, TOTAL)) == pytest.approx(2 * share)


@pytest.mark.parametrize("name", [m for m in method_ids() if several(m)])
def test_auxiliary_decoders_beat_a_constant(name: str) -> None:
    """On labels that they may never have seen: the error of their probabilities."""
    case, total = Case(name, 2, 2), 60
    method = case.make()
    optimizer = Optimizers(method, OptimizerConfig(lr=0.03))
    for step in range(total):
        t = Progress(step, total)
        loss = torch.stack(list(method.losses(case.batch(step), t).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        method.after_step(t)
    batch = case.batch(77, 4, 0)
    clear = slice(SIZE[2] // 2, None)  # the other half is fog
    truth = batch.label[:, clear].float()
    constant = (truth - truth.mean()).square().mean()
    with torch.no_grad():
        for net, index in trained_decoders(method):
            logits = net.decode(net.encode(batch.image), index).logits[:, :, clear]
            error = (logits.softmax(1)[:, 1] - truth).square().mean()
            assert error < 0.8 * constant, index
