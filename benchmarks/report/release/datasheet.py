"""The datasheet of a release: the questions of Gebru et al. 2021 (doi:10.1145/3458723), by facts.

Nothing in it is typed by hand: all of it comes from the configuration, the scores, the data sets'
adapters and `CITATION.cff`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.common.errors import RunError
from benchmarks.config import BenchmarkConfig
from benchmarks.report.checklist import open_pitfalls
from benchmarks.report.facts import DatasetFacts, Facts
from benchmarks.report.tables import pipe_table, plural, ranges
from benchmarks.scoring.cases import EXTERNAL
from datasets import load_dataset

_CITATION = "CITATION.cff"
_DATA = ("Data set", "Patients tested", "Cases", "Labelled patients", "Terms", "To be cited")


@dataclass(frozen=True)
class Citation:
    """What `CITATION.cff` tells of the suite."""

    name: str
    title: str
    version: str
    licence: str
    authors: tuple[str, ...]

    @property
    def text(self) -> str:
        """In a line."""
        return f"{', '.join(self.authors)}. {self.title}, version {self.version}."


@dataclass(frozen=True)
class Contents:
    """What a datasheet is written of.

    Attributes:
        config: the benchmark.
        facts: its methods and data sets.
        cases: rows of all case tables.
        cited: the suite.
    """

    config: BenchmarkConfig
    facts: Facts
    cases: pd.DataFrame
    cited: Citation


def citation(root: Path) -> Citation:
    """Read `CITATION.cff` of the checkout.

    Raises:
        RunError: it is missing or damaged.
    """
    path = root / _CITATION
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
        title = str(found["title"])
        authors = tuple(str(author["name"]) for author in found["authors"])
        name = title.partition(":")[0].strip().replace("-", "_").lower()
        return Citation(name, title, str(found["version"]), str(found["license"]), authors)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise RunError(
            f"'{path}' cannot be read: {error}; restore it: git checkout {_CITATION}"
        ) from None


def datasheet_text(given: Contents) -> str:
    """The file `DATASHEET.md`."""
    config, facts, cases = given.config, given.facts, given.cases
    own = cases[cases["variant"] != EXTERNAL]
    runs = own[["dataset", "method", "variant", "labels", "fold", "seed"]].drop_duplicates()
    grid = config.grid
    parts = [
        f"# Datasheet of `{config.name}`",
        "## Why it was made",
        config.question or "The parameter file gives no question.",
        "## What it holds",
        f"{len(cases):,} rows of {plural(len(runs), 'run')}: one per run, checkpoint, case and"
        " class. Scores, voxel counts, and names of cases and patients as the data sets publish"
        " them; no image, no mask, no picture.",
        _datasets(given),
        _methods(facts),
        "## How it was made",
        f"Runs: folds {ranges(grid.folds)}, seeds {ranges(grid.seeds)},"
        f" {'one seed per fold' if grid.bound else 'each with each'}; equal {grid.equal} for all"
        " methods. `params.yaml` holds every parameter, `splits/` who was trained with and tested,"
        " `runs.csv` the identity of every run with the digest of the code that trained it,"
        " `provenance.json` the versions of packages. References of test patients are read by the"
        " evaluation alone, after training.",
        _bullets([_split(config, d) for d in facts.datasets]),
        "## How scores were measured",
        "In the geometry of the original files. Exactly one of both masks empty: Dice 0, distances"
        " the diagonal of the image; both empty: Dice 1, no distance.",
        _bullets(
            [
                f"{d.title}: NSD at {d.tolerance:g} {d.unit}; distances in {d.unit}"
                for d in facts.datasets
            ]
        ),
        "## What it may be used for, and what not",
        "Comparing methods under this protocol, by patient and by run:"
        " `python -m benchmarks compare cases.csv A B`.",
        _bullets([*_limits(facts), *open_pitfalls(config)]),
        "## Terms and citation",
        f"{given.cited.text} Licence of this folder: {given.cited.licence}. The data sets have"
        " terms of their own, above; their images are not part of it.",
        "## Upkeep",
        "`SHA256SUMS` holds the digest of every file (`sha256sum -c SHA256SUMS`). The folder is"
        " made again, with the same bytes, by `python -m benchmarks report --release DIR`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _datasets(given: Contents) -> str:
    rows = []
    for d in given.facts.datasets:
        own, adapter = given.cases[given.cases["dataset"] == d.id], load_dataset(d.id)
        counts = (str(own["patient"].nunique()), str(own["case"].nunique()))
        labels = _listed(given.config.data[d.id].labels)
        rows.append((d.title, *counts, labels, adapter.licence, adapter.citation))
    return pipe_table(_DATA, tuple(rows), words=(0, 4, 5))


def _methods(facts: Facts) -> str:
    return _bullets(
        [f"`{m.key}`: {m.title}{f'. {m.footnote}' if m.footnote else ''}" for m in facts.rows]
    )


def _split(config: BenchmarkConfig, dataset: DatasetFacts) -> str:
    split = config.data[dataset.id].split
    return (
        f"{dataset.title}: split {split.scheme}, seed {split.seed}, {plural(split.folds, 'fold')}"
    )


def _limits(facts: Facts) -> list[str]:
    return [
        f"{d.title}: generated images, which say nothing about patients"
        for d in facts.datasets
        if d.synthetic
    ]


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
