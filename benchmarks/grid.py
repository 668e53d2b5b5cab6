"""Which runs a benchmark consists of, and where each of them lives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.config import BenchmarkConfig
from benchmarks.errors import ConfigError, nearest
from datasets.split import Fold, Split
from methods import load_method


@dataclass(frozen=True)
class RunKey:
    """Names one trained model.

    Attributes:
        benchmark: name of the benchmark.
        dataset: id.
        method: id of the method, with `-<variant>` where there is one.
        labels: labelled patients.
        fold: index of the fold.
        seed: of the run.
    """

    benchmark: str
    dataset: str
    method: str
    labels: int
    fold: int
    seed: int

    @property
    def base(self) -> str:
        """Method id without the variant."""
        return self.method.partition("-")[0]

    @property
    def variant(self) -> str:
        """Suffix of the method, or ""."""
        return self.method.partition("-")[2]

    @property
    def cell(self) -> str:
        """Short name of the run inside its method's folder."""
        return f"l{self.labels}-f{self.fold}-s{self.seed}"

    def folder(self, root: Path) -> Path:
        """Folder of the finished run."""
        return root / "runs" / self.benchmark / self.dataset / self.method / self.cell


def prepared_folder(root: Path, config: BenchmarkConfig, dataset: str) -> Path:
    """Prepared arrays of a data set, made with this benchmark's parameters."""
    return root / "data" / "prepared" / config.name / dataset


def split_file(root: Path, config: BenchmarkConfig, dataset: str) -> Path:
    """Split of a data set in this benchmark; committed."""
    return root / "datasets" / "splits" / config.name / f"{dataset}.json"


def check_names(config: BenchmarkConfig, dataset: str, method: str) -> None:
    """Refuse a data set or method that the benchmark does not contain.

    Raises:
        ConfigError: names what was given and what the grid holds.
    """
    for kind, given, allowed in (
        ("data set", dataset, config.grid.datasets),
        ("method", method, config.grid.methods),
    ):
        if given not in allowed:
            raise ConfigError(
                f"{kind} '{given}' is not in the grid of '{config.name}': {nearest(given, allowed)}"
            )


def fold_of(split: Split, fold: int) -> Fold:
    """A fold by its index.

    Raises:
        ConfigError: the split has fewer folds.
    """
    if not 0 <= fold < len(split.folds):
        raise ConfigError(
            f"grid.folds names fold {fold}, the split of {split.dataset} has {len(split.folds)};"
            f" raise data.{split.dataset}.split.folds and run `python -m benchmarks split`"
        )
    return split.folds[fold]


def expand(config: BenchmarkConfig, split: Split, method: str) -> list[RunKey]:
    """All runs of one method on the data set of a split.

    A method with `all_labels` has one labelled count: all training patients with masks.
    """
    dataset, grid = split.dataset, config.grid
    all_labels = load_method(method.partition("-")[0]).all_labels
    keys = []
    for fold in grid.folds:
        part = fold_of(split, fold)
        everyone = len(part.train) - part.without_mask
        counts: Iterable[int] = (everyone,) if all_labels else config.data[dataset].labels
        keys += [
            RunKey(config.name, dataset, method, labels, fold, seed)
            for labels in counts
            for seed in grid.seeds
        ]
    return keys
