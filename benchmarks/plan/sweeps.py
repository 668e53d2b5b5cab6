"""A sweep of a parameter file as a benchmark of its own."""

from __future__ import annotations

from itertools import product
from typing import Any

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.common.schema import check
from benchmarks.config import ROW_BLOCKS, BenchmarkConfig, SweepConfig
from benchmarks.plan.grid import base_of
from methods import load_method


def sweep_name(config: BenchmarkConfig, sweep: str) -> str:
    """Name of the benchmark that a sweep is."""
    return f"{config.name}_{sweep}"


def swept(config: BenchmarkConfig, sweep: str) -> BenchmarkConfig:
    """The benchmark `<name>_<sweep>`, whose methods are `<method>-<parameter>=<value>`.

    A training length is told like a parameter, `<method>-steps=<iterations>`, and so is the
    arithmetic, `<method>-amp=<kind>`, of which each is compared with the first. A sweep without
    any of these takes its methods as they are.

    Raises:
        ConfigError: no such sweep, or it names a method without a block, a seed without a fold, or
            a baseline that is none of its rows.
    """
    if sweep not in config.sweeps:
        raise ConfigError(f"no sweep '{sweep}': {nearest(sweep, config.sweeps)}")
    chosen = config.sweeps[sweep]
    for method in chosen.methods:
        if method not in config.methods:
            raise ConfigError(
                f"sweeps.{sweep}.methods names '{method}': {nearest(method, config.methods)}"
            )
    made, blocks = _rows(config, chosen)
    seeds = chosen.seeds or config.grid.seeds
    for seed in seeds if config.grid.bound else ():
        if seed not in config.grid.seeds:
            hint = nearest(str(seed), map(str, config.grid.seeds))
            raise ConfigError(f"sweeps.{sweep}.seeds: no fold is bound to seed {seed}; {hint}")
    fields = config.model_dump(mode="json")
    fields["name"] = sweep_name(config, sweep)
    fields["question"] = chosen.question
    baseline = chosen.baseline or config.grid.baseline
    if chosen.baseline and chosen.baseline not in made:
        raise ConfigError(
            f"sweeps.{sweep}.baseline is '{baseline}': {nearest(chosen.baseline, made)}"
        )
    fields["grid"] |= {
        "methods": list(made),
        "baseline": baseline if baseline in made else None,
        "equal": chosen.equal,
        "looks": chosen.looks,
        "controls": chosen.controls,
        **config.grid.of_seeds(seeds),
    }
    for dataset in config.grid.datasets if chosen.labels else ():
        fields["data"][dataset]["labels"] = chosen.labels
    fields["methods"] |= made
    for name, block in blocks.items():
        fields[name] |= block
    fields |= {"contrasts": _contrasts(chosen, blocks["amp"]), "claim": None}
    return check(BenchmarkConfig, fields, where=f"sweeps.{sweep}")


def _rows(
    config: BenchmarkConfig, sweep: SweepConfig
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Blocks of the sweep's methods, and what rows have of their own by name of the block."""
    lists = {**sweep.values, **{n: getattr(sweep, n) for n in ROW_BLOCKS if getattr(sweep, n)}}
    made: dict[str, dict[str, Any]] = {}
    own: dict[str, dict[str, Any]] = {name: {} for name in ROW_BLOCKS}
    for method, *values in product(sweep.methods, *lists.values()):
        given = dict(zip(lists, values, strict=True))
        suffix = "_".join(f"{key}={value}" for key, value in given.items())
        joint = ("_" if "-" in method else "-") if given else ""
        name = f"{method}{joint}{suffix}"
        for block, rows in own.items():
            inherited = getattr(config, block)
            if block in given:
                rows[name] = given.pop(block)
            elif method in inherited:
                rows[name] = inherited[method]
        made[name] = {**config.methods[method], **given}
    return made, own


def _contrasts(sweep: SweepConfig, amp: dict[str, str]) -> list[dict[str, str]]:
    """Every row with another arithmetic than the first against the same row with that.

    Methods with more labels than the others are shown, but compared with nothing.
    """
    first, found = next(iter(sweep.amp), ""), []
    for row, kind in amp.items() if sweep.amp else ():
        method = load_method(base_of(row))
        if kind != first and not (method.all_labels or method.oracle):
            than = row.replace(f"amp={kind}", f"amp={first}")
            found.append({"name": f"{row} against amp={first}", "better": row, "than": than})
    return found
