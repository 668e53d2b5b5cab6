"""What the first step of a run says of a method that would train nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.common.errors import ConfigError
from benchmarks.engine.first import check_terms
from benchmarks.engine.trainer import Trainer
from methods.base import Batch, Method, Progress
from methods.supervised import Supervised
from tests.contract.case import END, Case
from tests.engine.small import QUIET, job_of

HERE = Path(__file__).relative_to(Path(__file__).parents[2])
Terms = dict[str, Tensor]


def detached(terms: Terms) -> Any:
    return {"supervised": terms["supervised"].detach()}


def renamed(terms: Terms) -> Any:
    return {"loss": terms["supervised"]}


def of_another_leaf(terms: Terms) -> Any:
    return terms | {"other": torch.ones((), requires_grad=True).exp()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda terms: terms["supervised"], "returned Tensor; a dict"),
        (renamed, "no term 'supervised', on true labels, but loss; add it"),
        (lambda terms: {}, "but nothing"),  # noqa: ARG005
        (lambda terms: terms | {"mt": 0.5}, "'mt' is of type float"),
        (lambda terms: terms | {"mt": terms["supervised"].expand(2)}, r"'mt' has shape (2,)"),
        (lambda terms: terms | {"mt": torch.tensor(1)}, "'mt' is of torch.int64"),
        (detached, "'supervised' has no gradient for any trained parameter"),
        (of_another_leaf, "'other' has no gradient for any trained parameter"),
    ],
)
def test_terms_that_train_nothing_are_refused_with_the_line(
    change: Callable[[Terms], Any], words: str
) -> None:
    case = Case("mean_teacher", 2, 2)
    method = case.make()
    terms = method.losses(case.batch(0), END)
    check_terms(method, terms)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        check_terms(method, change(terms))
    line = re.match(r"methods/mean_teacher\.py:(\d+): ", str(caught.value))
    assert line
    source = (Path(__file__).parents[2] / "methods/mean_teacher.py").read_text().splitlines()
    assert source[int(line[1]) - 1].strip().startswith("def losses(")


def test_a_run_of_such_a_method_ends_at_its_first_step(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Supervised.losses
    steps: list[int] = []

    def losses(self: Method[Any], batch: Batch, t: Progress) -> Terms:
        steps.append(t.step)
        return {n: v.detach() for n, v in own(self, batch, t).items()}  # type: ignore[arg-type]

    monkeypatch.setattr(Supervised, "losses", losses)
    trainer = Trainer(job_of(flat, tmp_path / "run", "supervised"), torch.device("cpu"), QUIET)
    with pytest.raises(ConfigError, match=rf"{HERE}:\d+: loss term 'supervised' has no gradient"):
        trainer.train()
    assert steps == [0]
