"""Equal operations instead of equal steps: iterations follow the counted cost of a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.config import load_config
from benchmarks.plan.resolve import train_config
from benchmarks.plan.sweeps import swept

PARAMS = Path(__file__).parents[2] / "benchmarks/presets/acdc_cpu/params.yaml"


def test_iterations_times_cost_is_the_same_for_all() -> None:
    from benchmarks.plan.cost import step_cost
    from benchmarks.plan.grid import base_of
    from benchmarks.plan.resolve import method_params
    from methods import load_method

    config = swept(load_config(PARAMS), "equal_compute")
    spent = {}
    for method in config.grid.methods:
        iterations = train_config(config, "acdc", method).iterations
        spent[method] = iterations * step_cost(
            load_method(base_of(method)), method_params(config, method, 2)
        )
    assert list(spent.values()) == pytest.approx([config.train.iterations] * len(spent), rel=0.002)


def test_equal_steps_are_the_default() -> None:
    config = load_config(PARAMS)
    assert train_config(config, "acdc", "ua_mt") == config.train_for("acdc")
