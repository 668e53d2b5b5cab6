"""Counted costs against the operation counts of the published step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from torch import Tensor

from benchmarks.common.errors import ConfigError
from benchmarks.plan.cost import markdown, method_cost, step_cost
from methods import method_ids
from methods.base import Batch, Progress
from methods.supervised import Supervised

README = Path(__file__).parents[2] / "methods" / "README.md"


# Forward F, backward 2 F on L + U images is 3 (L + U) F; a teacher's pass over U images adds U F.
@pytest.mark.parametrize(
    ("name", "networks", "cost"),
    [
        ("supervised", 1, 0.5),
        ("full_supervised", 1, 1.0),
        ("mean_teacher", 2, 7 / 6),
        ("ua_mt", 2, 15 / 6),
    ],
)
def test_cost_is_that_of_the_passes(name: str, networks: int, cost: float) -> None:
    found = method_cost(name)
    assert found.networks == networks
    assert found.cost == pytest.approx(cost, rel=2e-3)  # the first layer has no input gradient
    assert found.parameters == 1


def test_projection_head_and_second_decoder_are_counted() -> None:
    found = method_cost("egcl_net")
    assert (found.networks, found.decoders, found.dimensions) == (1, 2, "2D, 3D")
    assert 1.2 < found.parameters < 1.6 and 1.4 < found.cost < 2.5


def test_terms_that_are_none_are_told_with_their_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a first step says of a user's method, before anything is counted."""

    usual = Supervised.losses

    def losses(self: Supervised, batch: Batch, t: Progress) -> dict[str, Tensor]:
        return {name: term.expand(2) for name, term in usual(self, batch, t).items()}

    monkeypatch.setattr(Supervised, "losses", losses)
    step_cost.cache_clear()
    with pytest.raises(ConfigError, match=r"test_cost\.py:\d+: loss term 'supervised' has shape"):
        step_cost(Supervised, Supervised.Params())


def test_table_has_a_row_per_method() -> None:
    rows = [method_cost(name) for name in ("ua_mt", "supervised")]
    assert re.findall(r"^\| (\w+) \|", markdown(rows), re.MULTILINE) == [
        "id",
        "supervised",
        "ua_mt",
    ]
    with pytest.raises(ConfigError, match="ua_mt"):
        method_cost("uamt")


def test_readme_lists_every_method() -> None:
    table = README.read_text().partition("<!-- begin: methods -->")[2].partition("<!-- end: ")[0]
    found = re.findall(r"^\| (\w+) \|", table, re.MULTILINE)
    assert set(found) == {"id", *method_ids()}
