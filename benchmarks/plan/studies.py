"""Studies of training lengths: sweeps with `steps` whose report is kept."""

from __future__ import annotations

from collections.abc import Iterable
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


def kept_studies(configs: Iterable[BenchmarkConfig], root: Path) -> list[Study]:
    """Studies that some benchmarks declare.

    Args:
        configs: the benchmarks; one may be there twice.
        root: the checkout, with reports.
    """
    found: dict[Path, Study] = {}
    for config in configs:
        for name in (name for name, sweep in config.sweeps.items() if sweep.steps):
            table = report_folder(root, sweep_name(config, name)) / CONVERGENCE
            if table.is_file() and table not in found:
                found[table] = Study(swept(config, name), table)
    return list(found.values())


def all_studies(config: BenchmarkConfig, root: Path) -> list[Study]:
    """Studies of a benchmark, whose parameters may lie anywhere, and of all in the checkout.

    Raises:
        ConfigError: a parameter file of the checkout is damaged.
    """
    return kept_studies((config, *map(load_config, params_files(root))), root)
