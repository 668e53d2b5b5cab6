"""Studies of training lengths: sweeps with `steps` whose report is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.workspace import CONVERGENCE, params_files, report_folder
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.plan.sweeps import sweep_name, swept


@dataclass(frozen=True)
class Study:
    """A benchmark of several training lengths.

    Attributes:
        config: of the study.
        table: its kept table, one row per training.
    """

    config: BenchmarkConfig
    table: Path


def kept_studies(config: BenchmarkConfig, root: Path) -> list[Study]:
    """Studies on a benchmark's data sets: of its own parameters, then of all in the checkout.

    Args:
        config: the benchmark.
        root: the checkout, with reports and parameter files.

    Raises:
        ConfigError: a parameter file is damaged.
    """
    found: dict[Path, Study] = {}
    for one in (config, *(load_config(path) for path in params_files(root))):
        if not set(one.grid.datasets) & set(config.grid.datasets):
            continue
        for name in (name for name, sweep in one.sweeps.items() if sweep.steps):
            table = report_folder(root, sweep_name(one, name)) / CONVERGENCE
            if table.is_file() and table not in found:
                found[table] = Study(swept(one, name), table)
    return list(found.values())
