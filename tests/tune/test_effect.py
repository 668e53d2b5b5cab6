"""Ranges of parameters that a row never reads are not searched."""

from __future__ import annotations

import pytest

from benchmarks.common.errors import ConfigError
from benchmarks.common.workspace import PRESETS, ROOT
from benchmarks.config import load_config
from benchmarks.plan.grid import base_of
from benchmarks.tune.effect import with_effect
from benchmarks.tune.space import declared_ranges, space_of
from benchmarks.tune.study import Plan
from methods import load_method, method_ids
from tests.engine.small import make_config

ACDC = load_config(ROOT / PRESETS / "acdc_cpu/params.yaml")


def plan_of(method: str, *parameters: str) -> Plan:
    space = tuple(space_of(method, parameters, ACDC.train))
    return Plan(ACDC, "acdc", method, 3, 0, (0, 1), space, 1)


def searched(plan: Plan, *, given: bool, said: list[str]) -> list[str]:
    return [r.name for r in with_effect(plan, given=given, say=said.append).space]


def test_a_threshold_that_the_split_never_reads_is_left_out_or_refused() -> None:
    said: list[str] = []
    assert searched(plan_of("egcl_net"), given=False, said=said) == ["tau_c", "lam_con"]
    (line,) = said
    assert "{split: per_class_percentile} never reads tau, so tau_c, lam_con alone" in line
    assert "quantile may be meant: give --parameter quantile=LOW:HIGH. It reads " in line
    ranges = ("tau=0.1:0.7", "tau_c=0.05:0.5:log")
    with pytest.raises(ConfigError, match=r"never reads tau, .* quantile may be meant"):
        searched(plan_of("egcl_net", *ranges), given=True, said=said)


def test_the_readme_searches_what_its_row_reads() -> None:
    text = (ROOT / "README.md").read_text()
    command = text.split("\npython -m benchmarks tune ")[1].splitlines()[0].split()
    ranges = [command[i + 1] for i, word in enumerate(command) if word == "--parameter"]
    assert command[:2] == ["acdc", "egcl_net"] and "acdc_cpu" in command
    names = searched(plan_of("egcl_net", *ranges), given=True, said=[])
    assert names == ["quantile", "tau_c"]


@pytest.mark.parametrize("method", method_ids())
def test_declared_ranges_have_an_effect_with_the_defaults(method: str) -> None:
    """None is taken for one without, such as of the second stage of a run."""
    space = tuple(declared_ranges(load_method(method).Params))
    config, said = make_config(), list[str]()
    plan = Plan(config, "phantom_acdc", base_of(method), 2, 0, (0, 1), space, 1)
    assert with_effect(plan, given=False, say=said.append) == plan and not said


def test_a_method_that_fails_is_left_to_its_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("methods.egcl_net.supervised_loss", wrong)
    plan = plan_of("egcl_net")
    assert with_effect(plan, given=False, say=print) == plan
