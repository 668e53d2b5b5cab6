"""How many patients a share of labels is, once the split says who is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.common.errors import ConfigError
from benchmarks.common.workspace import split_file
from benchmarks.config import BenchmarkConfig, DataConfig
from datasets.preparing.split import Split, load_split
from datasets.preparing.store import Prepared


def counted(config: BenchmarkConfig, root: Path) -> BenchmarkConfig:
    """The benchmark with numbers of patients for the shares of all data sets that are split.

    Args:
        config: of the benchmark.
        root: the checkout.

    Raises:
        ConfigError: the shares were counted by another split.
        DataError: a split file is damaged.
    """
    data = {}
    for name, block in config.data.items():
        path = split_file(root, config.name, name)
        if block.shares and path.is_file():
            data[name] = _counted(block, load_split(path))
    return config.model_copy(update={"data": {**config.data, **data}}) if data else config


def training_patients(split: Split) -> int:
    """Patients with masks in the training part; the smallest part where folds differ."""
    return min(len(fold.train) - fold.without_mask for fold in split.folds)


def refuse_too_many_labels(config: BenchmarkConfig, split: Split) -> None:
    """Refuse labelled counts that a fold of a split cannot have, before anything is trained.

    Args:
        config: of the benchmark.
        split: of one of its data sets.

    Raises:
        ConfigError: names the counts and those that are possible.
    """
    block, most = config.data[split.dataset], training_patients(split)
    # A share may still be counted by an older split.
    shares = {share.patients for share in block.shares}
    wrong = [str(n) for n in block.labels if n > most and n not in shares]
    if wrong:
        raise ConfigError(
            f"data.{split.dataset}.labels of '{config.name}' names {', '.join(wrong)}, but the"
            f" split has {most} training patients with masks: give 1 to {most}"
        )


def _counted(block: DataConfig, split: Split) -> DataConfig:
    most = training_patients(split)
    shares = tuple(s.model_copy(update={"patients": s.of(most)}) for s in block.shares)
    if any(s.patients not in {None, t.patients} for s, t in zip(block.shares, shares, strict=True)):
        raise ConfigError(
            f"the split of {split.dataset} was made anew, and has another number of training"
            " patients; give the same command again"
        )
    labels = sorted({*block.labels, *(s.of(most) for s in shares)})
    return block.model_copy(update={"labels": tuple(labels), "shares": shares})


def label_words(config: BenchmarkConfig, data: Prepared, split: Split) -> Iterator[str]:
    """What the labelled counts of a data set come to: a line for each, with share and slices.

    Args:
        config: of the benchmark, with its shares counted.
        data: prepared.
        split: of these data.
    """
    most = training_patients(split)
    for count in config.data[split.dataset].labels:
        sizes = []
        for fold in split.folds:
            cases = [c for c in data.of_patients(fold.labeled(count)) if c.labeled]
            sizes.append(sum(c.grid_shape[0] for c in cases) if data.ndim == 2 else len(cases))
        what = "slices" if data.ndim == 2 else "volumes"
        amount = " to ".join(str(n) for n in sorted({min(sizes), max(sizes)}))
        yield (
            f"{count} labelled: {100 * count / most:.1f} % of {most} training patients,"
            f" {amount} {what}"
        )
