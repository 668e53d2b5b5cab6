"""What every output of a benchmark is made of: rows, ledger and outcomes, read and judged once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from benchmarks.config import BenchmarkConfig
from benchmarks.plan.studies import all_studies
from benchmarks.report.convergence import lengths_told, trained_lengths
from benchmarks.report.external import Loaded, load_rows
from benchmarks.report.facts import Facts, collect_facts
from benchmarks.report.load import Source
from benchmarks.report.mechanisms import Mechanisms, read_mechanisms
from benchmarks.report.provenance import precision_words, read_provenance
from benchmarks.report.results import Results, collect_results
from benchmarks.report.stale import refuse_other_setup
from benchmarks.report.studied import studied_rows


@dataclass(frozen=True)
class Judged:
    """A benchmark with its outcomes.

    Attributes:
        loaded: all rows.
        ledger: of the runs, where there is one.
        results: by the one rule; inert and unconverged rows are not tested.
        runs: identity of every run, where it was recorded.
        lengths: of a study of training lengths, one row per training.
    """

    loaded: Loaded
    ledger: Mechanisms | None
    results: Results
    runs: pd.DataFrame | None
    lengths: pd.DataFrame | None

    @property
    def facts(self) -> Facts:
        """Of the grid, with the external rows after it."""
        return self.loaded.facts


def judge_benchmark(config: BenchmarkConfig, source: Source) -> Judged:
    """Read what was scored and judge it; report, paper tables, release and landing page share it.

    Args:
        config: the benchmark.
        source: of the scores, or of the kept tables.

    Raises:
        RunError: scores are missing, damaged or not of this grid.
        DataError: the parameters describe another split or other data than the runs had.
    """
    refuse_other_setup(source.root, config, kept=source.kept)
    loaded = load_rows(config, collect_facts(config), source)
    found = read_mechanisms(config, loaded.facts, loaded.source)
    lengths = trained_lengths(config, loaded.facts, loaded.source)
    studied = studied_rows(config, loaded.facts, all_studies(config, source.root), lengths)
    results = collect_results(
        config,
        loaded.facts,
        loaded.cases,
        found.terms if found else None,
        loaded.unfit,
        studied.late,
        unstudied=studied.unstudied,
    )
    runs = read_provenance(config, loaded.facts, loaded.source)
    results = replace(
        results,
        references=studied.references,
        mixed=precision_words(config, loaded.facts, runs),
        lengths="" if lengths is None else lengths_told(config, loaded.facts, lengths),
    )
    return Judged(loaded, found, results, runs, lengths)
