"""Tables of finished benchmarks, for the page that takes them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common.workspace import report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.studies import kept_studies
from benchmarks.report.facts import Facts, collect_facts
from benchmarks.report.sections import cell_title
from benchmarks.report.studied import studied_rows
from benchmarks.statistics.difference import UNSTUDIED
from benchmarks.statistics.pairs import method_keys


@dataclass(frozen=True)
class Told:
    """One benchmark's tables of the last checkpoint.

    Attributes:
        config: of the benchmark.
        facts: titles of its rows.
        table: of `table.csv`, with the method's `key`.
        differences: of `differences.csv`.
        ranks: of `ranks.csv`.
        unstudied: keys of rows that no study of longer training judges; none in a study itself.
    """

    config: BenchmarkConfig
    facts: Facts
    table: pd.DataFrame
    differences: pd.DataFrame
    ranks: pd.DataFrame
    unstudied: frozenset[str]

    @property
    def link(self) -> str:
        """Link to the page, by the benchmark's name."""
        return f"[`{self.config.name}`]({self.config.name}/README.md)"

    @property
    def alone(self) -> bool:
        """Whether rows are compared with training on labels alone."""
        baseline = self.facts.baseline
        return baseline is not None and baseline.labels_alone

    @property
    def methods(self) -> set[str]:
        """Keys of the rows that learn from unlabelled images."""
        return {m.key for m in self.facts.compared}

    @property
    def controls(self) -> set[str]:
        """Keys of the rows that learn from labels alone and are no baseline."""
        return {m.key for m in self.facts.controls}

    def title(self, key: str) -> str:
        """Name of a row."""
        return next((m.title for m in self.facts.methods if m.key == key), key)

    def names(self, keys: Iterable[str]) -> str:
        """Names of rows as a list; they may hold commas."""
        return "; ".join(map(self.title, keys))

    def verdicts(self, keys: Iterable[str], than: str) -> str:
        """Names of rows with a verdict against another, with what limits it."""
        limit = f" ({UNSTUDIED})"
        return "; ".join(
            f"{self.title(key)}{limit if self.unstudied & {key, than} else ''}" for key in keys
        )

    def place(self, dataset: object, labels: Any) -> str:
        """Data set and labelled count in words."""
        return cell_title(self.facts.dataset(str(dataset)), int(labels))


def read_told(root: Path, known: Mapping[str, BenchmarkConfig]) -> Iterator[Told]:
    """Benchmarks on patients that have a report.

    Args:
        root: the checkout, with reports.
        known: configuration of every benchmark, by name.
    """
    studies = kept_studies(known.values(), root)
    for name, config in known.items():
        folder = report_folder(root, name)
        if not (folder / "table.csv").is_file():
            continue
        facts = collect_facts(config)
        if any(dataset.synthetic for dataset in facts.datasets):
            continue
        table = _last(folder / "table.csv")
        yield Told(
            config,
            facts,
            table.assign(key=method_keys(table)),
            _last(folder / "differences.csv"),
            _last(folder / "ranks.csv"),
            frozenset(studied_rows(config, facts, studies).unstudied),
        )


def _last(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype={"variant": str})
    return frame[frame["checkpoint"] == "last"]
