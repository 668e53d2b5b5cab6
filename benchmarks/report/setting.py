"""How the runs of a benchmark were trained and tested, in a few words for its page."""

from __future__ import annotations

from benchmarks.config import BenchmarkConfig, MonaiConfig, SMPConfig, TrainConfig
from benchmarks.report.facts import DatasetFacts, Facts
from benchmarks.report.tables import plural

_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


def setting(config: BenchmarkConfig, facts: Facts) -> str:
    """Images, network, steps and split of every data set; the same of all is said once.

    Args:
        config: the benchmark.
        facts: its data sets.
    """
    told = {d.title: _words(config, d) for d in facts.datasets}
    each = [f"{title}: {words}" for title, words in told.items()]
    same = len(set(told.values())) == 1
    return f"Setting. {next(iter(told.values())) if same else '. '.join(each)}."


def _words(config: BenchmarkConfig, dataset: DatasetFacts) -> str:
    train = config.train_for(dataset.id)
    size = config.data[dataset.id].prepare.get("size")
    seen = train.patch or size
    kind = "patches" if train.patch else "slices" if dataset.ndim == 2 else "volumes"
    images = f"{dataset.ndim}D {kind}{f' of {_by(seen)}' if seen else ''}"
    steps = "steps by row" if config.steps else f"{train.iterations:,} steps"
    if config.grid.equal == "operations":
        steps = f"as many operations as {steps} of supervision"
    rate = f"{_OPTIMIZERS[train.optimizer.kind]} at {train.optimizer.lr:g}"
    batch = f"{train.labeled_batch} labelled and {train.unlabeled_batch} unlabelled images each"
    parts = (images, _network(train), f"{rate}, {steps} of {batch}", _split(config, dataset))
    return "; ".join(parts)


def _by(size: object) -> str:
    return " x ".join(map(str, size)) if isinstance(size, list | tuple) else str(size)


def _network(train: TrainConfig) -> str:
    network = train.network
    if isinstance(network, SMPConfig):
        weights = f", weights {network.weights}" if network.weights else ""
        return f"U-Net with encoder {network.encoder}{weights}"
    if isinstance(network, MonaiConfig):
        return f"BasicUNet of MONAI, {_channels(network.features)}"
    return f"U-Net, {_channels(network.channels)}"


def _channels(channels: tuple[int, ...]) -> str:
    return f"{', '.join(map(str, channels))} channels"


def _split(config: BenchmarkConfig, dataset: DatasetFacts) -> str:
    split = config.data[dataset.id].split
    held = plural(split.val, f"validation {dataset.word}")
    if split.scheme == "cv":
        return f"{split.folds}-fold cross-validation, {held} in each"
    if split.scheme == "seeded":
        return f"{plural(split.test, f'test {dataset.word}')} and {held}, drawn once"
    if split.scheme == "official":
        return f"official test part, {held}"
    return f"public split `{split.scheme}`"
