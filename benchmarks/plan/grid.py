"""Which runs a benchmark consists of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.common.workspace import runs_folder
from benchmarks.config import BenchmarkConfig
from datasets.preparing.split import Fold, Split
from methods import load_method


def split_key(method: str) -> tuple[str, str]:
    """Method id and variant, or "", of `<id>` or `<id>-<variant>`."""
    name, _, variant = method.partition("-")
    return name, variant


def base_of(method: str) -> str:
    """Method id of `<id>` or `<id>-<variant>`."""
    return split_key(method)[0]


def cell_name(labels: int | str, fold: int | str, seed: int | str) -> str:
    """Name of a run inside its method's folder."""
    return f"l{labels}-f{fold}-s{seed}"


@dataclass(frozen=True)
class RunKey:
    """Names one trained model.

    Attributes:
        benchmark: name of the benchmark.
        dataset: id.
        method: id of the method, with `-<variant>` where there is one.
        labels: labelled patients.
        fold: index of the fold, which is a labelled subset.
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
        return base_of(self.method)

    @property
    def variant(self) -> str:
        """Suffix of the method, or ""."""
        return split_key(self.method)[1]

    @property
    def title(self) -> str:
        """Name in progress lines."""
        return f"{self.dataset} {self.method} {self.cell}"

    @property
    def cell(self) -> str:
        """Short name of the run inside its method's folder."""
        return cell_name(self.labels, self.fold, self.seed)

    def folder(self, root: Path) -> Path:
        """Folder of the finished run."""
        return runs_folder(root, self.benchmark, self.dataset, self.method) / self.cell


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
            f" raise data.{split.dataset}.split.folds and run `python -m benchmarks split"
            f" {split.dataset}`"
        )
    return split.folds[fold]


def expand(config: BenchmarkConfig, split: Split, method: str) -> list[RunKey]:
    """All runs of one method on the data set of a split.

    A method with `all_labels` has one labelled count: all training patients with masks.

    Raises:
        ConfigError: a fold that the split lacks, or no training patient is left without a label
            for a method that learns from such.
        DataError: more labelled patients than a fold has.
    """
    dataset = split.dataset
    kind = load_method(base_of(method))
    all_labels = kind.all_labels
    keys = []
    for fold, seed in config.grid.pairs:
        part = fold_of(split, fold)
        everyone = len(part.train) - part.without_mask
        counts: Iterable[int] = (everyone,) if all_labels else config.data[dataset].labels
        for count in counts:
            part.labeled(count)
            if kind.uses_unlabeled and count == len(part.train):
                raise ConfigError(
                    f"data.{dataset}.labels: {count} are all training patients of fold {fold},"
                    f" which leaves {method} no unlabelled image; lower it, or take {method} out of"
                    " grid.methods"
                )
        keys += [RunKey(config.name, dataset, method, labels, fold, seed) for labels in counts]
    return keys
