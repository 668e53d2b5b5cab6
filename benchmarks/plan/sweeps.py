"""A sweep of a parameter file as a benchmark of its own."""

from __future__ import annotations

from itertools import product
from typing import Any

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.common.schema import check
from benchmarks.config import BenchmarkConfig


def swept(config: BenchmarkConfig, sweep: str) -> BenchmarkConfig:
    """The benchmark `<name>_<sweep>`, whose methods are `<method>-<parameter>=<value>`.

    A sweep without values takes its methods as they are.

    Raises:
        ConfigError: no such sweep, or it names a method without a block.
    """
    if sweep not in config.sweeps:
        raise ConfigError(f"no sweep '{sweep}': {nearest(sweep, config.sweeps)}")
    chosen = config.sweeps[sweep]
    for method in chosen.methods:
        if method not in config.methods:
            raise ConfigError(
                f"sweeps.{sweep}.methods names '{method}': {nearest(method, config.methods)}"
            )
    made: dict[str, dict[str, Any]] = {}
    for method, *values in product(chosen.methods, *chosen.values.values()):
        block = dict(zip(chosen.values, values, strict=True))
        suffix = "_".join(f"{key}={value}" for key, value in block.items())
        joint = ("_" if "-" in method else "-") if block else ""
        made[f"{method}{joint}{suffix}"] = {**config.methods[method], **block}
    fields = config.model_dump(mode="json")
    fields["name"] = f"{config.name}_{sweep}"
    fields["question"] = chosen.question
    baseline = config.grid.baseline if config.grid.baseline in made else None
    fields["grid"] |= {"methods": list(made), "baseline": baseline}
    fields["grid"]["seeds"] = chosen.seeds or fields["grid"]["seeds"]
    fields["grid"]["equal"] = chosen.equal
    fields["methods"] |= made
    fields |= {"contrasts": [], "claim": None}
    return check(BenchmarkConfig, fields, where=f"sweeps.{sweep}")
