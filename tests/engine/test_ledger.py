"""The ledger against gradients taken by hand, and the network that it calls the tested one."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from benchmarks.common.errors import ConfigError, RunError
from benchmarks.common.ledger import COLUMNS, Entry, to_csv
from benchmarks.engine.ledger import Ledger, deciding_parameters, probe_steps
from methods.base import Batch, Method, MethodParams, Progress
from methods.blocks.ema import ema_update
from methods.networks import NetBuilder

IMAGE = torch.zeros(1, 1, 4, 4)
BATCH = Batch(IMAGE, IMAGE[:, 0].long(), IMAGE)


class Averaged(Method[MethodParams]):
    """Its teacher is tested; a head beside the student sees no image."""

    Params, title, paper = MethodParams, "Averaged", ""
    auxiliary = frozenset({"head"})

    def setup(self, build_net: NetBuilder) -> None:
        del build_net
        self.teacher = nn.Conv2d(1, 2, 1).requires_grad_(False)
        self.student, self.head = nn.Conv2d(1, 2, 1), nn.Linear(1, 1)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        del batch, t
        w, b = self.student.weight.flatten(), self.student.bias
        assert b is not None
        self.acted(other=torch.tensor(7), gone=torch.tensor(0))
        self.observe(accuracy=torch.tensor(0.25))
        return {
            "supervised": 3 * w[0] + 4 * w[1],
            "other": 0.5 * w[0],
            "gone": 0 * b[1],
            "head": self.head.weight.sum(),
        }

    def predict(self, image: Tensor) -> Tensor:
        logits: Tensor = self.teacher(image)
        return logits

    def after_step(self, t: Progress) -> None:
        ema_update(self.teacher, self.student, decay=0.9, step=t.step)


def made(kind: type[Averaged] = Averaged) -> Averaged:
    def none(**_: object) -> None:
        raise AssertionError

    return kind(none, MethodParams(), classes=2, ndim=2)  # type: ignore[arg-type]


def probed(method: Averaged) -> dict[str, Entry]:
    ledger = Ledger(method, IMAGE, 1)
    terms = method.losses(BATCH, Progress(0, 1))
    loss = torch.stack([t.float() for t in terms.values()]).sum()
    ledger.backward(0, terms, loss, method.take_observed())
    return {entry.name: entry for entry in ledger.entries}


@pytest.mark.parametrize(
    ("total", "count"), [(1, 1), (6, 6), (150, 6), (1000, 12), (2000, 20), (30000, 20)]
)
def test_probes_are_even_and_hold_the_first_and_the_last_step(total: int, count: int) -> None:
    steps = probe_steps(total)
    assert len(set(steps)) == len(steps) == count
    assert (steps[0], steps[-1]) == (0, total - 1)
    gaps = {b - a for a, b in pairwise(steps)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_entries_are_the_gradients_taken_by_hand() -> None:
    """(3, 4) of supervision and (0.5, 0) of the other term: ratio 0.1, cosine 3 / 5."""
    found = probed(made())
    other = found["other"]
    assert (found["supervised"].gradient, found["supervised"].relative) == (5, 1)
    assert (other.elements, other.gradient) == (7, 0.5)
    assert (other.relative, other.cosine) == pytest.approx((0.1, 0.6))
    assert (found["gone"].elements, found["gone"].gradient) == (0, 0)
    assert math.isnan(found["gone"].cosine) and math.isnan(found["supervised"].elements)
    assert (found["head"].kind, found["head"].gradient) == ("auxiliary", 0)
    assert (found["accuracy"].kind, found["accuracy"].value) == ("observed", 0.25)
    lines = to_csv(found.values()).splitlines()
    assert lines[0] == ",".join(COLUMNS) and lines[-1] == "1,observed,accuracy,0.25,,,,"


def test_all_parameters_get_the_gradient_of_the_sum() -> None:
    method = made()
    probed(method)
    assert method.student.weight.grad is not None and method.head.weight.grad is not None
    assert method.student.weight.grad.flatten().tolist() == [3.5, 4]
    assert method.head.weight.grad.item() == 1 and method.teacher.weight.grad is None


def test_what_a_tested_teacher_averages_is_the_tested_network() -> None:
    method = made()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    flags = [p.requires_grad for p in method.parameters()]
    found = deciding_parameters(method, IMAGE, Progress(9, 10))
    assert {id(p) for p in found} == {id(p) for p in method.student.parameters()}
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert [p.requires_grad for p in method.parameters()] == flags


class Frozen(Averaged):
    def after_step(self, t: Progress) -> None:
        del t


class Steep(Averaged):
    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        terms = super().losses(batch, t)
        return {**terms, "other": (0 * self.student.weight).sum().sqrt()}


class Broken(Averaged):
    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        terms = super().losses(batch, t)
        return {**terms, "other": terms["other"] * math.nan}


def test_supervision_is_not_blamed_for_a_term_that_is_not_finite() -> None:
    """All gradients are spoilt then; the trainer names the term and the batch."""
    found = probed(made(Broken))
    assert math.isnan(found["other"].value) and math.isfinite(found["supervised"].value)


def test_errors_name_method_and_term() -> None:
    with pytest.raises(ConfigError, match="Frozen: no trained parameter has a part"):
        probed(made(Frozen))
    with pytest.raises(RunError, match="iteration 1 of Averaged: the gradient of the term 'other'"):
        probed(made(Steep))
