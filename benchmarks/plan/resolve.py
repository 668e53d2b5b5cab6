"""Runs of the grid with all they depend on, before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common.errors import ConfigError, DataError, nearest
from benchmarks.common.files import digest
from benchmarks.common.schema import check
from benchmarks.common.workspace import prepared_folder, split_file
from benchmarks.config import BenchmarkConfig, TrainConfig
from benchmarks.plan.grid import RunKey, base_of, check_names, expand, fold_of
from benchmarks.plan.identity import code_digest, run_digest
from benchmarks.plan.shares import counted
from benchmarks.plan.usable import refuse_unknown_unit
from datasets import load_dataset
from datasets.preparing.parts import refuse_other_split
from datasets.preparing.raw import refuse_changed
from datasets.preparing.split import Split, load_split
from datasets.preparing.store import Prepared, open_prepared
from methods import load_method

if TYPE_CHECKING:
    from benchmarks.engine.job import Job
    from datasets.base import PrepareParams
    from methods.base import MethodParams


@dataclass(frozen=True)
class Run:
    """One run with everything its identity depends on.

    Attributes:
        key: names the run.
        params: parameters of the method.
        train: training configuration.
        code: digest of the code that trains it.
        data: digest of the prepared data.
        split: digest of the split.
        digest: identity, of all these.
    """

    key: RunKey
    params: MethodParams
    train: TrainConfig
    code: str
    data: str
    split: str
    digest: str


def method_params(config: BenchmarkConfig, method: str, ndim: int) -> MethodParams:
    """Checked parameters of a method: its own block, on top of the base method's for a variant.

    Args:
        config: of the benchmark.
        method: key in the grid.
        ndim: of the data, 2 or 3, which a method's defaults may depend on.

    Raises:
        ConfigError: unknown method, key or value.
    """
    base = base_of(method)
    kind: type[MethodParams] = load_method(base).Params
    block = kind.block({**config.methods.get(base, {}), **config.methods[method]}, ndim)
    return check(kind, block, where=f"methods.{method}")


def settings_digest(train: TrainConfig, params: MethodParams) -> str:
    """Digest of the parameters of training and method."""
    return digest(
        {"train": train.model_dump(mode="json"), "params": params.model_dump(mode="json")}
    )


def settings_of(config: BenchmarkConfig, dataset: str, method: str) -> str:
    """Digest of the parameters of training and method that a row has.

    Raises:
        ConfigError: unknown method, key or value.
    """
    params = method_params(config, method, dimension(config, dataset))
    return settings_digest(train_config(config, dataset, method), params)


def prepare_params(config: BenchmarkConfig, dataset: str) -> PrepareParams:
    """Checked parameters of preparing a data set.

    Raises:
        ConfigError: unknown data set, wrong key or value.
    """
    kind: type[PrepareParams] = load_dataset(dataset).Params
    return check(kind, config.data[dataset].prepare, where=f"data.{dataset}.prepare")


def dimension(config: BenchmarkConfig, dataset: str) -> int:
    """Whether a data set's samples are slices (2) or volumes (3) as this benchmark prepares it."""
    return int(load_dataset(dataset).info(prepare_params(config, dataset)).ndim)


def train_config(config: BenchmarkConfig, dataset: str, method: str) -> TrainConfig:
    """How a method is trained on a data set; by its `steps` and `amp`, and `grid.equal`.

    Raises:
        ConfigError: unknown method, wrong key or value.
    """
    train = config.train_for(dataset)
    if method in config.steps:
        train = train.model_copy(update={"iterations": config.steps[method]})
    if method in config.amp:
        train = train.model_copy(update={"amp": config.amp[method]})
    if config.grid.equal == "steps":
        return train
    from benchmarks.plan.cost import step_cost

    params = method_params(config, method, dimension(config, dataset))
    cost = step_cost(load_method(base_of(method)), params)
    return train.model_copy(update={"iterations": max(1, round(train.iterations / cost))})


def resolve(config: BenchmarkConfig, dataset: str, method: str, root: Path) -> list[Run]:
    """All runs of a method on a data set, with their identities.

    Raises:
        ConfigError: names outside the grid, wrong parameters, or a stage that outlasts the run.
        DataError: data not prepared, of other raw files than are there now, or not split; or
            distances without a unit.
    """
    check_names(config, dataset, method)
    config = counted(config, root)
    params = method_params(config, method, dimension(config, dataset))
    train = train_config(config, dataset, method)
    refuse_long_stages(method, params, train.iterations)
    data = open_prepared(prepared_folder(root, config.name, dataset))
    refuse_changed(load_dataset(dataset), data, prepare_params(config, dataset))
    split = load_split(split_file(root, config.name, dataset))
    for found, path in ((data, data.root), (split, split_file(root, config.name, dataset))):
        if found.dataset != dataset:
            raise DataError(
                f"'{path}' is of {found.dataset}, not of {dataset}; make it anew with"
                f" `python -m benchmarks prepare {dataset}` and `python -m benchmarks split"
                f" {dataset}`"
            )
    refuse_other_split(split, config.data[dataset].split)
    refuse_unknown_unit(config, dataset, data)
    code = code_digest(root, base_of(method))
    known = {"train": train.model_dump(mode="json"), "params": params.model_dump(mode="json")}
    return [
        Run(
            key,
            params,
            train,
            code,
            data.digest,
            split.digest,
            run_digest(key, **known, split=split.digest, data=data.digest, code=code),
        )
        for key in expand(config, split, method)
    ]


def refuse_long_stages(method: str, params: MethodParams, total: int) -> None:
    """Refuse a run that ends before one of the method's terms begins.

    Args:
        method: key in the grid.
        params: its parameters.
        total: steps of the run.

    Raises:
        ConfigError: names method, term, parameter and both lengths.
    """
    for term, name in load_method(base_of(method)).stages.items():
        if name not in type(params).model_fields:
            raise ConfigError(
                f"methods/{base_of(method)}.py: `stages` gives term '{term}' the parameter"
                f" '{name}': {nearest(name, type(params).model_fields)}"
            )
        length = getattr(params, name)
        steps = length if isinstance(length, int) else math.ceil(length * total)
        if steps >= total:
            raise ConfigError(
                f"methods.{method}.{name} is {length}: term '{term}' waits for {steps} steps, but"
                f" a run has {total}. Lower methods.{method}.{name} or raise train.iterations"
            )


def open_job(run: Run, root: Path, folder: Path) -> Job:
    """What the engine needs to train or rebuild a run.

    Args:
        run: from `resolve`.
        root: the checkout.
        folder: where the run's files are.

    Raises:
        DataError: data or split are not those that the run was resolved with.
    """
    from benchmarks.engine.job import Job

    key = run.key
    data = _opened(prepared_folder(root, key.benchmark, key.dataset), run.data)
    split = _loaded(split_file(root, key.benchmark, key.dataset), run.split)
    return Job(
        method=load_method(key.base),
        params=run.params,
        train=run.train,
        data=data,
        fold=fold_of(split, key.fold),
        labels=key.labels,
        seed=key.seed,
        digest=run.digest,
        folder=folder,
    )


@lru_cache(maxsize=8)
def _opened(folder: Path, digest: str) -> Prepared:
    """Prepared data by folder and digest, opened once in a process."""
    data = open_prepared(folder)
    if data.digest != digest:
        raise _changed(folder)
    return data


@lru_cache(maxsize=8)
def _loaded(file: Path, digest: str) -> Split:
    """A split by file and digest, read once in a process."""
    split = load_split(file)
    if split.digest != digest:
        raise _changed(file)
    return split


def _changed(path: Path) -> DataError:
    return DataError(
        f"'{path}' changed since this command started; run the same command again. What was"
        " finished before is kept"
    )


def chosen_runs(
    runs: list[Run], config: BenchmarkConfig, wanted: tuple[int | None, int | None, int | None]
) -> list[Run]:
    """Those runs of one stage that have the wanted labelled count, fold and seed; None is any.

    Raises:
        ConfigError: there is none.
    """
    kept = [
        run
        for run in runs
        if all(
            w in {None, v}
            for w, v in zip(wanted, (run.key.labels, run.key.fold, run.key.seed), strict=True)
        )
    ]
    if not kept:
        key, grid = runs[0].key, config.grid
        given = zip(("labels", "fold", "seed"), wanted, strict=True)
        asked = ", ".join(f"{name} {value}" for name, value in given if value is not None)
        pairs = ", ".join(f"{fold} with {seed}" for fold, seed in grid.pairs)
        each = f"folds {list(grid.folds)}, seeds {list(grid.seeds)}"
        raise ConfigError(
            f"no run of {key.dataset} {key.method} has {asked}; the grid has labels"
            f" {sorted({run.key.labels for run in runs})}, "
            + (f"folds with the seeds bound to them: {pairs}" if grid.bound else each)
        )
    return kept
