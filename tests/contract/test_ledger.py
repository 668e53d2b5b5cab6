"""The mechanism ledger of every method: it changes no bit, and no preset has an inert term."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from _pytest.mark import ParameterSet
from torch import Tensor

from benchmarks.config import UNetConfig, load_config
from benchmarks.engine.ledger import Ledger
from benchmarks.engine.nets import Builder
from benchmarks.plan.grid import base_of
from benchmarks.plan.resolve import dimension, method_params
from benchmarks.statistics.mechanisms import judge_terms
from methods import method_ids
from methods.base import Method, MethodParams, Progress
from methods.blocks.losses import supervised_loss
from methods.networks import SegNet
from tests.contract.case import SMALL, Case, assert_same_bits, optimizer_of, state_of

ROOT = Path(__file__).parents[2]
CLASSES = 4
# As many as a ledger has probes at least, so that every step is one.
STEPS = 6
# `method.term` that may be inert in so short a training: why.
EXEMPT: dict[str, str] = {}


def judged(ledger: Ledger) -> pd.DataFrame:
    rows = pd.DataFrame([asdict(entry) for entry in ledger.entries])
    one = rows.assign(dataset="d", method="m", labels=1, fold=0, seed=0)
    return judge_terms(one).set_index("name")


def steps(case: Case, method: Method[Any], ledger: Ledger | None, total: int) -> Iterator[Tensor]:
    """A whole run of `total` steps; yields the state of the random stream after each."""
    optimizer = optimizer_of(method)
    for step in range(total):
        torch.manual_seed(1000 + step)
        t = Progress(step, total)
        terms = method.losses(case.batch(step, 2, 2), t)
        optimizer.zero_grad()
        loss = torch.stack(list(terms.values())).sum()
        observed = method.take_observed()
        if ledger:
            ledger.backward(step, terms, loss, observed)
        else:
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        method.after_step(t)
        yield torch.get_rng_state()


@pytest.mark.parametrize(
    ("name", "ndim"),
    [*((m, 2) for m in method_ids()), *((m, 3) for m in ("bcp", "dct", "egcl_net", "ss_net"))],
)
def test_weights_and_random_streams_are_the_same_with_and_without(name: str, ndim: int) -> None:
    case, found = Case(name, ndim, CLASSES), []
    for keeps in (False, True):
        method = case.make()
        torch.manual_seed(5)
        ledger = Ledger(method, case.batch(0).image[:1], 2) if keeps else None
        streams = torch.stack(list(steps(case, method, ledger, 2)))
        found.append({**state_of(method), "streams": streams})
    assert_same_bits(*found)
    assert ledger is not None
    terms = [entry for entry in ledger.entries if entry.kind != "observed"]
    assert {entry.step for entry in terms} == {1, 2}
    assert case.cls.auxiliary == {e.name for e in terms if e.kind == "auxiliary"}
    assert all(e.gradient == 0 for e in terms if e.kind == "auxiliary")


NETWORK = UNetConfig(channels=(4, 8, 8, 8))


def builder(ndim: int) -> Builder:
    return Builder(NETWORK, ndim=ndim, in_channels=1, classes=CLASSES, seed=0)


@cache
def warm(ndim: int) -> dict[str, Tensor]:
    """Weights of two decoders that know the easy task, as they do in the middle of a longer run."""
    case, net = Case("supervised", ndim, CLASSES), builder(ndim)(decoders=2).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for step in range(60):
        batch = case.batch(step)
        losses = [supervised_loss(v.logits, batch.label) for v in net.outputs(batch.image)]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return net.state_dict()


def build(cls: type[Method[Any]], params: MethodParams, ndim: int) -> Method[Any]:
    """A method whose networks have those of the learnt weights that fit."""
    build_net = builder(ndim)

    def warmed(**options: Any) -> SegNet:
        net = build_net(**options)
        own = net.state_dict()
        known = {k: v for k, v in warm(ndim).items() if k in own and own[k].shape == v.shape}
        net.load_state_dict(known, strict=False)
        return net

    torch.manual_seed(0)
    return cls(warmed, params, classes=CLASSES, ndim=ndim).train()


def settings() -> Iterator[ParameterSet]:
    """Every setting of a method that a parameter file holds, but for sizes that cost time.

    `make contract` adds 3D, where 2D has the same.
    """
    rows: dict[tuple[str, MethodParams, int], str] = {}
    for path in [ROOT / "params.yaml", *sorted(ROOT.glob("benchmarks/presets/*/params.yaml"))]:
        config = load_config(path)
        for ndim in sorted({dimension(config, d) for d in config.grid.datasets}):
            for key in config.methods:
                params = method_params(config, key, ndim)
                small = SMALL.keys() & type(params).model_fields.keys()
                params = params.model_copy(update={name: SMALL[name] for name in small})
                rows.setdefault((base_of(key), params, ndim), f"{config.name}-{key}-{ndim}d")
    for (name, params, ndim), row in rows.items():
        marks = [pytest.mark.wide] if ndim == 3 and (name, params, 2) in rows else []
        yield pytest.param(name, params, ndim, id=row, marks=marks)


@pytest.mark.parametrize(("name", "params", "ndim"), list(settings()))
def test_no_term_of_a_preset_is_inert(name: str, params: MethodParams, ndim: int) -> None:
    """By the declared rule, in a short training from weights that have learnt the task."""
    case = Case(name, ndim, CLASSES)
    method = build(case.cls, params, ndim)
    ledger = Ledger(method, case.batch(0).image[:1], STEPS)
    for _ in steps(case, method, ledger, STEPS):
        pass
    summary = judged(ledger)
    inert = summary.index[summary["state"] == "inert"]
    assert [term for term in inert if f"{name}.{term}" not in EXEMPT] == []


def test_a_zero_weight_and_a_threshold_that_nothing_passes_are_inert() -> None:
    for name, change in (("mean_teacher", {"weight": 0.0}), ("fixmatch", {"threshold": 1 - 1e-9})):
        case = Case(name, 2, CLASSES)
        method = build(case.cls, case.cls.Params.model_validate(change), 2)
        ledger = Ledger(method, case.batch(0).image[:1], STEPS)
        for _ in steps(case, method, ledger, STEPS):
            pass
        assert sorted(judged(ledger)["state"].loc[lambda s: s != ""]) == ["inert"]
